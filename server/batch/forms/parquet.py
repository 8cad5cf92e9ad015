"""Parquet: row groups are read batch by batch, and written with the schema and the metadata of the source."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from unpickled.server.batch.forms.answers import Answers
from unpickled.server.batch.forms.columnar import Columnar, Joined, check_distinct, chunks, empty_batch
from unpickled.server.batch.forms.form import Chunk, Form, Given, Kept
from unpickled.server.frames.arrow import Tables
from unpickled.server.inference.predictor import Predictor
from unpickled.server.model.outputs import Labels, Scores

if TYPE_CHECKING:
    import pyarrow

# Bytes of each column that are read at a time.
_BUFFER = 1 << 20
# Bytes of a batch that is read, by the mean of the file: rows may be wide, or have long texts.
_BATCH = 1 << 25
# Rows, and bytes, of a row group that is written.
_ROWS, _BYTES = 1 << 18, 1 << 26


class Table:
    """The table in a Parquet file; see ``Source`` in forms/form.py."""

    def __init__(self, file: BinaryIO, predictor: Predictor, keep: Kept) -> None:
        from pyarrow import parquet

        # Columns are read through a buffer each: a row group may be larger than the memory.
        self._file = parquet.ParquetFile(file, pre_buffer=False, buffer_size=_BUFFER)
        self._tables = Tables(predictor)
        self._features = predictor.signature.names
        schema = self._file.schema_arrow
        check_distinct(schema)
        features = set(self._features)
        self._names = [name for name in schema.names if keep(name) or name in features]
        self.empty: Given = Columnar(_empty(schema, self._names))
        self.rows: int | None = self._file.metadata.num_rows
        predictor.signature.check_names(schema.names)

    def chunks(self) -> Iterator[Chunk]:
        """The rows, a batch at a time."""
        rows = min(self._tables.most_rows, max(1, _BATCH // self._width))
        batches = self._file.iter_batches(rows, columns=self._names, use_threads=False)
        return chunks(map(self._ordered, batches), self._tables, self._features)

    @property
    def _width(self) -> int:
        """The bytes of a row, on average."""
        metadata = self._file.metadata
        groups = (metadata.row_group(place).total_byte_size for place in range(metadata.num_row_groups))
        return int(max(1, sum(groups) // max(1, metadata.num_rows)))

    def _ordered(self, batch: "pyarrow.RecordBatch") -> "pyarrow.RecordBatch":
        # The columns come in the order of the file, with the metadata of its schema.
        return batch.select(self._names).replace_schema_metadata(self._file.schema_arrow.metadata)


class Writer:
    """Writes a Parquet file; see ``Writer`` in forms/form.py."""

    def __init__(self, file: BinaryIO, answers: Answers, empty: Given) -> None:
        self._file, self._empty = file, empty
        self._joined = Joined(answers)
        self._writer: Any = None
        self._schema: Any = None
        self._batches: list[Any] = []
        self._rows = self._bytes = 0

    def write(self, given: Given, labels: Labels, scores: Scores) -> None:
        """Keep rows until they make a row group."""
        if self._writer is None:
            self._open(given)
        batch = self._joined.batch(self._schema, given, labels, scores)
        self._batches.append(batch)
        self._rows += batch.num_rows
        self._bytes += batch.nbytes
        if self._rows >= _ROWS or self._bytes >= _BYTES:
            self._flush()

    def close(self) -> None:
        """Write the last row group and the end of the file."""
        if self._writer is None:
            self._open(self._empty)
        self._flush()
        self._writer.close()

    def drop(self) -> None:
        """Forget the rows, and keep pyarrow from writing the end of the file, which is closed by then."""
        self._batches = []
        if self._writer is not None:
            self._writer.is_open = False

    def _open(self, given: Given) -> None:
        from pyarrow import parquet

        self._schema = self._joined.schema(given)
        # Almost all scores differ: a dictionary of them would take time and be dropped.
        names = [field.name for field in self._schema if field.name not in self._joined.numbers]
        self._writer = parquet.ParquetWriter(
            self._file, self._schema, compression="zstd", use_dictionary=names
        )

    def _flush(self) -> None:
        import pyarrow

        if self._batches:
            self._writer.write_table(pyarrow.Table.from_batches(self._batches))
        self._batches, self._rows, self._bytes = [], 0, 0


def _empty(schema: "pyarrow.Schema", names: Sequence[str]) -> "pyarrow.RecordBatch":
    import pyarrow

    fields = [schema.field(name) for name in names]
    kept = pyarrow.schema(fields, metadata=schema.metadata)
    return empty_batch(kept)


PARQUET = Form("parquet", (".parquet", ".pq"), Table, Writer)
