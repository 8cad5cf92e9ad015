"""Inference over the protocol: JSON or binary tensors in and out, one of all features or one of each.

    {"inputs": [{"name": "numbers", "shape": [1, 4], "datatype": "FP64", "data": [5.1, 3.5, 1.4, 0.2]}]}
    {"model_name": "iris", "model_version": "1", "outputs": [
        {"name": "label", "datatype": "INT64", "shape": [1], "data": [0]},
        {"name": "probabilities", "datatype": "FP64", "shape": [1, 3], "data": [0.98, 0.02, 0.0]}]}

Extensions: binary_tensor_data, classification.
"""

import zlib
from collections.abc import Iterable, Sequence
from time import perf_counter
from typing import Any, Literal

import msgspec
import numpy as np

from unpickled.server.errors import InvalidInput
from unpickled.server.inference.prediction import Predict, Prediction
from unpickled.server.inference.predictor import Predictor
from unpickled.server.message import body
from unpickled.server.message.answer import JSON, Environ, dumps
from unpickled.server.model.feeds import Column, Feeds, Row, Rows
from unpickled.server.model.outputs import refuse_not_finite
from unpickled.server.protocols.oip import description, tensors
from unpickled.server.protocols.oip import request as requests
from unpickled.server.protocols.oip.outputs import Writer
from unpickled.server.protocols.oip.request import Request
from unpickled.server.protocols.oip.tensors import BYTES, DATATYPES, DTYPES, Tensor
from unpickled.server.protocols.protocol import Paths, Protocol, Subject
from unpickled.server.protocols.rows import REFUSALS
from unpickled.server.quote import listed, quoted

# What clients call a tensor of all features when nobody has told them its name.
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
        named = {manifest.inputs[0].name} if len(manifest.inputs) == 1 else set()
        # The only feature of a model is a tensor of all, too, and may have more shapes.
        self._whole = {*_ANY_NAME, *named} - ({*self._signature.names} if self._width == 1 else set())
        self._decode_row = _row_decoder(self._whole, self._width, self._signature.row)

    def predict(self, request: bytes, environ: Environ) -> Prediction:
        """The answer to one request, and what it was made of; raises RequestError."""
        coding = environ.get("HTTP_ACCEPT_ENCODING")
        # HTTP libraries ask for several by themselves, and to compress an answer takes longer than a local
        # network: only who names one and no other means it.
        if coding is not None and coding.strip().lower() in _CODINGS:
            return _compressed(self._predict(request, environ), coding.strip().lower())
        return self._predict(request, environ)

    def _predict(self, request: bytes, environ: Environ) -> Prediction:
        length = requests.header_length(environ, len(request))
        if length is None:
            # Duplicate names cost a colon each: see rows.Reader.
            colons = request.count(b":")
            if (colons == 5 or colons == 6) and self._run_row is not None:
                try:
                    found = self._decode_row(request)
                except REFUSALS:
                    return self._infer(requests.read(request), request, len(request))
                if colons == 5 + (found.id is not None):
                    return self._answer_row(found.inputs[0].data, found.id)
            return self._infer(requests.read(request), request, len(request))
        if length == 0:
            return self._infer(self._raw(request), request, 0)
        return self._infer(requests.read(request[:length]), request, length)

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

    def _infer(self, asked: Request, request: bytes, start: int) -> Prediction:
        selections = self._writer.select(asked)
        feeds, rows = self._feeds(asked.inputs, request, start)
        run = self._predictor.run_feeds(feeds)
        content, headers = self._writer.answer(selections, run.labels, run.scores, asked.id)
        return run.prediction(content, rows, headers)

    def _feeds(self, given: Sequence[Tensor], request: bytes, start: int) -> tuple[Feeds, Sequence[Row]]:
        """What the graph takes, and the same as rows. The tensors' bytes begin at ``start``."""
        if not given:
            raise InvalidInput(f"'inputs' is empty: {self._remedy()}")
        whole = len(given) == 1 and given[0].name in self._whole
        columns = self._read(given, whole, request, start)
        if whole:
            return self._of_matrix(columns[given[0].name])
        feeds = self._signature.table(columns)
        return feeds, Rows([columns[name] for name in self._signature.names])

    def _read(self, given: Sequence[Tensor], whole: bool, request: bytes, start: int) -> dict[str, Column]:
        """The values of each tensor: those of all features in its shape, those of one in a row."""
        columns: dict[str, Column] = {}
        for tensor in given:
            if tensor.name in columns:
                raise InvalidInput(f"tensor {quoted(tensor.name)} is given twice")
            self._check(tensor, whole)
            values, start = _values(tensor, request, start)
            columns[tensor.name] = values if whole or isinstance(values, list) else values.reshape(-1)
        if start != len(request):
            raise InvalidInput(
                f"{len(request) - start} bytes are left after the last tensor: the JSON and each tensor's "
                "binary_data_size have to make up the body"
            )
        return columns

    def _of_matrix(self, values: Column) -> tuple[Feeds, Sequence[Row]]:
        if isinstance(values, np.ndarray) and not self._categories:
            return self._signature.matrix(values), Rows(values.T)
        flat = values.ravel().tolist() if isinstance(values, np.ndarray) else values
        starts = range(0, len(flat), self._width)
        rows = [
            self._signature.check_row(flat[start : start + self._width], index)
            for index, start in enumerate(starts)
        ]
        return self._signature.feeds(rows), rows

    def _check(self, tensor: Tensor, whole: bool) -> None:
        """Its name, shape and datatype, and how many rows it has."""
        shape, names = tensor.shape, self._signature.names
        if whole:
            fits, what = len(shape) == 2 and shape[1] == self._width, f"[rows, {self._width}]"
        elif tensor.name in names:
            fits, what = len(shape) == 1 or (len(shape) == 2 and shape[1] == 1), "[rows] or [rows, 1]"
        elif tensor.name in self._whole:
            raise InvalidInput(f"tensor {quoted(tensor.name)} holds all features, and others stand beside it")
        else:
            raise InvalidInput(f"tensor {quoted(tensor.name)} is unknown to the model: {self._remedy()}")
        if not fits:
            raise InvalidInput(f"tensor {quoted(tensor.name)} has shape {shape[:8]}: it is {what} here")
        self._predictor.check_count(shape[0])
        text = bool(self._categories) if whole else tensor.name in self._categories
        if text and tensor.datatype != BYTES:
            raise InvalidInput(f"tensor {quoted(tensor.name)} is {tensor.datatype}: categories are BYTES")

    def _remedy(self) -> str:
        first = min(self._whole - {*_ANY_NAME}, default=_ANY_NAME[0])
        names = listed(self._signature.names)
        return f"send {first!r} with all features as its columns, or a tensor for each of them ({names})"

    def _raw(self, request: bytes) -> Request:
        """The request that a body without JSON stands for: rows of numbers as the graph takes them."""
        tensor = self._inputs[0]
        if self._categories or len(self._inputs) > 1:
            raise InvalidInput(
                "a body without JSON is for models of one tensor of numbers: send JSON before it"
            )
        datatype = DATATYPES[tensor.dtype]
        size = DTYPES[datatype].itemsize * self._width
        if len(request) % size:
            raise InvalidInput(
                f"a body without JSON holds rows of {self._width} {datatype}, {size} bytes each: this one "
                f"has {len(request)}"
            )
        shape = [len(request) // size, self._width]
        found = Tensor(tensor.name, shape, datatype, None, {"binary_data_size": float(len(request))})
        return Request(inputs=[found], parameters={"binary_data_output": True})


def _values(tensor: Tensor, request: bytes, start: int) -> tuple[Column, int]:
    """Values of a tensor, and where the bytes of the next one begin."""
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
    """Of {"inputs": [one row of all features], "id": ...}, and of nothing else."""
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
    # The quickest level: digits of doubles hardly shrink further.
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
        # Labels stand in a version's place.
        label="/v2/models/<name>/versions/<label>/infer",
    ),
    build=_build,
    describe=description.describe,
)
