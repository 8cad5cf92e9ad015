"""Arrow streams: a table by column, answered with one that has a row for each row.

The columns are named by the features, in any order, and keep the rules of records in JSON: a null is a
missing value, and so is NaN. Integers and floats of every width become the same doubles that JSON has for
them. Texts are read in all their encodings, dictionaries and views among them.
"""

from collections.abc import Sequence

from unpickled.server.artifact.manifest import Feature
from unpickled.server.errors import BodyTooLarge, InvalidInput, UnsupportedMedia
from unpickled.server.inference.prediction import Predict, Prediction
from unpickled.server.inference.predictor import Predictor
from unpickled.server.message import accept, body, media
from unpickled.server.message.answer import Environ
from unpickled.server.model.cells import as_read
from unpickled.server.model.feeds import Column, Rows
from unpickled.server.protocols.arrow.columns import DATES, READ, Decoder, joined, unread
from unpickled.server.protocols.arrow.messages import messages
from unpickled.server.protocols.arrow.metadata import RECORDS, Field, Message
from unpickled.server.protocols.csv import Csv
from unpickled.server.protocols.protocol import Subject
from unpickled.server.quote import quoted

# Cells that any body may stand for. A longer one may stand for a cell with each byte.
_CELLS = 1 << 22
# Names that pandas gives to columns without one.
_INDEX = "__index_level_"


class Arrow:
    """Answers Arrow streams for one model, with such a stream or with what Accept asks for."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._signature = predictor.signature
        self._features = {feature.name: feature for feature in predictor.signature.features}
        self._csv = Csv(predictor)

    def predict(self, request: bytes, environ: Environ) -> Prediction:
        """The answer to one stream; InvalidInput names row and feature, or says what is no stream in it."""
        names, columns = self.read(request)
        feeds = self._signature.table(columns)
        rows = Rows(as_read(self._features.values(), columns), self._signature.ignored(names))
        run = self._predictor.run_feeds(feeds, rows).listed()
        kind = accept.preferred(environ, (media.ARROW, media.JSON, media.CSV))
        content, headers = self._csv.written(kind, run, header=True)
        return run.prediction(content, rows, headers)

    def read(self, request: bytes) -> tuple[list[str], dict[str, Column]]:
        """The names of all columns, and the values of those that are features.

        Raises InvalidInput where the stream or a column cannot be read, TooManyRows and BodyTooLarge.
        """
        (schema, _), *stream = messages(request)
        fields = schema.fields
        self._check_fields(fields)
        self._check_size(stream, len(request))
        columns: dict[str, list[Column]] = {name: [] for name in self._features}
        decoder = Decoder(fields, columns, len(request))
        for message, content in stream:
            for name, values in decoder.read(message, content):
                columns[name].append(values)
        table = {name: self._gaps(self._features[name], joined(chunks)) for name, chunks in columns.items()}
        return [field.name for field in fields], table

    def _check_fields(self, fields: Sequence[Field]) -> None:
        for field in fields:
            if field.name.startswith(_INDEX) and not self._known(field.name):
                remedy = "leave it out (pa.Table.from_pandas(frame, preserve_index=False))"
                raise InvalidInput(f"column {quoted(field.name)} is the index of a frame: {remedy}")
            if field.name in self._features and not _is_read(self._features[field.name], field.type):
                raise unread(field)
        self._signature.check_names([field.name for field in fields])

    def _known(self, name: str) -> bool:
        return name in self._features or self._signature.ignores(name)

    def _check_size(self, stream: Sequence[tuple[Message, memoryview]], size: int) -> None:
        """InvalidInput without rows; TooManyRows; BodyTooLarge where few bytes stand for very many cells."""
        rows = sum(message.batch.rows for message, _ in stream if message.batch and message.kind == RECORDS)
        self._predictor.check_count(rows)
        limit = max(size, _CELLS)
        if rows * len(self._features) > limit:
            sentence = (
                f"{rows} rows of {len(self._features)} features are more than {limit} values: split them"
            )
            raise BodyTooLarge(sentence, limit=limit)

    @staticmethod
    def _gaps(feature: Feature, column: Column) -> Column:
        """The column; None for each text that stands for a missing number."""
        words = frozenset(feature.missing_words)
        if feature.kind == "category" or not words or not isinstance(column, list):
            return column
        return [None if isinstance(value, str) and value.strip() in words else value for value in column]


def _is_read(feature: Feature, kind: str) -> bool:
    """Whether a feature takes this type; typed dates for features of dates alone: text has many spellings."""
    return kind in READ or (feature.date is not None and kind in DATES)


def predict_stream(subject: Subject) -> Predict:
    """Answers Arrow streams for one version."""
    return Arrow(subject.predictor).predict


def refuse_file(_: Subject) -> Predict:
    """Refuses tables in files, with what to send instead."""

    def refuse(_: bytes, environ: Environ) -> Prediction:
        kind = body.media_type(environ)[0]
        remedy = f"send {media.ARROW} (polars: write_ipc_stream; pyarrow: ipc.new_stream) or {media.CSV}"
        raise UnsupportedMedia(f"Content-Type {quoted(kind)} is not read here: {remedy}")

    return refuse
