"""The project's own JSON: arrays in, arrays out; records in, records out; or a list of either.

    {"features": [5.1, 3.5, 1.4, 0.2]}          {"prediction": [0], "predicted_class": ["setosa"],
    {"features": [[5.1, ...], [4.9, ...]]}       "probabilities": [[0.98, 0.02, 0.0]]}
    {"sepal_length": 5.1, ...}                  {"prediction": 0, "predicted_class": "setosa",
                                                 "probabilities": {"setosa": 0.98, ...}}
    {"instances": [[5.1, ...], {...}]}          {"predictions": [record, ...]}

Classifiers without probabilities answer "scores" in their place.
"""

from collections.abc import Iterable, Sequence
from time import perf_counter
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from server import body
from server.answer import OPTIONS, dumps
from server.body import Members
from server.errors import InferenceFailed, InvalidInput, TooManyRows
from server.model import Model
from server.signature import Row

Document = dict[str, Any]

# (rows, classes)
Scores = Sequence[Sequence[float]] | npt.NDArray[np.float64]
# The answer's bytes; when decoding and running had ended; the rows, their labels and scores. Bare, as
# server.answer.Answer is.
Outcome = tuple[bytes, float, float, Sequence[Row], Sequence[Any], Scores]

# What msgspec raises on a body that it does not take; body.parse then finds the sentence.
_REFUSALS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class Native:
    """Answers the native protocol for one model."""

    def __init__(self, model: Model, max_rows: int) -> None:
        self._model = model
        self._signature = model.signature
        self._max_rows = max_rows
        manifest = model.manifest
        self._classes = manifest.classes
        self._names = manifest.class_names
        self._index = {label: index for index, label in enumerate(manifest.classes)}
        self._kind = manifest.outputs.kind
        self._width = len(manifest.features)
        self.decode_row = _decoder("features", self._signature.row)
        self._decode_rows = _decoder("features", list[self._signature.row])  # type: ignore[name-defined]
        self._decode_instances = self._instances_decoder()
        self._decode_record = msgspec.json.Decoder(self._signature.record or _Nothing).decode
        self._heads = {label: self._head(label, array=True) for label in manifest.classes}
        self._record_heads = {label: self._head(label, array=False) for label in manifest.classes}

    def predict(self, request: bytes) -> Outcome:
        """The answer to one request, and what it was made of; raises RequestError."""
        # msgspec lets the last of two equal names win, but every name costs a colon: where there
        # are no more colons than names, none was given twice.
        colons = request.count(b":")
        if colons == 1:
            try:
                values = self.decode_row(request).features
            except _REFUSALS:
                return self._predict_batch(request, colons)
            return self.answer_row(values)
        if colons == self._width:
            try:
                record = self._decode_record(request)
            except _REFUSALS:
                return self._predict_batch(request, colons)
            return self._answer_record(msgspec.structs.astuple(record))
        return self._predict_batch(request, colons)

    def _predict_batch(self, request: bytes, colons: int) -> Outcome:
        """Several rows, and every body that the decoders refuse."""
        instances = b'"instances"' in request[:64]
        try:
            if instances:
                rows = self._decode_instances(request).instances
            else:
                rows = self._decode_rows(request).features
        except _REFUSALS:
            return self._predict_strictly(request)
        records = sum(isinstance(row, msgspec.Struct) for row in rows)
        if colons != 1 + records * self._width:
            return self._predict_strictly(request)
        self._check_count(rows)
        if instances:
            return self._predictions([_values(row) for row in rows])
        return self._arrays(rows)

    def answer_row(self, values: Row) -> Outcome:
        if self._model.run_row is None:
            return self._arrays([values])
        decoded = perf_counter()
        label, scores = self._model.run_row(values)  # type: ignore[arg-type]
        ran = perf_counter()
        text = dumps(scores)
        if b"null" in text:
            _refuse_not_finite(np.array([scores]))
        content = b"".join((self._heads[label], text, b"]}"))
        return content, decoded, ran, (values,), (label,), (scores,)

    def _answer_record(self, values: Row) -> Outcome:
        if self._model.run_row is None:
            decoded, ran, labels, found = self._run([values])
            content = dumps(self._records(labels, found)[0])
            return content, decoded, ran, (values,), labels, found
        decoded = perf_counter()
        label, scores = self._model.run_row(values)  # type: ignore[arg-type]
        ran = perf_counter()
        text = dumps(dict(zip(self._names, scores, strict=True)))
        if b"null" in text:
            _refuse_not_finite(np.array([scores]))
        content = b"".join((self._record_heads[label], text, b"}"))
        return content, decoded, ran, (values,), (label,), (scores,)

    def _predict_strictly(self, request: bytes) -> Outcome:
        """The protocol written out in Python: the reference for the decoders above, and their sentences."""
        document = body.parse(request)
        if not isinstance(document, Members):
            raise InvalidInput(f"the body is not an object: send {self._example()}")
        if self._is_form(document, "features"):
            return self._strict_arrays(document["features"])
        if self._is_form(document, "instances"):
            rows = document["instances"]
            self._check_count(rows)
            return self._predictions([self._check(row, index) for index, row in enumerate(rows)])
        return self._answer_record(self._signature.check_record(document, 0))

    def _strict_arrays(self, rows: list[Any]) -> Outcome:
        if rows and not isinstance(rows[0], list):
            return self.answer_row(self._signature.check_row(rows, 0))
        self._check_count(rows)
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
                    f"{other[:60]!r} stands beside {name!r}, which stands alone: send {self._example()}"
                )
        if not isinstance(value, list):
            raise InvalidInput(f"{name!r} is not an array: send {self._example()}")
        return True

    def _check(self, row: Any, index: int) -> Row:
        if isinstance(row, Members):
            return self._signature.check_record(row, index)
        return self._signature.check_row(row, index)

    def _check_count(self, rows: Sequence[Any]) -> None:
        if not rows:
            raise InvalidInput("there are zero rows: send at least one")
        if len(rows) > self._max_rows:
            raise TooManyRows(
                f"{len(rows)} rows are more than one request may have ({self._max_rows}): split them",
                rows=len(rows),
                limit=self._max_rows,
            )

    def _run(self, rows: Sequence[Row]) -> tuple[float, float, list[Any], npt.NDArray[np.float64]]:
        feeds = self._signature.feeds(rows)
        decoded = perf_counter()
        labels, scores = self._model.run(feeds)
        ran = perf_counter()
        if not np.isfinite(scores).all():
            _refuse_not_finite(scores)
        return decoded, ran, labels.tolist(), scores

    def _arrays(self, rows: Sequence[Row]) -> Outcome:
        decoded, ran, labels, scores = self._run(rows)
        document = {"prediction": labels, "predicted_class": self._named(labels), self._kind: scores}
        return dumps(document, option=OPTIONS), decoded, ran, rows, labels, scores

    def _predictions(self, rows: Sequence[Row]) -> Outcome:
        decoded, ran, labels, scores = self._run(rows)
        content = dumps({"predictions": self._records(labels, scores)})
        return content, decoded, ran, rows, labels, scores

    def _records(self, labels: list[Any], scores: npt.NDArray[np.float64]) -> list[Document]:
        return [
            {
                "prediction": label,
                "predicted_class": name,
                self._kind: dict(zip(self._names, row, strict=True)),
            }
            for label, name, row in zip(labels, self._named(labels), scores.tolist(), strict=True)
        ]

    def _named(self, labels: Iterable[Any]) -> list[str]:
        return [self._names[self._index[label]] for label in labels]

    def _head(self, label: int | str, array: bool) -> bytes:
        """An answer up to its scores, which are all that differs between rows of one class."""
        name = self._names[self._index[label]]
        start = (
            {"prediction": [label], "predicted_class": [name]}
            if array
            else {"prediction": label, "predicted_class": name}
        )
        return dumps(start)[:-1] + b"," + dumps(self._kind) + (b":[" if array else b":")

    def _instances_decoder(self) -> Any:
        record = self._signature.record
        row = self._signature.row
        return _decoder("instances", list[row] if record is None else list[row | record])  # type: ignore[valid-type]

    def _example(self) -> str:
        return '{"features": [...]}, {"feature name": value, ...} or {"instances": [...]}'


class _Nothing(msgspec.Struct, forbid_unknown_fields=True):
    """Takes no record: the strict way has to."""


def _decoder(name: str, kind: Any) -> Any:
    envelope = msgspec.defstruct("Envelope", [(name, kind)], forbid_unknown_fields=True, gc=False)
    return msgspec.json.Decoder(envelope).decode


def _values(row: Any) -> Row:
    return msgspec.structs.astuple(row) if isinstance(row, msgspec.Struct) else row


def _refuse_not_finite(scores: npt.NDArray[np.float64]) -> None:
    wrong = np.flatnonzero(~np.isfinite(scores).all(axis=1))
    if len(wrong):
        raise InferenceFailed(
            f"the model's answer to row {wrong[0]} is not a number: a feature of it is too large",
            row=int(wrong[0]),
        )
