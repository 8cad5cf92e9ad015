"""The native protocol: arrays are answered with arrays, a record with a record, a list with records.

    {"features": [5.1, 3.5, 1.4, 0.2]}          {"prediction": [0], "predicted_class": ["setosa"],
    {"features": [[5.1, ...], [4.9, ...]]}       "probabilities": [[0.98, 0.02, 0.0]]}
    {"sepal_length": 5.1, ...}                  {"prediction": 0, "predicted_class": "setosa",
                                                 "probabilities": {"setosa": 0.98, ...}}
    {"instances": [[5.1, ...], {...}]}          {"predictions": [record, ...]}

Classifiers without probabilities answer "scores" in their place.
"""

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import msgspec

from unpickled.server.errors import InvalidInput
from unpickled.server.inference.prediction import Predict, Prediction, annotated
from unpickled.server.inference.predictor import Predictor
from unpickled.server.inference.turn import paced
from unpickled.server.inference.writing import written
from unpickled.server.message import media
from unpickled.server.message.answer import Environ, dumps
from unpickled.server.message.jsonschema import TEXT, Schema, array, either, only
from unpickled.server.message.strict import Members
from unpickled.server.model.feeds import Inside, Row
from unpickled.server.model.outputs import refuse_not_finite
from unpickled.server.model.schemas import Schemas
from unpickled.server.protocols import bodies
from unpickled.server.protocols.arrow.table import predict_stream, refuse_file
from unpickled.server.protocols.bodies import Bodies, Content
from unpickled.server.protocols.csv import Csv
from unpickled.server.protocols.protocol import Paths, Protocol, Subject
from unpickled.server.protocols.rows import REFUSALS, Reader
from unpickled.server.protocols.slices import LONG
from unpickled.server.quote import counted, quoted

# Members of requests to other servers -> a clause about the path that reads them, if there is one.
_FOREIGN = dict.fromkeys(("rows", "records", "samples", "examples", "columns", "X", "x"), "")
_FOREIGN |= dict.fromkeys(("dataframe_split", "dataframe_records"), " (/invocations reads it)")
_FOREIGN |= dict.fromkeys(("data", "input_data", "Inputs"), " (/score reads it)")
_FOREIGN |= {"inputs": " (/invocations and /v2/models/<name>/infer read it)"}
_EXAMPLE = '{"features": [...]}, {"feature name": value, ...} or {"instances": [...]}'


class Native:
    """Answers the native protocol for one model."""

    def __init__(self, predictor: Predictor, reader: Reader) -> None:
        self._predictor = predictor
        self._reader = reader
        self._run_row = predictor.model.run_row
        self._signature = predictor.signature
        self._ranges = predictor.ranges
        self._width = reader.width
        self._decode_row = reader.decode_row
        self._decode_record = reader.decode_record
        # These read a row outside the training range; where none can be, nothing is read twice.
        self._read_row: Callable[[bytes], Row | None] = reader.row if self._ranges else _no_row
        self._read_record = reader.compiled_record if self._ranges else _no_row
        outputs = predictor.outputs
        self._outputs, self._text, self._record_text = outputs, outputs.text, outputs.record_text
        self._heads = outputs.heads(lambda values: self._head([[value] for value in values]) + b"[")
        self._record_heads = outputs.heads(self._head)

    def predict(self, request: bytes, _: Environ | None = None) -> Prediction:
        """The answer to one request; raises RequestError."""
        if len(request) > LONG:
            return self._predict_long(request)
        # More colons than names would mean a duplicate name: see Reader.
        colons = request.count(b":")
        if colons == 1:
            try:
                values = self._decode_row(request).features
            except REFUSALS:
                pass
            else:
                return self._answer_row(values)
            # Outside the handler: the exception is gone, and does not slow down what follows.
            row = self._read_row(request)
            return self._predict_batch(request) if row is None else self.answer_row(row)
        if colons == self._width:
            try:
                record = self._decode_record(request)
            except REFUSALS:
                pass
            else:
                return self._answer_record(msgspec.structs.astuple(record))
            row = self._read_record(request)
            return self._predict_batch(request) if row is None else self.answer_record(row)
        return self._predict_batch(request)

    def _predict_batch(self, request: bytes) -> Prediction:
        """The answer to several rows, and to every body that the compiled decoders refuse."""
        if b'"instances"' in request[:64]:
            rows = self._reader.instances(request)
            if rows is None:
                return self.predict_strictly(request)
            return self._answer_instance(rows) if len(rows) == 1 else self._predictor.predictions(rows)
        rows = self._reader.features(request)
        if rows is None:
            return self.predict_strictly(request)
        if len(rows) > 1:
            return self._arrays(rows)
        return self._answer_row(rows[0]) if isinstance(rows, Inside) else self.answer_row(rows[0])

    def _predict_long(self, request: bytes) -> Prediction:
        """The answer to very many rows, and to every long body that is something else."""
        instances = b'"instances"' in request[:64]
        rows = self._reader.long(request, "instances" if instances else "features")
        if rows is None or len(rows) < 2:
            return self.predict_strictly(request)
        return self._predictor.predictions(rows) if instances else self._arrays(rows)

    def answer_row(self, values: Row) -> Prediction:
        """The answer to one row that passed the checks, as arrays."""
        if self._run_row is None:
            return self._arrays([values])
        if self._ranges is None:
            return self._answer_row(values)
        used, outside = self._ranges.admit_row(values)
        prediction = self._answer_row(used)
        return prediction if outside is None else prediction.beyond((values,), outside).noted()

    def answer_record(self, values: Row) -> Prediction:
        """The answer to one row that passed the checks, as a record."""
        return self._any_record(values).noted()

    def _answer_row(self, values: Row) -> Prediction:
        """The answer to one row inside the training range, as arrays."""
        if self._run_row is None:
            return self._arrays(self._rows_inside(values))
        decoded = perf_counter()
        label, scores = self._run_row(values)  # type: ignore[arg-type]
        ran = perf_counter()
        text = self._text(scores)
        if b"null" in text:
            refuse_not_finite((scores,))
        content = b"".join((self._heads[label], text, b"]}"))
        return Prediction(content, decoded, ran, (values,), (label,), (scores,))

    def _answer_record(self, values: Row) -> Prediction:
        """The same as a record."""
        if self._run_row is None:
            return self._record(self._rows_inside(values))
        decoded = perf_counter()
        label, scores = self._run_row(values)  # type: ignore[arg-type]
        ran = perf_counter()
        text = self._record_text(scores)
        if b"null" in text:
            refuse_not_finite((scores,))
        content = b"".join((self._record_heads[label], text, b"}"))
        return Prediction(content, decoded, ran, (values,), (label,), (scores,))

    def _answer_instance(self, rows: Sequence[Row]) -> Prediction:
        answer = self._answer_record if isinstance(rows, Inside) else self._any_record
        prediction = answer(rows[0])
        prediction.content = b'{"predictions":[' + prediction.content + b"]}"
        return prediction.noted()

    def _any_record(self, values: Row) -> Prediction:
        """The answer to one row as a record, which does not say yet what of it is outside."""
        return (
            self._record([values]) if self._run_row is None else self._admitted(self._answer_record, values)
        )

    def _record(self, rows: Sequence[Row]) -> Prediction:
        run = self._predictor.run(rows)
        return run.prediction(dumps(self._outputs.records(run.labels, run.scores)[0]), rows)

    def _admitted(self, answer: Callable[[Row], Prediction], values: Row) -> Prediction:
        """An answer to a row that may be outside; its content does not say so yet."""
        if self._ranges is None:
            return answer(values)
        used, outside = self._ranges.admit_row(values)
        return answer(used).beyond((values,), outside)

    def _rows_inside(self, values: Row) -> Sequence[Row]:
        """One row that a decoder has found to be inside the ranges that it checks."""
        return Inside((values,)) if self._ranges is None or self._ranges.compiled else [values]

    def predict_strictly(self, request: bytes) -> Prediction:
        """The protocol in plain Python: the reference for the compiled decoders, and the source of errors."""
        document = self._reader.document(request, _EXAMPLE)
        if self._is_form(document, "features"):
            return self._strict_arrays(document["features"])
        if self._is_form(document, "instances"):
            return self._predictor.predictions(self._reader.listed(document["instances"], "'instances'"))
        self._refuse_foreign(document)
        [values] = rows = self._reader.record(document)
        prediction = self.answer_record(values)
        prediction.headers = annotated(prediction.headers, rows, None)
        return prediction

    def only_row(self, request: bytes) -> Row:
        """The row of a request in any form of this protocol; InvalidInput where it has several."""
        document = self._reader.document(request, _EXAMPLE)
        for name in ("features", "instances"):
            if self._is_form(document, name):
                return self._only(document[name], name)
        self._refuse_foreign(document)
        return self._reader.record(document)[0]

    def _only(self, rows: list[Any], name: str) -> Row:
        """The one row in the array of a request; of "features", the array may be the row."""
        if name == "features" and rows and not isinstance(rows[0], list | Members):
            return self._signature.check_row(rows, 0)
        if len(rows) != 1:
            count = counted(len(rows), "row")
            raise InvalidInput(f"{name!r} has {count}, but one row belongs there: send one in a request")
        if name == "features":
            return self._signature.check_row(self._no_record(rows)[0], 0)
        return self._reader.listed(rows, f"{name!r}")[0]

    @staticmethod
    def _no_record(rows: list[Any]) -> list[Any]:
        """The rows of "features"; InvalidInput where the first is a record."""
        if rows and isinstance(rows[0], Members):
            raise InvalidInput("'features' holds objects, but it is for arrays: send records in 'instances'")
        return rows

    def _strict_arrays(self, rows: list[Any]) -> Prediction:
        if self._no_record(rows) and not isinstance(rows[0], list):
            return self.answer_row(self._signature.check_row(rows, 0))
        self._predictor.check_count(len(rows))
        return self._arrays([self._signature.check_row(row, index) for index, row in paced(enumerate(rows))])

    def _refuse_foreign(self, document: Members) -> None:
        """InvalidInput for a document in the form of another server, with the form that is read here."""
        if any(name in self._signature.names for name in document):
            return
        for name in document:
            if name in _FOREIGN and not self._signature.ignores(name):
                raise InvalidInput(f"{name!r} is no form of this path{_FOREIGN[name]}: send {_EXAMPLE}")

    def _is_form(self, document: Members, name: str) -> bool:
        """Whether a document is {name: [...]}; a model may have a feature of that name."""
        value = document.get(name)
        if name not in document or (name in self._signature.names and not isinstance(value, list)):
            return False
        if name in document.repeated:
            raise InvalidInput(f"{name!r} is given twice")
        for member in document:
            if member != name:
                raise InvalidInput(
                    f"{quoted(member)} stands beside {name!r}, which stands alone: send {_EXAMPLE}"
                )
        if not isinstance(value, list):
            raise InvalidInput(f"{name!r} is not an array: send {_EXAMPLE}")
        return True

    def _arrays(self, rows: Sequence[Row]) -> Prediction:
        run = self._predictor.run(rows)
        arrays = run.document(self._outputs.arrays(run.labels, run.scores))
        content = written(arrays, run.scores.size)
        return run.prediction(content, rows)

    def _head(self, values: Sequence[Any]) -> bytes:
        """An answer up to its scores, in which the answers with one label agree."""
        *names, last = (member.name for member in self._outputs.members)
        return dumps({**dict(zip(names, values, strict=True)), last: 0}).removesuffix(b"0}")


def _no_row(_: bytes) -> None:
    """No body holds a row outside the training range of a model that has none."""


def forms(schemas: Schemas) -> list[Schema]:
    """The documents that a request may consist of."""
    row, record = schemas.row, schemas.record
    return [
        only({"features": row}),
        only({"features": schemas.rows(row)}),
        record,
        only({"instances": schemas.rows(row, record)}),
    ]


def answers(schemas: Schemas) -> list[Schema]:
    """The documents that an answer may consist of."""
    predictions = schemas.flagged({"predictions": array(schemas.answer, 1)})
    return [schemas.arrays, schemas.record_answer, predictions]


def examples(schemas: Schemas) -> dict[str, Any]:
    """A request of each form."""
    first, *more = schemas.examples()
    record = schemas.named_values(first)
    return {
        "one row": {"features": first},
        "several rows": {"features": [first, *more]},
        "a record": record,
        "several of either": {"instances": [record, *more]},
    }


def other_requests(schemas: Schemas) -> Content:
    """The bodies of requests that are no single JSON document."""
    return {
        media.CSV: bodies.table(schemas),
        media.ARROW: bodies.stream(schemas),
        media.NDJSON: bodies.lines([{"features": row} for row in schemas.examples()]),
    }


OTHER_ANSWERS: Content = {
    media.CSV: {"schema": TEXT},
    media.ARROW: {"schema": {}},
    media.NDJSON: {"schema": TEXT},
}


def one_row(schemas: Schemas) -> Content:
    """The body of a request that has one row and no more, in any of the forms."""
    row, record = schemas.row, schemas.record
    forms = [
        only({"features": row}),
        only({"features": array(row, 1, 1)}),
        record,
        only({"instances": array(either(row, record), 1, 1)}),
    ]
    first, *_ = schemas.examples()
    examples = {"one row": {"features": first}, "a record": schemas.named_values(first)}
    return {media.JSON: bodies.with_examples(schemas.name("OneRow", either(*forms)), examples)}


def _describe(schemas: Schemas) -> Bodies:
    return Bodies(
        "Arrays are answered with arrays, a record with a record, `instances` with one record each. A table "
        "(CSV, whose header names the features in any order, or an Arrow stream) is answered with a table of "
        "its type or of the one that `Accept` asks for, or with arrays where that is JSON. Of lines, each is "
        "a request of its own, answered as it comes, or with an error that has its number; "
        "there may be any number of them.",
        {
            media.JSON: bodies.with_examples(
                schemas.name("Request", either(*forms(schemas))), examples(schemas)
            ),
            **other_requests(schemas),
        },
        {
            media.JSON: {"schema": schemas.name("Answers", either(*answers(schemas)))},
            **OTHER_ANSWERS,
        },
    )


def predict_native(subject: Subject) -> Predict:
    """Answers the native protocol's JSON for one version."""
    return Native(subject.predictor, subject.reader).predict


def predict_table(subject: Subject) -> Predict:
    """Answers CSV for one version."""
    return Csv(subject.predictor).predict


# The content types of tables -> the function that builds what reads them.
TABLES = {media.CSV: predict_table, media.ARROW: predict_stream} | dict.fromkeys(
    media.TABLE_FILES, refuse_file
)

PROTOCOL = Protocol(
    name="native",
    summary="Predict",
    paths=lambda _: Paths(
        default="/predict",
        model="/models/<name>/predict",
        version="/models/<name>/versions/<version>/predict",
        label="/models/<name>/labels/<label>/predict",
    ),
    build=predict_native,
    describe=_describe,
    by_type=TABLES,
    lines=predict_native,
)
