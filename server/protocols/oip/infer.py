"""Inference over the protocol. Tensors are JSON or binary; a request has one of all features, or one of each.

    {"inputs": [{"name": "numbers", "shape": [1, 4], "datatype": "FP64", "data": [5.1, 3.5, 1.4, 0.2]}]}
    {"model_name": "iris", "model_version": "1", "outputs": [
        {"name": "label", "datatype": "INT64", "shape": [1], "data": [0]},
        {"name": "probabilities", "datatype": "FP64", "shape": [1, 3], "data": [0.98, 0.02, 0.0]}]}

Extensions: binary_tensor_data, classification, and of schedule_policy the parameter timeout.
"""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from time import perf_counter
from typing import Any, Literal

import msgspec
import numpy as np

from unpickled.server.errors import InvalidInput
from unpickled.server.inference.prediction import Predict, Prediction
from unpickled.server.inference.predictor import Predictor
from unpickled.server.inference.turn import limit_time, paced
from unpickled.server.message import body
from unpickled.server.message.answer import JSON, Environ, dumps
from unpickled.server.model.cells import as_read
from unpickled.server.model.feeds import Column, Feeds, Row, Rows
from unpickled.server.model.outputs import refuse_not_finite
from unpickled.server.protocols.oip import description, tensors
from unpickled.server.protocols.oip.outputs import Writer
from unpickled.server.protocols.oip.request import Request, header_length, read
from unpickled.server.protocols.oip.tensors import BYTES, DATATYPES, DTYPES, Tensor
from unpickled.server.protocols.protocol import Paths, Protocol, Subject
from unpickled.server.protocols.rows import REFUSALS
from unpickled.server.quote import counted, listed, quoted

# Names that clients use for a tensor of all features when they have not read the metadata.
_ANY_NAME = ("input-0", "input")
# Accept-Encoding -> zlib's window bits.
_CODINGS = {name: body.ENCODINGS[name] for name in ("gzip", "deflate")}


class Inference:
    """Answers inference requests for one version of a model."""

    def __init__(self, predictor: Predictor, name: str, version: str) -> None:
        manifest = predictor.model.manifest
        self._predictor = predictor
        self._signature = predictor.signature
        self._run_row = predictor.model.run_row
        self._width = len(self._signature.names)
        self._writer = Writer(predictor.outputs, name, version)
        self._heads = self._writer.heads
        self._inputs = manifest.inputs
        self._categories = {feature.name for feature in manifest.features if feature.kind == "category"}
        tensor_names = {manifest.inputs[0].name} if len(manifest.inputs) == 1 else set()
        # In a model of one feature, a tensor with its name is read as that feature, which allows more shapes.
        self._matrix_names = {*_ANY_NAME, *tensor_names} - (
            {*self._signature.names} if self._width == 1 else set()
        )
        self._ranges = predictor.ranges
        names, row = self._matrix_names, self._signature.row
        close_row = row if self._ranges is None else self._signature.within(self._ranges)[0]
        # One row inside the training range, and any one row.
        self._decode_row = _row_decoder(names, self._width, close_row)
        self._decode_any_row = _row_decoder(names, self._width, row)

    def predict(self, request: bytes, environ: Environ) -> Prediction:
        """The answer to one request; raises RequestError."""
        coding = environ.get("HTTP_ACCEPT_ENCODING")
        # HTTP libraries list several codings by default, and compressing an answer takes longer than sending
        # it over a local network: compress only for a client that names exactly one.
        if coding is not None and coding.strip().lower() in _CODINGS:
            return _compressed(self._predict(request, environ), coding.strip().lower())
        return self._predict(request, environ)

    def _predict(self, request: bytes, environ: Environ) -> Prediction:
        length = header_length(environ, len(request))
        if length is None:
            # More colons than names would mean a duplicate name: see rows.Reader.
            colons = request.count(b":")
            if (colons == 5 or colons == 6) and self._run_row is not None:
                try:
                    decoded = self._decode_row(request)
                except REFUSALS:
                    return self._infer_beyond(request, colons)
                if colons == 5 + (decoded.id is not None):
                    return self._answer_row(decoded.inputs[0].data, decoded.id)
            return self._infer(read(request), request, len(request))
        if length == 0:
            return self._infer(self._raw(request), request, 0)
        return self._infer(read(request[:length]), request, length)

    def _answer_row(self, values: Row, identity: str | None) -> Prediction:
        decoded = perf_counter()
        label, scores = self._run_row(values)  # type: ignore[misc, arg-type]
        ran = perf_counter()
        text = dumps(scores)
        if b"null" in text:
            refuse_not_finite((scores,))
        tail = b"}]}" if identity is None else b'}],"id":' + dumps(identity) + b"}"
        content = b"".join((self._heads[label], text, tail))
        return Prediction(content, decoded, ran, (values,), (label,), (scores,))

    def _infer_beyond(self, request: bytes, colons: int) -> Prediction:
        """The answer to JSON that is no row inside the training range: one outside, or anything else."""
        if self._ranges is not None:
            try:
                decoded = self._decode_any_row(request)
            except REFUSALS:
                return self._infer(read(request), request, len(request))
            if colons == 5 + (decoded.id is not None):
                values = decoded.inputs[0].data
                used, outside = self._ranges.admit_row(values)
                return self._answer_row(used, decoded.id).beyond((values,), outside)
        return self._infer(read(request), request, len(request))

    def _infer(self, inference: Request, request: bytes, start: int) -> Prediction:
        if inference.parameters:
            _limit_time(inference.parameters)
        selections = self._writer.select(inference)
        feeds, rows = self._feeds(inference.inputs, request, start)
        run = self._predictor.run_feeds(feeds, rows)
        content, headers = self._writer.answer(selections, run.labels, run.scores, inference.id)
        return run.prediction(content, rows, headers)

    def _feeds(self, inputs: Sequence[Tensor], request: bytes, start: int) -> tuple[Feeds, Sequence[Row]]:
        """Feeds for the graph, and the same values as rows. Binary tensors begin at byte ``start``."""
        if not inputs:
            raise InvalidInput(f"'inputs' is empty: {self._remedy()}")
        is_matrix = len(inputs) == 1 and inputs[0].name in self._matrix_names
        columns = self._read(inputs, is_matrix, request, start)
        if is_matrix:
            return self._of_matrix(columns[inputs[0].name])
        feeds = self._signature.table(columns)
        ignored = self._signature.ignored(columns)
        return feeds, Rows(as_read(self._signature.features, columns), ignored)

    def _read(
        self, inputs: Sequence[Tensor], is_matrix: bool, request: bytes, start: int
    ) -> dict[str, Column]:
        """The values of each tensor: in its shape if it holds all features (``is_matrix``), else flat."""
        columns: dict[str, Column] = {}
        for tensor in inputs:
            if tensor.name in columns:
                raise InvalidInput(f"tensor {quoted(tensor.name)} is given twice")
            self._check(tensor, is_matrix)
            values, start = _values(tensor, request, start)
            columns[tensor.name] = values if is_matrix or isinstance(values, list) else values.reshape(-1)
        if start != len(request):
            raise InvalidInput(
                f"the body goes on for {counted(len(request) - start, 'byte')} after the last tensor: the "
                "JSON and each tensor's binary_data_size have to make up the body"
            )
        return columns

    def _of_matrix(self, values: Column) -> tuple[Feeds, Sequence[Row]]:
        if isinstance(values, np.ndarray) and not self._categories:
            return self._signature.matrix(values), Rows(values.T)
        flat = values.ravel().tolist() if isinstance(values, np.ndarray) else values
        starts = range(0, len(flat), self._width)
        rows = [
            self._signature.check_row(flat[start : start + self._width], index)
            for index, start in paced(enumerate(starts))
        ]
        return self._signature.feeds(rows), rows

    def _check(self, tensor: Tensor, is_matrix: bool) -> None:
        """Check the name, the shape, the number of rows and the datatype of a tensor."""
        shape, names = tensor.shape, self._signature.names
        if is_matrix:
            fits, expected = len(shape) == 2 and shape[1] == self._width, f"[rows, {self._width}]"
        elif tensor.name in names:
            fits, expected = len(shape) == 1 or (len(shape) == 2 and shape[1] == 1), "[rows] or [rows, 1]"
        elif tensor.name in self._matrix_names:
            raise InvalidInput(f"tensor {quoted(tensor.name)} holds all features, and others stand beside it")
        elif self._signature.ignores(tensor.name):
            return
        else:
            raise InvalidInput(f"tensor {quoted(tensor.name)} is unknown to the model: {self._remedy()}")
        if not fits:
            raise InvalidInput(f"tensor {quoted(tensor.name)} has shape {shape[:8]}: it is {expected} here")
        self._predictor.check_count(shape[0])
        text = bool(self._categories) if is_matrix else tensor.name in self._categories
        if text and tensor.datatype != BYTES:
            raise InvalidInput(f"tensor {quoted(tensor.name)} is {tensor.datatype}: categories are BYTES")

    def _remedy(self) -> str:
        first = min(self._matrix_names - {*_ANY_NAME}, default=_ANY_NAME[0])
        names = listed(self._signature.names)
        return f"send {first!r} with all features as its columns, or a tensor for each of them ({names})"

    def _raw(self, request: bytes) -> Request:
        """The request in a body without JSON: rows of numbers in the dtype of the graph's input."""
        tensor = self._inputs[0]
        if self._categories or len(self._inputs) > 1:
            raise InvalidInput(
                "a body without JSON is for models of one tensor of numbers: send JSON before it"
            )
        datatype = DATATYPES[tensor.dtype]
        size = DTYPES[datatype].itemsize * self._width
        if len(request) % size:
            raise InvalidInput(
                f"a body without JSON holds rows of {self._width} {datatype}, {counted(size, 'byte')} each: "
                f"this one has {len(request)}"
            )
        shape = [len(request) // size, self._width]
        matrix = Tensor(tensor.name, shape, datatype, None, {"binary_data_size": float(len(request))})
        return Request(inputs=[matrix], parameters={"binary_data_output": True})


def _limit_time(parameters: Mapping[str, Any]) -> None:
    """Follow the parameter ``timeout``, microseconds from the request's start; 0 stands for none."""
    timeout = parameters.get("timeout")
    if timeout is None:
        return
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or timeout < 0:
        raise InvalidInput(f"the parameter timeout is {quoted(str(timeout))}, not a number of microseconds")
    if timeout:
        limit_time(timeout / 1e6)


def _values(tensor: Tensor, request: bytes, start: int) -> tuple[Column, int]:
    """The values of a tensor, and the byte at which the next binary tensor begins."""
    parameters = tensor.parameters or {}
    tensors.refuse_shared_memory(tensor.name, parameters)
    if parameters.get("content_type") == "base64":
        raise InvalidInput(f"tensor {quoted(tensor.name)} holds base64: send its text as it is")
    size = parameters.get("binary_data_size")
    if (size is None) == (tensor.data is None):
        raise InvalidInput(
            f"tensor {quoted(tensor.name)} takes either 'data' or the parameter binary_data_size"
        )
    if size is None:
        return tensors.from_json(tensor), start
    if not isinstance(size, float) or not size.is_integer() or not 0 <= size < tensors.LONGEST:
        raise InvalidInput(f"binary_data_size of tensor {quoted(tensor.name)} is no number of bytes")
    return tensors.from_bytes(tensor, request, start, int(size)), start + int(size)


def _row_decoder(names: Iterable[str], width: int, row: Any) -> Any:
    """A decoder for {"inputs": [one row of all features], "id": ...}, which refuses all other requests."""
    fields = [
        ("name", Literal[*names]),
        ("shape", tuple[Literal[1], Literal[width]]),  # type: ignore[valid-type]
        ("datatype", Literal["FP64", "FP32"]),
        ("data", row),
    ]
    tensor = msgspec.defstruct("RowTensor", fields, forbid_unknown_fields=True, gc=False)
    members: list[Any] = [("inputs", tuple[tensor]), ("id", str | None, None)]  # type: ignore[valid-type]
    envelope = msgspec.defstruct("RowRequest", members, forbid_unknown_fields=True, gc=False)
    return msgspec.json.Decoder(envelope).decode


def _compressed(prediction: Prediction, coding: str) -> Prediction:
    # The fastest level: the digits of doubles hardly shrink further.
    compressor = zlib.compressobj(1, zlib.DEFLATED, _CODINGS[coding])
    prediction.content = compressor.compress(prediction.content) + compressor.flush()
    prediction.headers = (*(prediction.headers or (JSON,)), ("Content-Encoding", coding))
    return prediction


def _build(subject: Subject) -> Predict:
    return Inference(subject.predictor, subject.model, str(subject.version)).predict


PROTOCOL = Protocol(
    name="inference",
    summary="Infer (Open Inference Protocol)",
    paths=lambda _: Paths(
        model="/v2/models/<name>/infer",
        version="/v2/models/<name>/versions/<version>/infer",
        # A label stands in the place of a version.
        label="/v2/models/<name>/versions/<label>/infer",
    ),
    build=_build,
    describe=description.describe,
)
