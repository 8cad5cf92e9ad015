"""The files of the payload log, its parts: whole or not there at all.

    <folder>/<model>/date=2026-11-29/<name>.parquet

A part holds rows of one schema, of one day in UTC. Without pyarrow it is .jsonl.zst or .jsonl.gz instead.
While it is written, its name begins with a dot; what a writer that died has left is written over by the next
one with the same name, or removed by retention.sweep.
"""

import importlib
import importlib.util
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

from unpickled.server.artifact.numbered import sync
from unpickled.server.errors import ServingError
from unpickled.server.payloads import columns, jsonlines
from unpickled.server.payloads.columns import Column
from unpickled.server.payloads.schema import Cells, Schema

Form = Literal["parquet", "jsonlines"]
ENDINGS = (".parquet", ".jsonl.zst", ".jsonl.gz")
# Ends the hidden name of a part that is being written.
OPEN = ".open"

# Rows, and cells, that are held at once while a part is written or read.
_MOST_ROWS, _MOST_CELLS = 16_384, 500_000
_DAY = re.compile(r"date=([0-9]{4}-[0-9]{2}-[0-9]{2})")
_MICROSECONDS = 86_400 * 1_000_000


class Part(NamedTuple):
    """A finished file of the payload log: its path, its model, its day in UTC, its size in bytes."""

    path: Path
    model: str
    day: date
    size: int

    @property
    def schema(self) -> Schema | None:
        """The schema of its rows; None for a table of another origin. Raises what the reader raises."""
        schema: Schema | None = reader(self.path).schema_in(self.path)
        return schema


def form() -> Form:
    """The form in which this process writes parts: Parquet if pyarrow is installed."""
    return "jsonlines" if importlib.util.find_spec("pyarrow") is None else "parquet"


def reader(path: Path) -> Any:
    """The module that reads a part: parquet or jsonlines. Raises ServingError where pyarrow is missing."""
    return _parquet() if path.name.endswith(".parquet") else jsonlines


def write(
    folder: Path, schema: Schema, rows: Iterable[Cells], name: str, as_form: Form | None = None
) -> tuple[Path, ...]:
    """Write rows as finished parts.

    Args:
        folder: That of the payload log.
        schema: The columns.
        rows: Cells in the order of the columns; at most some thousand rows are held at once.
        name: The name of the files without an ending. A part of that name is replaced, so that rows that are
            written again after an accident are there once.
        as_form: Parquet or JSON Lines; by default that of ``form()``.

    Returns:
        The paths, one for each day in UTC on which rows were answered, usually one; none without rows.

    Raises:
        OSError: The disk is full, or cannot be written to; no part is there that was not there before, but
            for those of earlier days.
    """
    days: dict[date, _Open] = {}
    chosen = as_form or form()
    try:
        for chunk in _chunks(rows, schema):
            for day, some in _by_day(chunk, schema).items():
                if day not in days:
                    days[day] = _Open(folder, schema, day, name, chosen)
                days[day].add(some)
        return tuple(days[day].finish() for day in sorted(days))
    finally:
        for part in days.values():
            part.discard()


@contextmanager
def written(
    folder: Path, schema: Schema, day: date, name: str
) -> Iterator[Callable[[Sequence[Column], int], None]]:
    """Write a part by columns: it is there once the block ends without an error.

    Args:
        folder, schema, name: As those of ``write``.
        day: The day in UTC on which all rows were answered.

    Yields:
        A function that takes the columns of some rows, in the order of the schema, and how many these are.

    Raises:
        OSError: The disk is full, or cannot be written to; no part is there that was not there before.
    """
    file: _Open | None = None

    def write(given: Sequence[Column], rows: int) -> None:
        nonlocal file
        if file is None:
            # Two processes may write one part at once: each under a name of its own.
            attempt = f".{os.urandom(4).hex()}"
            file = _Open(folder, schema, day, name, form(), attempt)
        file.add_columns(given, rows)

    try:
        yield write
        written = None if file is None else file.finish()
    finally:
        if file is not None:
            file.discard()
    for path in _named(folder / schema.model / f"date={day.isoformat()}", name):
        # One of an earlier attempt, in another form or with rows where there are none now.
        if path != written:
            path.unlink(missing_ok=True)


def rewrite(part: Part, schema: Schema, rows: Iterable[Cells]) -> bool:
    """Replace the rows of a part, at once; False if it is removed, as no row is left.

    The part stays as old as it was, so that it is not kept for longer.
    """
    age = part.path.stat()
    first = list(islice(rows, 1))
    if not first:
        part.path.unlink()
        sync(part.path.parent)
        return False
    file = _Open.at(part.path, schema)
    try:
        for chunk in _chunks(_with(first, rows), schema):
            file.add(chunk)
        os.utime(file.finish(), ns=(age.st_atime_ns, age.st_mtime_ns))
        return True
    finally:
        file.discard()


def find(folder: Path, model: str | None = None) -> list[Part]:
    """The finished parts of a model, or of all, in the order of their days and names."""
    models = [folder / model] if model is not None else [path for path in _listed(folder) if path.is_dir()]
    found = [part for home in models for part in _of_model(home)]
    return sorted(found, key=lambda part: (part.day, part.model, part.path.name))


def day_of(folder: str) -> date | None:
    """The day that a folder called ``date=...`` is for; None for other folders."""
    match = _DAY.fullmatch(folder)
    with suppress(ValueError):
        return None if match is None else date.fromisoformat(match[1])
    return None


def most_rows(schema: Schema) -> int:
    """The number of rows that are held at once."""
    return max(1, min(_MOST_ROWS, _MOST_CELLS // len(schema.columns)))


class _Open:
    """A part that is being written under a hidden name."""

    def __init__(
        self, folder: Path, schema: Schema, day: date, name: str, chosen: Form, attempt: str = ""
    ) -> None:
        ending = ".parquet" if chosen == "parquet" else jsonlines.suffix()
        path = folder / schema.model / f"date={day.isoformat()}" / f"{name}{ending}"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        # Those may read a part who may read the folder of the log.
        self._begin(path, schema, 0o600 | (folder.stat().st_mode & 0o044), attempt)

    @classmethod
    def at(cls, path: Path, schema: Schema) -> "_Open":
        """A part that replaces the one at a path."""
        part = cls.__new__(cls)
        part._begin(path, schema, path.stat().st_mode & 0o777)
        return part

    def _begin(self, path: Path, schema: Schema, mode: int, attempt: str = "") -> None:
        self._path = path
        self._hidden = path.with_name(f".{path.name}{attempt}{OPEN}")
        self._is_open = True
        self._hidden.touch(0o600)
        self._hidden.chmod(mode)
        if path.name.endswith(".parquet"):
            self._writer = _parquet().Writer(self._hidden, schema)
        else:
            self._writer = jsonlines.Writer(self._hidden, schema, path.name)

    def add(self, rows: Sequence[Cells]) -> None:
        self._writer.add(rows)

    def add_columns(self, given: Sequence[Column], rows: int) -> None:
        if self._path.name.endswith(".parquet"):
            self._writer.add_columns(given, rows)
        else:
            self._writer.add(list(zip(*(columns.cells(column, rows) for column in given), strict=True)))

    def finish(self) -> Path:
        """Give the part its name, once the disk has all of it."""
        self._writer.close()
        self._is_open = False
        with self._hidden.open("rb") as file:
            os.fsync(file.fileno())
        self._hidden.replace(self._path)
        sync(self._path.parent)
        return self._path

    def discard(self) -> None:
        """Remove what is written, unless it is finished."""
        if self._is_open:
            self._is_open = False
            # The error that ended the writing is the one to report.
            with suppress(Exception):
                self._writer.close()
        self._hidden.unlink(missing_ok=True)


def _named(home: Path, name: str) -> list[Path]:
    """The finished parts in a folder with a name, whatever their endings."""
    names = [f"{name}{ending}" for ending in ENDINGS]
    return [path for path in _listed(home) if path.name in names]


def _parquet() -> Any:
    if importlib.util.find_spec("pyarrow") is None:
        raise ServingError("the payload log has Parquet, which pyarrow reads: pip install pyarrow")
    return importlib.import_module("unpickled.server.payloads.parquet")


def _chunks(rows: Iterable[Cells], schema: Schema) -> Iterator[list[Cells]]:
    iterator = iter(rows)
    while chunk := list(islice(iterator, most_rows(schema))):
        yield chunk


def _by_day(rows: Sequence[Cells], schema: Schema) -> dict[date, list[Cells]]:
    place = schema.names.index(schema.name("time"))
    days: dict[int, list[Cells]] = {}
    for row in rows:
        days.setdefault(int(row[place]) // _MICROSECONDS, []).append(row)  # type: ignore[arg-type]
    return {datetime.fromtimestamp(day * 86_400, UTC).date(): some for day, some in days.items()}


def _with(first: list[Cells], rest: Iterable[Cells]) -> Iterator[Cells]:
    yield from first
    yield from rest


def _of_model(home: Path) -> Iterator[Part]:
    for path in _listed(home):
        day = day_of(path.name)
        for file in _listed(path) if day is not None else ():
            if not file.name.startswith(".") and file.name.endswith(ENDINGS):
                with suppress(FileNotFoundError):
                    yield Part(file, home.name, day, file.stat().st_size)  # type: ignore[arg-type]


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
