"""Arrow streams, for pipes: record batches are read and written as they come."""

from collections.abc import Iterator
from typing import Any, BinaryIO

from unpickled.server.batch.forms.answers import Answers
from unpickled.server.batch.forms.columnar import Columnar, Joined, check_distinct, chunks, empty_batch
from unpickled.server.batch.forms.form import Chunk, Form, Given, Kept
from unpickled.server.frames.arrow import Tables
from unpickled.server.inference.predictor import Predictor
from unpickled.server.model.outputs import Labels, Scores


class Table:
    """The table in an Arrow stream; see ``Source`` in forms/form.py."""

    rows: int | None = None

    def __init__(self, file: BinaryIO, predictor: Predictor, keep: Kept) -> None:
        import pyarrow

        self._reader = pyarrow.ipc.open_stream(file)
        self._tables = Tables(predictor)
        self._features = predictor.signature.names
        schema = self._reader.schema
        check_distinct(schema)
        self.empty: Given = Columnar(empty_batch(schema))
        predictor.signature.check_names(schema.names)

    def chunks(self) -> Iterator[Chunk]:
        """The rows, a batch at a time."""
        return chunks(iter(self._reader), self._tables, self._features)


class Writer:
    """Writes an Arrow stream; see ``Writer`` in forms/form.py."""

    def __init__(self, file: BinaryIO, answers: Answers, empty: Given) -> None:
        self._file, self._empty = file, empty
        self._joined = Joined(answers)
        self._writer: Any = None

    def write(self, given: Given, labels: Labels, scores: Scores) -> None:
        """Write a record batch."""
        if self._writer is None:
            self._open(given)
        self._writer.write_batch(self._joined.batch(self._schema, given, labels, scores))
        self._file.flush()

    def close(self) -> None:
        """Write the end of the stream."""
        if self._writer is None:
            self._open(self._empty)
        self._writer.close()

    def drop(self) -> None:
        """Forget nothing: all is written."""

    def _open(self, given: Given) -> None:
        import pyarrow

        self._schema = self._joined.schema(given)
        self._writer = pyarrow.ipc.new_stream(self._file, self._schema)


ARROW = Form("arrow", (".arrows",), Table, Writer)
