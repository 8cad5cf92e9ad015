"""Writing the outputs that a request selects, as JSON or bytes, with all scores or the best classes."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from unpickled.server.errors import InvalidInput
from unpickled.server.inference.prediction import Headers
from unpickled.server.inference.writing import written
from unpickled.server.message.answer import dumps
from unpickled.server.model.outputs import Outputs, Tensor
from unpickled.server.protocols.oip import tensors
from unpickled.server.protocols.oip.request import Request, RequestedOutput
from unpickled.server.protocols.oip.tensors import BYTES, DATATYPES
from unpickled.server.quote import quoted

Array = npt.NDArray[Any]


class Selection(NamedTuple):
    """One output of an answer, by its index in the model's tensors.

    ``best``: how many of the best classes are written, as text; 0 writes all scores.
    """

    place: int
    binary: bool
    best: int


class Writer:
    """Writes the answers of one version of a model.

    ``heads`` has for each label the answer to one row up to its scores, in which the answers with one label
    agree.
    """

    def __init__(self, outputs: Outputs, name: str, version: str) -> None:
        self._model = {"model_name": name, "model_version": version}
        self._outputs = outputs
        self._tensors = outputs.tensors
        self._places = {tensor.name: place for place, tensor in enumerate(self._tensors)}
        self.heads = outputs.heads(self._head)

    def select(self, request: Request) -> list[Selection]:
        """The selected outputs, in the order of the answer; InvalidInput."""
        binary = _flag(request.parameters, "binary_data_output", False)
        if not request.outputs:
            return [Selection(place, binary, 0) for place in self._places.values()]
        names = [output.name for output in request.outputs]
        for name in names:
            if name not in self._places:
                outputs = " and ".join(map(repr, self._places))
                raise InvalidInput(f"there is no output {quoted(name)}: the model has {outputs}")
        if len({*names}) != len(names):
            raise InvalidInput("an output is asked for twice")
        return [self._selection(output, binary) for output in request.outputs]

    def answer(
        self, selections: Sequence[Selection], labels: Array, scores: Array, identity: str | None
    ) -> tuple[bytes, Headers]:
        """The body, and its headers if binary tensors follow the JSON."""
        arrays = self._outputs.tensor_values(labels, scores)
        documents, parts = [], []
        for selection in selections:
            datatype, shape, values = self._values(selection, arrays[selection.place])
            document = tensors.described(self._tensors[selection.place].name, datatype, shape)
            if selection.binary:
                parts.append(tensors.to_bytes(values))
                document["parameters"] = {"binary_data_size": len(parts[-1])}
            else:
                document["data"] = values
            documents.append(document)
        request_id = {} if identity is None else {"id": identity}
        content = written({**self._model, "outputs": documents, **request_id}, scores.size)
        if not parts:
            return content, None
        length = ("Inference-Header-Content-Length", str(len(content)))
        return b"".join((content, *parts)), (("Content-Type", "application/octet-stream"), length)

    def _selection(self, output: RequestedOutput, binary: bool) -> Selection:
        parameters, place = output.parameters or {}, self._places[output.name]
        tensors.refuse_shared_memory(output.name, parameters)
        best, tensor = parameters.get("classification"), self._tensors[place]
        if best is None:
            best = 0.0
        elif not tensor.ranked:
            scores = " and ".join(repr(tensor.name) for tensor in self._tensors if tensor.ranked)
            raise InvalidInput(f"classification is of {scores or 'classes'}, not of {output.name!r}")
        elif not isinstance(best, float) or not best.is_integer() or best < 1:
            raise InvalidInput("classification is not a whole number from 1 on")
        return Selection(place, _flag(parameters, "binary_data", binary), int(min(best, len(tensor.entries))))

    def _values(self, selection: Selection, array: Array) -> tuple[str, list[int], Any]:
        """The datatype, the shape and the flat values of an output."""
        tensor = self._tensors[selection.place]
        if selection.best:
            return BYTES, [len(array), selection.best], _best(array, selection.best, tensor.entries)
        datatype = DATATYPES[tensor.dtype]
        return datatype, [*array.shape], array.tolist() if datatype == BYTES else array.ravel()

    def _head(self, values: Sequence[Any]) -> bytes:
        *by_label, scores = self._tensors
        documents = [
            {**_described(tensor), "data": [value]} for tensor, value in zip(by_label, values, strict=False)
        ]
        last = {**_described(scores), "data": 0}
        return dumps({**self._model, "outputs": [*documents, last]}).removesuffix(b"0}]}")


def _described(tensor: Tensor) -> dict[str, Any]:
    """The description of a tensor of one row."""
    shape = [1, len(tensor.entries)] if tensor.entries else [1]
    return tensors.described(tensor.name, DATATYPES[tensor.dtype], shape)


def _best(scores: Array, count: int, names: Sequence[str]) -> list[str]:
    """ "value:index:class" of the highest ``count`` scores of each row."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    best = np.take_along_axis(scores, order, axis=1)
    pairs = zip(best.ravel().tolist(), order.ravel().tolist(), strict=True)
    return [f"{value}:{index}:{names[index]}" for value, index in pairs]


def _flag(parameters: Mapping[str, Any] | None, name: str, default: bool) -> bool:
    value = (parameters or {}).get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise InvalidInput(f"the parameter {name} is neither true nor false")
    return value
