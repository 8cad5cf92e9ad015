"""The project's own JSON: arrays in, arrays out; records in, records out; or a list of either.

    {"features": [5.1, 3.5, 1.4, 0.2]}          {"prediction": [0], "predicted_class": ["setosa"],
    {"features": [[5.1, ...], [4.9, ...]]}       "probabilities": [[0.98, 0.02, 0.0]]}
    {"sepal_length": 5.1, ...}                  {"prediction": 0, "predicted_class": "setosa",
                                                 "probabilities": {"setosa": 0.98, ...}}
    {"instances": [[5.1, ...], {...}]}          {"predictions": [record, ...]}

Classifiers without probabilities answer "scores" in their place.
"""

from collections.abc import Sequence
from time import perf_counter
from typing import Any

import msgspec
import numpy as np

from unpickled.server.errors import InvalidInput
from unpickled.server.inference.prediction import Prediction
from unpickled.server.inference.predictor import Predictor, refuse_not_finite
from unpickled.server.message.answer import OPTIONS, Environ, dumps
from unpickled.server.message.body import Members
from unpickled.server.model.signature import Row
from unpickled.server.protocols.rows import REFUSALS, Reader

_EXAMPLE = '{"features": [...]}, {"feature name": value, ...} or {"instances": [...]}'


class Native:
    """Answers the native protocol for one model."""

    def __init__(self, predictor: Predictor, reader: Reader) -> None:
        self._predictor = predictor
        self._reader = reader
        self._run_row = predictor.model.run_row
        self._signature = predictor.signature
        self._names = predictor.names
        self._width = reader.width
        self._decode_row = reader.decode_row
        self._decode_record = reader.decode_record
        classes = list(zip(predictor.model.manifest.classes, predictor.names, strict=True))
        self._heads = {label: self._head([label], [name]) + b"[" for label, name in classes}
        self._record_heads = {label: self._head(label, name) for label, name in classes}

    def predict(self, request: bytes, _: Environ | None = None) -> Prediction:
        """The answer to one request, and what it was made of; raises RequestError."""
        # Duplicate names cost a colon each: see Reader.
        colons = request.count(b":")
        if colons == 1:
            try:
                values = self._decode_row(request).features
            except REFUSALS:
                return self._predict_batch(request)
            return self.answer_row(values)
        if colons == self._width:
            try:
                record = self._decode_record(request)
            except REFUSALS:
                return self._predict_batch(request)
            return self._answer_record(msgspec.structs.astuple(record))
        return self._predict_batch(request)

    def _predict_batch(self, request: bytes) -> Prediction:
        """Several rows, and every body that the decoders refuse."""
        if b'"instances"' in request[:64]:
            rows = self._reader.instances(request)
            return self.predict_strictly(request) if rows is None else self._predictor.predictions(rows)
        rows = self._reader.features(request)
        return self.predict_strictly(request) if rows is None else self._arrays(rows)

    def answer_row(self, values: Row) -> Prediction:
        if self._run_row is None:
            return self._arrays([values])
        decoded = perf_counter()
        label, scores = self._run_row(values)  # type: ignore[arg-type]
        ran = perf_counter()
        text = dumps(scores)
        if b"null" in text:
            refuse_not_finite(np.array([scores]))
        content = b"".join((self._heads[label], text, b"]}"))
        return Prediction(content, decoded, ran, (values,), (label,), (scores,))

    def _answer_record(self, values: Row) -> Prediction:
        if self._run_row is None:
            run = self._predictor.run([values])
            return run.prediction(dumps(self._predictor.records(run.labels, run.scores)[0]), (values,))
        decoded = perf_counter()
        label, scores = self._run_row(values)  # type: ignore[arg-type]
        ran = perf_counter()
        text = dumps(dict(zip(self._names, scores, strict=True)))
        if b"null" in text:
            refuse_not_finite(np.array([scores]))
        content = b"".join((self._record_heads[label], text, b"}"))
        return Prediction(content, decoded, ran, (values,), (label,), (scores,))

    def predict_strictly(self, request: bytes) -> Prediction:
        """The protocol written out in Python: the reference for the decoders above, and their sentences."""
        document = self._reader.document(request, _EXAMPLE)
        if self._is_form(document, "features"):
            return self._strict_arrays(document["features"])
        if self._is_form(document, "instances"):
            return self._predictor.predictions(self._reader.listed(document["instances"], "'instances'"))
        return self._answer_record(self._signature.check_record(document, 0))

    def _strict_arrays(self, rows: list[Any]) -> Prediction:
        if rows and not isinstance(rows[0], list):
            return self.answer_row(self._signature.check_row(rows, 0))
        self._predictor.check_count(len(rows))
        return self._arrays([self._signature.check_row(row, index) for index, row in enumerate(rows)])

    def _is_form(self, document: Members, name: str) -> bool:
        """Whether a document is {name: [...]}; a model may have a feature of that name."""
        value = document.get(name)
        if name not in document or (name in self._signature.names and not isinstance(value, list)):
            return False
        if name in document.repeated:
            raise InvalidInput(f"{name!r} is given twice")
        for other in document:
            if other != name:
                raise InvalidInput(
                    f"{other[:60]!r} stands beside {name!r}, which stands alone: send {_EXAMPLE}"
                )
        if not isinstance(value, list):
            raise InvalidInput(f"{name!r} is not an array: send {_EXAMPLE}")
        return True

    def _arrays(self, rows: Sequence[Row]) -> Prediction:
        run = self._predictor.run(rows)
        content = dumps(self._predictor.arrays(run.labels, run.scores), option=OPTIONS)
        return run.prediction(content, rows)

    def _head(self, prediction: Any, name: Any) -> bytes:
        """An answer up to its scores, which are all that differs between rows of one class."""
        start = dumps({"prediction": prediction, "predicted_class": name})
        return start[:-1] + b"," + dumps(self._predictor.kind) + b":"
