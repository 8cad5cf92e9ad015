"""Amazon SageMaker's container contract, and with it that of MLflow's scoring server.

POST /invocations reads by Content-Type and answers in the type of the request, or in what Accept asks for:

    application/json        the native protocol, and MLflow's forms: {"dataframe_split": {"columns", "data"}},
                            {"dataframe_records": [record, ...]}, {"inputs": {feature name: [values]} or rows}
                            answer {"predictions": [0, ...], "predicted_class": [...], "probabilities": [...]}
    text/csv                as protocols/csv.py; a first line that is not the features' names is a row
    application/jsonlines   a row, a record or {"features": row} a line; a record a line

https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html,
https://docs.aws.amazon.com/sagemaker/latest/dg/cdf-inference.html,
https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally.
"""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from unpickled.server.errors import InvalidInput, MalformedJSON, UnsupportedMedia
from unpickled.server.inference.predictor import Outcome, Predictor
from unpickled.server.message import accept, body
from unpickled.server.message.answer import OPTIONS, Environ, dumps
from unpickled.server.message.body import Members
from unpickled.server.model.signature import Row
from unpickled.server.protocols import csv
from unpickled.server.protocols.csv import Csv
from unpickled.server.protocols.forms import chosen, is_form, split
from unpickled.server.protocols.native import Native
from unpickled.server.protocols.rows import Reader

_JSON = "application/json"
# What clients that say nothing of JSON call it.
_SAME = frozenset({"", _JSON, "application/x-www-form-urlencoded", "application/octet-stream", "text/plain"})
_LINES = ("application/jsonlines", "application/jsonl", "application/x-jsonlines", "application/x-ndjson")
# First and last byte of a row and of a record.
_ENDS = {b"[]", b"{}"}
_MLFLOW = dict.fromkeys(("dataframe_split", "dataframe_records", "inputs"), ("params",))
_SIGNS = tuple(f'"{name}"'.encode() for name in _MLFLOW)
_EXAMPLE = '{"dataframe_split": {"columns": [...], "data": [...]}} or {"instances": [...]}'


class SageMaker:
    """Answers /invocations for one model."""

    def __init__(self, predictor: Predictor, reader: Reader, native: Native) -> None:
        self._predictor = predictor
        self._reader = reader
        self._native = native
        self._csv = Csv(predictor, detect=True)

    def predict(self, request: bytes, environ: Environ) -> Outcome:
        """The answer to one request; raises RequestError."""
        kind = body.media_type(environ)[0]
        if kind in _SAME or kind.endswith("+json"):
            kind, outcome = _JSON, self._document(request, environ)
        elif kind == csv.KIND:
            outcome = self._csv.predict(request, environ)
        elif kind in _LINES:
            outcome = self._written(self._lines(request), kind)
        else:
            known = ", ".join((_JSON, csv.KIND, _LINES[0]))
            raise UnsupportedMedia(f"Content-Type {kind[:60]!r} is not read here: send {known}")
        wanted = accept.preferred(environ, (kind, _JSON, csv.KIND, *_LINES))
        return outcome if wanted == kind else self._written(outcome, wanted)

    def _document(self, request: bytes, environ: Environ) -> Outcome:
        if any(sign in request for sign in _SIGNS):
            members = self._reader.document(request, _EXAMPLE)
            if is_form(members, _MLFLOW, self._predictor):
                return self._dataframe(members)
        # Amazon's own algorithms take {"instances": [{"features": [...]}]}.
        if b'"instances"' in request[:64] and b'"features"' in request:
            members = self._reader.document(request, _EXAMPLE)
            if isinstance(members.get("instances"), list) and len(members) == 1:
                rows = self._reader.listed(list(map(_unwrapped, members["instances"])), "'instances'")
                return self._predictor.predictions(rows)
        return self._native.predict(request, environ)

    def _dataframe(self, members: Members) -> Outcome:
        form = chosen(members, _MLFLOW, _EXAMPLE)
        frame, what = members[form], f"{form!r}"
        if form == "dataframe_split":
            rows = split(self._reader, frame, what)
        elif form == "inputs" and isinstance(frame, Members):
            rows = self._reader.columns(frame)
        else:
            rows = self._reader.listed(frame, what)
        decoded, ran, labels, scores = self._predictor.run(rows)
        arrays = self._predictor.arrays(labels, scores)
        content = dumps({"predictions": arrays.pop("prediction"), **arrays}, option=OPTIONS)
        return content, decoded, ran, rows, labels, scores, None

    def _lines(self, request: bytes) -> Outcome:
        lines = self._predictor.bounded(filter(bytes.strip, io.BytesIO(request)))
        rows = None
        # One document of them all is decoded in C; a line that holds half a row, or two, shows in its ends or
        # in the number of rows.
        if {line[:1] + line[-1:] for line in map(bytes.strip, lines)} <= _ENDS:
            rows = self._reader.instances(b'{"instances":[' + b",".join(lines) + b"]}")
        if rows is None or len(rows) != len(lines):
            rows = self._strict_lines(request)
        decoded, ran, labels, scores = self._predictor.run(rows)
        return b"", decoded, ran, rows, labels, scores, None

    def _strict_lines(self, request: bytes) -> Sequence[Row]:
        numbers, values = [], []
        for number, line in enumerate(io.BytesIO(request), start=1):
            if line.strip():
                numbers.append(number)
                values.append(_unwrapped(_parsed(line, number)))
        try:
            return self._reader.listed(values, "the body")
        except InvalidInput as error:
            row = error.details.get("row")
            raise error.on_line(numbers[row]) if isinstance(row, int) else error from None

    def _written(self, outcome: Outcome, wanted: str) -> Outcome:
        """The same answer in another media type; as CSV without a header, as Amazon's algorithms answer."""
        _, decoded, ran, rows, answered, found, _ = outcome
        labels = list(answered)
        scores = np.asarray(found, dtype=np.float64)
        if wanted == csv.KIND:
            content = self._csv.written(labels, scores, header=False)
            return content, decoded, ran, rows, labels, scores, csv.headers(header=False)
        if wanted in _LINES:
            content = b"".join(dumps(record) + b"\n" for record in self._predictor.records(labels, scores))
            return content, decoded, ran, rows, labels, scores, (("Content-Type", wanted),)
        content = dumps(self._predictor.arrays(labels, scores), option=OPTIONS)
        return content, decoded, ran, rows, labels, scores, None


def _unwrapped(value: Any) -> Any:
    """The row of {"features": row}, as Amazon's algorithms spell one; anything else as it is."""
    if isinstance(value, Members) and set(value) == {"features"} and isinstance(value["features"], list):
        return value["features"]
    return value


def _parsed(line: bytes, number: int) -> Any:
    try:
        return body.parse(line.strip())
    except MalformedJSON as error:
        # Its own place is of the only line that was looked at.
        raise MalformedJSON(f"line {number}: {error}".replace("at line 1, ", "at "), line=number) from None
