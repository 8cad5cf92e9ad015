"""Amazon SageMaker's container contract, and with it that of MLflow's scoring server.

POST /invocations reads the body by its Content-Type; it answers in that type, or in one that Accept prefers:

    application/json        the native protocol, and MLflow's forms: {"dataframe_split": {"columns", "data"}},
                            {"dataframe_records": [record, ...]}, {"inputs": {feature name: [values]} or rows}
                            answer {"predictions": [0, ...], "predicted_class": [...], "probabilities": [...]}
    text/csv                as protocols/csv.py; a first line that is not the features' names is a row
    application/vnd.apache.arrow.stream     as protocols/arrow/table.py
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
from unpickled.server.inference.prediction import Predict, Prediction, Run
from unpickled.server.inference.writing import written
from unpickled.server.message import accept, body, media, strict
from unpickled.server.message.answer import Environ, dumps
from unpickled.server.message.jsonschema import TEXT, Schema, array, either, only
from unpickled.server.message.strict import Members
from unpickled.server.model.feeds import Row
from unpickled.server.model.schemas import Schemas
from unpickled.server.protocols import bodies, native
from unpickled.server.protocols.arrow.table import Arrow
from unpickled.server.protocols.bodies import Bodies
from unpickled.server.protocols.csv import Csv
from unpickled.server.protocols.forms import chosen, is_form, split
from unpickled.server.protocols.native import predict_native
from unpickled.server.protocols.protocol import Paths, Protocol, Subject
from unpickled.server.quote import quoted

# Content types treated as JSON: some clients send it under another type, or none.
_JSON_TYPES = frozenset({"", media.JSON, "application/x-www-form-urlencoded", media.BINARY, "text/plain"})
# First and last byte of a row and of a record.
_ENDS = {b"[]", b"{}"}
_MLFLOW = dict.fromkeys(("dataframe_split", "dataframe_records", "inputs"), ("params",))
_SIGNS = tuple(f'"{name}"'.encode() for name in _MLFLOW)
_EXAMPLE = '{"dataframe_split": {"columns": [...], "data": [...]}} or {"instances": [...]}'


class SageMaker:
    """Answers /invocations for one model."""

    def __init__(self, subject: Subject) -> None:
        self._predictor = subject.predictor
        self._reader = subject.reader
        self._predict_native = predict_native(subject)
        self._csv = Csv(subject.predictor, detect=True)
        self._arrow = Arrow(subject.predictor)

    def predict(self, request: bytes, environ: Environ) -> Prediction:
        """The answer to one request; raises RequestError."""
        kind = body.media_type(environ)[0]
        if kind in _JSON_TYPES or kind.endswith("+json"):
            kind, prediction = media.JSON, self._document(request, environ)
        elif kind == media.CSV:
            prediction = self._csv.predict(request, environ)
        elif kind == media.ARROW:
            prediction = self._arrow.predict(request, environ)
        elif kind in media.JSON_LINES:
            prediction = self._rewritten(self._lines(request), kind)
        else:
            kinds = ", ".join((media.JSON, media.CSV, media.JSON_LINES[0], media.ARROW))
            raise UnsupportedMedia(f"Content-Type {quoted(kind)} is not read here: send {kinds}")
        preferred = accept.preferred(environ, (kind, media.JSON, media.CSV, media.ARROW, *media.JSON_LINES))
        return prediction if preferred == kind else self._rewritten(prediction, preferred)

    def _document(self, request: bytes, environ: Environ) -> Prediction:
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
        return self._predict_native(request, environ)

    def _dataframe(self, members: Members) -> Prediction:
        form = chosen(members, _MLFLOW, _EXAMPLE)
        frame, place = members[form], f"{form!r}"
        if form == "dataframe_split":
            rows = split(self._reader, frame, place)
        elif form == "inputs" and isinstance(frame, Members):
            rows = self._reader.columns(frame)
        else:
            rows = self._reader.listed(frame, place)
        run = self._predictor.run(rows)
        arrays = self._predictor.outputs.arrays(run.labels, run.scores)
        content = written({"predictions": arrays.pop("prediction"), **arrays}, run.scores.size)
        return run.prediction(content, rows)

    def _lines(self, request: bytes) -> Prediction:
        lines = self._predictor.bounded(filter(bytes.strip, io.BytesIO(request)))
        rows = None
        # All lines joined to one document are decoded in C. A line with half a row, or with two rows, shows
        # in its first and last byte, or in the number of rows.
        if {line[:1] + line[-1:] for line in map(bytes.strip, lines)} <= _ENDS:
            rows = self._reader.instances(b'{"instances":[' + b",".join(lines) + b"]}")
        if rows is None or len(rows) != len(lines):
            rows = self._strict_lines(request)
        return self._predictor.run(rows).prediction(b"", rows)

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

    def _rewritten(self, prediction: Prediction, kind: str) -> Prediction:
        """The prediction with its answer in another media type; CSV has no header, as with Amazon's own."""
        labels, scores = list(prediction.labels), np.asarray(prediction.scores, dtype=np.float64)
        run = Run(labels, scores, prediction.decoded, prediction.ran, prediction.outside)
        if kind in media.JSON_LINES:
            records = self._predictor.outputs.records(labels, scores)
            content, headers = (
                b"".join(dumps(record) + b"\n" for record in records),
                (("Content-Type", kind),),
            )
            return run.prediction(content, prediction.rows, headers)
        content, fields = self._csv.written(kind, run, header=False)
        return run.prediction(content, prediction.rows, fields)


def _unwrapped(value: Any) -> Any:
    """The row in {"features": row}, a form of Amazon's algorithms; anything else as it is."""
    if isinstance(value, Members) and set(value) == {"features"} and isinstance(value["features"], list):
        return value["features"]
    return value


def _parsed(line: bytes, number: int) -> Any:
    try:
        return strict.parse(line.strip())
    except MalformedJSON as error:
        # The parser saw this line only: its "line 1" would be wrong.
        raise MalformedJSON(f"line {number}: {error}".replace("at line 1, ", "at "), line=number) from None


def _describe(schemas: Schemas) -> Bodies:
    forms = either(*native.forms(schemas), *_mlflow_forms(schemas))
    arrays = {
        "predictions" if name == "prediction" else name: array(member, 1)
        for name, member in schemas.members.items()
    }
    answer = either(*native.answers(schemas), only(arrays))
    examples = native.examples(schemas) | _mlflow_examples(schemas)
    return Bodies(
        "The native forms, and those of MLflow; the columns of `dataframe_split` may be in any order, those "
        "of `inputs` of any one length. A table needs no header; of JSON lines, each is a row. The answer is "
        "in the request's type, or in the one that `Accept` asks for.",
        {
            media.JSON: bodies.with_examples(schemas.name("SageMakerRequest", forms), examples),
            media.CSV: bodies.table(schemas),
            media.ARROW: bodies.stream(schemas),
            media.JSON_LINES[0]: bodies.lines(schemas.examples()),
        },
        {
            media.JSON: {"schema": schemas.name("SageMakerResponse", answer)},
            media.CSV: {"schema": TEXT},
            media.ARROW: {"schema": {}},
            media.JSON_LINES[0]: {"schema": TEXT},
        },
    )


def _mlflow_forms(schemas: Schemas) -> list[Schema]:
    """The forms of MLflow, and the one of Amazon's algorithms."""
    row, record = schemas.row, schemas.record
    parameters: dict[str, Schema] = {"params": {}}
    inputs = either(schemas.rows(row, record), bodies.columns(schemas))
    return [
        only({"instances": schemas.rows(row, record, only({"features": row}))}),
        only({"dataframe_split": bodies.split(schemas), **parameters}, ["dataframe_split"]),
        only({"dataframe_records": schemas.rows(row, record), **parameters}, ["dataframe_records"]),
        only({"inputs": inputs, **parameters}, ["inputs"]),
    ]


def _mlflow_examples(schemas: Schemas) -> dict[str, Any]:
    rows, names = schemas.examples(), list(schemas.signature.names)
    return {
        "dataframe_split": {"dataframe_split": {"columns": names, "data": rows}},
        "dataframe_records": {"dataframe_records": [schemas.named_values(row) for row in rows]},
    }


def _build(subject: Subject) -> Predict:
    return SageMaker(subject).predict


PROTOCOL = Protocol(
    name="sagemaker",
    summary="Predict (SageMaker, MLflow)",
    paths=lambda _: Paths(default="/invocations"),
    build=_build,
    describe=_describe,
)
