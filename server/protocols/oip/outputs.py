"""The outputs of a model as a request wants them: all or some, JSON or bytes, scores or the best classes."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from unpickled.server.artifact.manifest import Manifest
from unpickled.server.errors import InvalidInput
from unpickled.server.inference.prediction import Headers
from unpickled.server.message.answer import OPTIONS, dumps
from unpickled.server.protocols.oip import tensors
from unpickled.server.protocols.oip.request import Request, Wanted
from unpickled.server.protocols.oip.tensors import BYTES

Labels = npt.NDArray[Any]
Scores = npt.NDArray[np.float64]


class Output(NamedTuple):
    """One that is wanted; ``best``: so many classes as text in place of all scores."""

    name: str
    binary: bool
    best: int


class Outputs:
    """Writes the answers of one version of a model.

    ``heads`` is, for each label, the answer to one row up to its scores, which are all that differs
    between rows of one class.
    """

    def __init__(self, manifest: Manifest, name: str, version: str) -> None:
        self._who = {"model_name": name, "model_version": version}
        self._label, self._scores = manifest.outputs.label, manifest.outputs.scores
        self._names = manifest.class_names
        self._datatype = tensors.label_datatype(manifest)
        # Batches of one size are described in the same words: (what was asked, JSON, headers) of the last.
        self._latest: tuple[object, bytes, Headers] = (None, b"", None)
        self.heads = {label: self._head(label) for label in manifest.classes}

    def wanted(self, request: Request) -> list[Output]:
        """Which, in the order of the answer; InvalidInput."""
        binary = _flag(request.parameters, "binary_data_output", False)
        if not request.outputs:
            return [Output(self._label, binary, 0), Output(self._scores, binary, 0)]
        names = [wanted.name for wanted in request.outputs]
        for name in names:
            if name not in (self._label, self._scores):
                raise InvalidInput(
                    f"there is no output {name[:60]!r}: the model has {self._label!r} and {self._scores!r}"
                )
        if len({*names}) != len(names):
            raise InvalidInput("an output is asked for twice")
        return [self._output(wanted, binary) for wanted in request.outputs]

    def answer(
        self, wanted: Sequence[Output], labels: Labels, scores: Scores, identity: str | None
    ) -> tuple[bytes, Headers]:
        """The body, and its headers where it is more than JSON."""
        asked = (len(labels), identity, *wanted)
        known, content, headers = self._latest
        if asked == known:
            return b"".join((content, *(self._bytes(output, labels, scores) for output in wanted))), headers
        content, parts, headers = self._described(wanted, labels, scores, identity)
        if (
            headers
            and all(output.binary and not output.best for output in wanted)
            and self._datatype != BYTES
        ):
            self._latest = asked, content, headers
        return b"".join((content, *parts)), headers

    def _bytes(self, output: Output, labels: Labels, scores: Scores) -> bytes:
        return tensors.to_bytes(labels if output.name == self._label else scores)

    def _described(
        self, wanted: Sequence[Output], labels: Labels, scores: Scores, identity: str | None
    ) -> tuple[bytes, list[bytes], Headers]:
        """The JSON, the bytes that follow it, and the headers where there are such."""
        outputs, parts = [], []
        for output in wanted:
            datatype, shape, values = self._made(output, labels, scores)
            made = tensors.described(output.name, datatype, shape)
            if output.binary:
                parts.append(tensors.to_bytes(values))
                made["parameters"] = {"binary_data_size": len(parts[-1])}
            else:
                made["data"] = values
            outputs.append(made)
        named = {} if identity is None else {"id": identity}
        content = dumps({**self._who, "outputs": outputs, **named}, option=OPTIONS)
        if not parts:
            return content, parts, None
        length = ("Inference-Header-Content-Length", str(len(content)))
        return content, parts, (("Content-Type", "application/octet-stream"), length)

    def _output(self, wanted: Wanted, binary: bool) -> Output:
        parameters = wanted.parameters or {}
        tensors.refuse_shared_memory(wanted.name, parameters)
        best = parameters.get("classification")
        if best is None:
            best = 0.0
        elif wanted.name != self._scores:
            raise InvalidInput(f"classification is of {self._scores!r}, not of {wanted.name!r}")
        elif not isinstance(best, float) or not best.is_integer() or best < 1:
            raise InvalidInput("classification is not a whole number from 1 on")
        return Output(wanted.name, _flag(parameters, "binary_data", binary), int(min(best, len(self._names))))

    def _made(self, output: Output, labels: Labels, scores: Scores) -> tuple[str, list[int], Any]:
        """Datatype, shape and values, flat."""
        if output.name == self._label:
            text = self._datatype == BYTES
            return self._datatype, [len(labels)], labels.tolist() if text else labels
        if output.best:
            return BYTES, [len(labels), output.best], self._best(scores, output.best)
        return "FP64", [*scores.shape], scores.ravel()

    def _best(self, scores: Scores, count: int) -> list[str]:
        """ "value:index:class" of the highest ``count`` scores of each row."""
        order = np.argsort(-scores, axis=1, kind="stable")[:, :count]
        found = np.take_along_axis(scores, order, axis=1)
        pairs = zip(found.ravel().tolist(), order.ravel().tolist(), strict=True)
        return [f"{value}:{index}:{self._names[index]}" for value, index in pairs]

    def _head(self, label: int | str) -> bytes:
        outputs = [
            {**tensors.described(self._label, self._datatype, [1]), "data": [label]},
            {**tensors.described(self._scores, "FP64", [1, len(self._names)]), "data": 0},
        ]
        return dumps({**self._who, "outputs": outputs}).removesuffix(b"0}]}")


def _flag(parameters: Mapping[str, Any] | None, name: str, default: bool) -> bool:
    found = (parameters or {}).get(name)
    if found is None:
        return default
    if not isinstance(found, bool):
        raise InvalidInput(f"the parameter {name} is neither true nor false")
    return found
