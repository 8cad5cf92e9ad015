"""Parts of the payload log as Parquet. Only the log's writer imports this, no other serving process.

A part has its schema in its metadata, under SCHEMA, so that it explains itself.
"""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.compute
from pyarrow import parquet

from unpickled.server.payloads import arrays, columns
from unpickled.server.payloads.schema import Cell, Cells, Column, Schema

SCHEMA, DIGEST = b"unpickled.schema", b"unpickled.sha256"

_TYPES: dict[str, Any] = {
    "double": pyarrow.float64(),
    "int64": pyarrow.int64(),
    "bool": pyarrow.bool_(),
    "text": pyarrow.string(),
    "date": pyarrow.date32(),
    "datetime": pyarrow.timestamp("s"),
    "instant": pyarrow.timestamp("s", "UTC"),
    "timestamp": pyarrow.timestamp("us", "UTC"),
}
# The type of a column in which a cell does not fit its own type.
_WIDER = {"bool": "double", "date": "datetime"}
_DAY = 86_400


class Writer:
    """Writes one file."""

    def __init__(self, path: Path, schema: Schema) -> None:
        self._path = path
        self._schema = schema
        self._types: list[str] = [column.type for column in schema.columns]
        self._file = self._opened(path)

    def add(self, rows: Sequence[Cells]) -> None:
        """Write rows of cells, which become a group of rows in the file."""
        self.add_columns([list(column) for column in zip(*rows, strict=True)], len(rows))

    def add_columns(self, given: Sequence[columns.Column], rows: int) -> None:
        """The same by columns."""
        wider = [
            place
            for place, kind in enumerate(self._types)
            if kind in _WIDER and not all(_fits(cell, kind) for cell in columns.cells(given[place], rows))
        ]
        if wider:
            self._widen(wider)
        content = [_array(column, kind, rows) for column, kind in zip(given, self._types, strict=True)]
        self._file.write_batch(pyarrow.RecordBatch.from_arrays(content, schema=self._arrow()))

    def close(self) -> None:
        """Finish the file."""
        self._file.close()

    def _widen(self, places: Sequence[int]) -> None:
        """Write what there is again, with types that hold every cell."""
        self._file.close()
        for place in places:
            self._types[place] = _WIDER[self._types[place]]
        before = self._path.with_name(f"{self._path.name}.narrow")
        self._path.replace(before)
        self._file = self._opened(self._path)
        shutil.copymode(before, self._path)
        with parquet.ParquetFile(before) as file:
            for batch in file.iter_batches():
                self._file.write_batch(batch.cast(self._arrow()))
        before.unlink()

    def _opened(self, path: Path) -> parquet.ParquetWriter:
        texts = [column.name for column in self._schema.columns if column.type == "text"]
        return parquet.ParquetWriter(path, self._arrow(), compression="zstd", use_dictionary=texts)

    def _arrow(self) -> pyarrow.Schema:
        fields = [
            pyarrow.field(column.name, _TYPES[kind])
            for column, kind in zip(self._schema.columns, self._types, strict=True)
        ]
        metadata = {SCHEMA: self._schema.text(), DIGEST: self._schema.sha256.encode()}
        return pyarrow.schema(fields, metadata=metadata)


def schema_in(path: Path) -> Schema | None:
    """The schema in a file's metadata; None for a table of another origin.

    Raises pyarrow.ArrowException or OSError where the file cannot be read.
    """
    text = (parquet.read_schema(path).metadata or {}).get(SCHEMA)
    return None if text is None else Schema.read(text)


def count(path: Path) -> int:
    """The number of rows."""
    return int(parquet.read_metadata(path).num_rows)


def batches(
    path: Path, schema: Schema, chosen: Sequence[Column], most: int
) -> Iterator[dict[str, list[Cell]]]:
    """The cells of these columns by name, for at most ``most`` rows at once."""
    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=most, columns=[column.name for column in chosen]):
            yield {column.name: _cells(batch.column(column.name), column.type) for column in chosen}


def rows(path: Path, schema: Schema, most: int) -> Iterator[Cells]:
    """The rows of a file."""
    for batch in batches(path, schema, schema.columns, most):
        yield from zip(*batch.values(), strict=True)


def _fits(cell: Any, kind: str) -> bool:
    if kind == "bool":
        return cell is None or isinstance(cell, bool)
    return cell is None or cell % _DAY == 0


def _array(column: columns.Column, kind: str, rows: int) -> pyarrow.Array:
    if isinstance(column, columns.Same):
        return pyarrow.repeat(_listed([column.cell], kind)[0], rows)
    if isinstance(column, columns.Numbered):
        texts = arrays.numbers(column.numbers, np.int64).cast(pyarrow.string())
        return pyarrow.compute.binary_join_element_wise(arrays.text(column.prefix), texts, arrays.text(""))
    if isinstance(column, np.ndarray) and kind == "double":
        return arrays.measured(column)
    if isinstance(column, np.ndarray) and kind in ("int64", "timestamp"):
        return arrays.numbers(column, np.int64).cast(_TYPES[kind])
    return _listed(columns.cells(column, rows), kind)


def _listed(cells: Sequence[Any], kind: str) -> pyarrow.Array:
    if kind == "double":
        return arrays.measured(cells)
    if kind == "text":
        return arrays.texts(cells)
    if kind == "bool":
        return arrays.truths(cells)
    if kind == "date":
        days = [None if cell is None else cell // _DAY for cell in cells]
        return arrays.numbers(days, np.int32).cast(pyarrow.date32())
    return arrays.numbers(cells, np.int64).cast(_TYPES[kind])


def _cells(array: pyarrow.Array, kind: str) -> list[Cell]:
    stored = array.type
    cells: list[Cell]
    if pyarrow.types.is_date32(stored):
        days = array.cast(pyarrow.int32()).to_pylist()
        cells = [None if day is None else day * _DAY for day in days]
    elif pyarrow.types.is_timestamp(stored):
        unit = "us" if kind == "timestamp" else "s"
        cells = array.cast(pyarrow.timestamp(unit, stored.tz)).cast(pyarrow.int64()).to_pylist()
    elif kind == "bool" and not pyarrow.types.is_boolean(stored):
        cells = [bool(cell) if cell in (0, 1) else cell for cell in array.to_pylist()]
    else:
        cells = array.to_pylist()
    return cells
