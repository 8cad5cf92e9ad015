"""Parts of the payload log as JSON Lines, zstd or gzip: where pyarrow is not installed.

Each line is a row, an object with the names of the columns. The first row has one member more, its first one,
with the schema.
"""

import gzip
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

import msgspec

from unpickled.server.artifact.manifest import Notation
from unpickled.server.model import dates
from unpickled.server.payloads import zstd
from unpickled.server.payloads.schema import Cell, Cells, Column, Schema

SCHEMA = "_schema"
Stream = IO[bytes] | gzip.GzipFile
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def suffix() -> str:
    """The ending of files that this Python writes."""
    return ".jsonl.gz" if zstd.library() is None else ".jsonl.zst"


def created(path: Path, packed: str) -> Stream:
    """A new file, packed as the name ``packed`` says. Raises OSError."""
    return zstd.created(path) if packed.endswith(".zst") else gzip.open(path, "wb", compresslevel=6)


def opened(path: Path) -> Stream:
    """A file to read, packed as its name says. Raises OSError, EOFError or zlib.error where it is damaged."""
    return zstd.opened(path) if path.name.endswith(".zst") else gzip.open(path)


class Writer:
    """Writes one file; ``packed`` is its final name."""

    def __init__(self, path: Path, schema: Schema, packed: str) -> None:
        self._schema = schema
        self._encode = [_ENCODERS.get(column.type, _same) for column in schema.columns]
        self._file = created(path, packed)
        self._first = True

    def add(self, rows: Sequence[Cells]) -> None:
        """Write rows of cells."""
        names = self._schema.names
        lines = []
        for row in rows:
            cells = (encode(cell) for encode, cell in zip(self._encode, row, strict=True))
            document: dict[str, Any] = dict(zip(names, cells, strict=True))
            if self._first:
                document = {_schema_member(names): self._schema, **document}
                self._first = False
            lines.append(msgspec.json.encode(document))
        self._file.write(b"\n".join(lines) + b"\n")

    def close(self) -> None:
        """Finish the file."""
        self._file.close()


def schema_in(path: Path) -> Schema | None:
    """The schema in the first row; None for a table of another origin. Raises OSError or EOFError."""
    with opened(path) as file:
        try:
            document = msgspec.json.decode(file.readline())
            name = next(iter(document))
            return None if name.strip("_") != "schema" else msgspec.convert(document[name], Schema)
        except (msgspec.MsgspecError, TypeError, StopIteration):
            return None


def count(path: Path) -> int:
    """The number of rows."""
    with opened(path) as file:
        return sum(1 for _ in file)


def rows(path: Path, schema: Schema, most: int) -> Iterator[Cells]:
    """The rows of a file."""
    readers = [(column.name, _READERS.get(column.type, _same)) for column in schema.columns]
    with opened(path) as file:
        for line in file:
            document = msgspec.json.decode(line)
            yield tuple(read(document[name]) for name, read in readers)


def batches(
    path: Path, schema: Schema, columns: Sequence[Column], most: int
) -> Iterator[dict[str, list[Cell]]]:
    """The cells of these columns by name, for at most ``most`` rows at once."""
    places = [schema.columns.index(column) for column in columns]
    chunk: list[Cells] = []
    for row in rows(path, schema, most):
        chunk.append(row)
        if len(chunk) == most:
            yield _by_name(chunk, columns, places)
            chunk = []
    if chunk:
        yield _by_name(chunk, columns, places)


def _by_name(
    chunk: Sequence[Cells], columns: Sequence[Column], places: Sequence[int]
) -> dict[str, list[Cell]]:
    pairs = zip(columns, places, strict=True)
    return {column.name: [row[place] for row in chunk] for column, place in pairs}


def _schema_member(names: Sequence[str]) -> str:
    name = SCHEMA
    while name in names:
        name = f"_{name}"
    return name


def _same(cell: Any) -> Any:
    return cell


def _float(cell: Any) -> Any:
    return None if cell is None else float(cell)


def _moment(cell: Any) -> Any:
    moment = None if cell is None else _EPOCH + cell * _MICROSECOND
    return moment and moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _microseconds(text: Any) -> Any:
    return None if text is None else (datetime.fromisoformat(text) - _EPOCH) // _MICROSECOND


def _date(notation: Notation) -> Callable[[Any], Any]:
    return lambda cell: None if cell is None else dates.written(cell, notation)


def _seconds(text: Any) -> Any:
    moment = None if text is None else dates.moment(text, "year first")
    return moment and int(moment.seconds)


_ENCODERS: dict[str, Callable[[Any], Any]] = {
    "timestamp": _moment,
    "date": _date(Notation()),
    "datetime": _date(Notation(times=True)),
    "instant": _date(Notation(times=True, offset=True)),
}
_READERS: dict[str, Callable[[Any], Any]] = {
    "double": _float,
    "timestamp": _microseconds,
    "date": _seconds,
    "datetime": _seconds,
    "instant": _seconds,
}
