"""The payload log, read back: rows with their answers, in batches of columns."""

import zlib
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from unpickled.server.errors import ServingError
from unpickled.server.payloads import parts
from unpickled.server.payloads.parts import Part
from unpickled.server.payloads.schema import Cell, Column, Schema

Array = npt.NDArray[Any]
_MILLION = 1_000_000


class Batch(NamedTuple):
    """Some rows of one schema.

    Attributes:
        schema: It says what the columns are. Labels and scores are those of its version.
        columns: By name, an array (rows,) each. Text is dtype object with None for a missing one. Numbers,
            truth values, and the seconds since 1970 of dates are float64 with NaN for a missing one; whole
            numbers of which none is missing are int64, the time in microseconds since 1970 among them.
    """

    schema: Schema
    columns: dict[str, Array]

    def __len__(self) -> int:
        return len(self.column("time"))

    def column(self, part: str) -> Array:
        """Our own column of that part: "time", "prediction_id", "version", "route", "shadow", "label"."""
        return self.columns[self.schema.name(part)]

    def at(self, rows: npt.NDArray[np.bool_]) -> "Batch":
        """Some of the rows, by a mask."""
        if rows.all():
            return self
        return Batch(self.schema, {name: column[rows] for name, column in self.columns.items()})

    @property
    def answered(self) -> npt.NDArray[np.bool_]:
        """Whether a row (rows,) has the answer that the client got; all others have that of a shadow."""
        return np.isnan(self.column("shadow").astype(np.float64))

    @property
    def labels(self) -> Array:
        """The label of each row (rows,); 0 of a regressor."""
        return self.column("label") if self.schema.all("label") else np.zeros(len(self), np.int64)

    @property
    def scores(self) -> npt.NDArray[np.float64]:
        """The scores (rows, classes) or the numbers (rows, targets), in the model's order."""
        columns = [self.columns[column.name] for column in self.schema.all("score")]
        return np.stack(columns, axis=1).astype(np.float64, copy=False)


def read(
    folder: str | Path,
    model: str,
    since: float | None = None,
    until: float | None = None,
    columns: Collection[str] | None = None,
    files: Collection[str] | None = None,
) -> Iterator[Batch]:
    """The logged rows of a model, some thousand at once.

    Args:
        folder: That of the payload log.
        model: The name of the model.
        since, until: Only rows that were answered from the one moment on and before the other one, in
            seconds since 1970.
        columns: Features to read, by name, where not all are needed. Our own columns are always read.
        files: Only rows whose labels and scores were made by model files with these sha256.

    Raises:
        ServingError: A file cannot be read.
    """
    for part in parts.find(Path(folder), model):
        if not _overlaps(part, since, until):
            continue
        for schema, cells in _of_part(part, columns, files):
            yield from _between(Batch(schema, _arrays(schema, cells)), since, until)


def began(folder: str | Path, model: str, version: int, file: str) -> float | None:
    """The start of the first day, in seconds since 1970, with rows that a version has answered.

    ``file`` is the sha256 of its file. None where there are no such rows. Raises as ``read`` does.
    """
    for part in parts.find(Path(folder), model):
        if any(schema.version == version for schema, _ in _of_part(part, (), (file,))):
            return _start(part)
    return None


def of_file(path: Path) -> Iterator[Batch]:
    """The rows of one part. Raises ServingError where it cannot be read."""
    part = Part(path, path.parent.parent.name, date.min, 0)
    for schema, cells in _of_part(part, None):
        yield Batch(schema, _arrays(schema, cells))


def _of_part(
    part: Part, columns: Collection[str] | None, files: Collection[str] | None = None
) -> Iterator[tuple[Schema, dict[str, list[Cell]]]]:
    """The batches of a part; none if retention has removed it, or if it is no part of a payload log."""
    try:
        schema = part.schema
        if schema is None or (files is not None and schema.sha256 not in files):
            return
        chosen = _chosen(schema, columns)
        for cells in parts.reader(part.path).batches(part.path, schema, chosen, parts.most_rows(schema)):
            yield schema, cells
    except FileNotFoundError:
        return
    except (OSError, EOFError, ValueError, KeyError, zlib.error) as error:
        # Those of pyarrow and msgspec are OSErrors and ValueErrors.
        raise ServingError(f"{part.path} cannot be read: {error}. Remove it to go on without it") from error


def _chosen(schema: Schema, columns: Collection[str] | None) -> list[Column]:
    return [
        column
        for column in schema.columns
        if columns is None or column.part != "feature" or column.name in columns
    ]


def _arrays(schema: Schema, cells: dict[str, list[Cell]]) -> dict[str, Array]:
    kinds = {column.name: column.type for column in schema.columns}
    return {name: _array(column, kinds[name]) for name, column in cells.items()}


def _array(cells: Sequence[Any], kind: str) -> Array:
    if kind == "text":
        array = np.empty(len(cells), object)
        array[:] = cells
        return array
    if kind in ("int64", "timestamp") and None not in cells:
        return np.array(cells, np.int64)
    return np.array(cells, np.float64)


def _overlaps(part: Part, since: float | None, until: float | None) -> bool:
    first = _start(part)
    return (since is None or since < first + 86_400) and (until is None or first < until)


def _start(part: Part) -> float:
    """The start of its day, in seconds since 1970."""
    return datetime(part.day.year, part.day.month, part.day.day, tzinfo=UTC).timestamp()


def _between(batch: Batch, since: float | None, until: float | None) -> Iterator[Batch]:
    """The batch with the rows of that time; nothing if there are none."""
    moments = batch.column("time")
    kept = np.ones(len(moments), bool)
    if since is not None:
        kept &= moments >= since * _MILLION
    if until is not None:
        kept &= moments < until * _MILLION
    if kept.all() and len(kept):
        yield batch
    elif kept.any():
        yield Batch(batch.schema, {name: column[kept] for name, column in batch.columns.items()})
