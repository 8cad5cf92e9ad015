"""The rows of a payload log as a table: the features that a served model was asked about, in their own types.

Our own columns, labels and scores among them, are no features, but may be the target. Rows that a shadow
answered are left out: the client's answer to the same rows is there too.
"""

import glob
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from unpickled.export.data.columns import Kind
from unpickled.export.data.source import Source
from unpickled.export.errors import DataError, reason
from unpickled.server.errors import ServingError
from unpickled.server.payloads import parts, reading
from unpickled.server.payloads.schema import Column, Schema
from unpickled.server.quote import counted, listed, quoted

_DAY, _EPOCH = 86_400, date(1970, 1, 1)
_KINDS: dict[str, Kind] = {
    "double": "number",
    "int64": "number",
    "bool": "boolean",
    "text": "category",
    "date": "date",
    "datetime": "date",
    "instant": "date",
}


@dataclass(frozen=True, slots=True)
class _Logged:
    """A file of a payload log."""

    path: Path
    schema: Schema

    @property
    def features(self) -> dict[str, str]:
        """The type of each feature that it has."""
        return {column.name: column.type for column in self.schema.features}


def paths(path: Path) -> list[Path]:
    """The files that a folder of a payload log has, or those that a pattern such as log/iris/*/* names.

    None where the path is that of a file, or of a folder without such files.
    """
    if path.is_dir():
        # The folder of a whole log, of a model, or of a day.
        found = (file for level in ("*/date=*/*", "date=*/*", "*") for file in path.glob(level))
        return sorted(file for file in found if _is_part(file))
    if not path.exists() and glob.has_magic(str(path)):
        return sorted(map(Path, glob.glob(str(path), recursive=True)))
    return []


def source(path: Path, files: Sequence[Path]) -> Source | None:
    """The table in files of a payload log; None where a file is a table of another origin.

    Raises DataError.
    """
    logged = [_Logged(file, schema) for file in files if (schema := _schema(file)) is not None]
    if len(logged) < len(files) or not files:
        return None
    models = sorted({each.schema.model for each in logged})
    if len(models) > 1:
        raise DataError(
            f"{path} holds the rows of {counted(len(models), 'model')}: name one of them, such as "
            f"{path / models[0]}."
        )
    newest = max(logged, key=lambda each: (each.schema.version, each.path))
    kept = [each for each in logged if each.features == newest.features]
    columns = _columns(newest.schema, kept)
    versions = _versions(kept)
    count = len(next(iter(columns.values()), ()))
    notes = [
        f"{counted(count, 'row')} of a payload log, to which {models[0]} version {listed(versions)} answered."
    ]
    if len(kept) < len(logged):
        notes.append(_left_out(newest, [each for each in logged if each not in kept]))
    clear = [column for column in newest.schema.features if not column.hashed]
    return Source(
        path,
        columns,
        notes=tuple(notes),
        kinds={column.name: _KINDS[column.type] for column in newest.schema.features},
        notations={column.name: column.notation for column in clear},
        missing_words={column.name: column.missing_words for column in clear},
        asides=frozenset(columns).difference(newest.features),
    )


def _is_part(file: Path) -> bool:
    return (
        parts.day_of(file.parent.name) is not None
        and file.parent.parent.name != "truth"
        and not file.name.startswith(".")
        and file.name.endswith(parts.ENDINGS)
    )


def _schema(path: Path) -> Schema | None:
    try:
        schema: Schema | None = parts.reader(path).schema_in(path)
        return schema
    except (OSError, EOFError, ValueError) as error:
        form = "Parquet" if path.name.endswith(".parquet") else "JSON Lines"
        raise DataError(f"{path} cannot be read as {form}: {reason(error)}.") from error


def _columns(schema: Schema, logged: Iterable[_Logged]) -> dict[str, pd.Series]:
    """The columns of the newest schema: features, and what may be a target."""
    logged = list(logged)
    batches = [batch for each in logged for batch in _answered(each.path)]
    return {
        column.name: _series(column, [batch.columns[column.name] for batch in batches])
        for column in schema.columns
        if all(_same(column, each.schema) for each in logged)
    }


def _same(column: Column, schema: Schema) -> bool:
    return any((each.name, each.type) == (column.name, column.type) for each in schema.columns)


def _answered(path: Path) -> Iterator[reading.Batch]:
    """The rows of a file to which the client got the answer."""
    try:
        for batch in reading.of_file(path):
            kept = batch.answered
            yield reading.Batch(batch.schema, {name: cells[kept] for name, cells in batch.columns.items()})
    except ServingError as error:
        raise DataError(f"{error}.") from error


def _series(column: Column, arrays: Sequence[npt.NDArray[Any]]) -> pd.Series:
    """The cells in the type that a table has them in."""
    cells: npt.NDArray[Any] = np.concatenate(arrays) if arrays else np.empty(0, np.float64)
    kind = column.type
    if kind == "text":
        return pd.Series(cells, dtype=object, name=column.name)
    missing = np.isnan(cells.astype(np.float64))
    if kind == "bool" and np.isin(cells[~missing], (0.0, 1.0)).all():
        truth = np.where(missing, None, cells == 1.0)
        return pd.Series(truth, dtype=object, name=column.name)
    if kind == "date" and (cells[~missing] % _DAY == 0).all():
        days = [None if gap else _day(cell) for cell, gap in zip(cells, missing, strict=True)]
        return pd.Series(days, dtype=object, name=column.name)
    if kind in ("date", "datetime", "instant", "timestamp"):
        return _moments(cells, missing, kind).rename(column.name)
    return pd.Series(cells, name=column.name)


def _day(seconds: float) -> date:
    return _EPOCH + timedelta(days=int(seconds // _DAY))


def _moments(cells: npt.NDArray[Any], missing: npt.NDArray[np.bool_], kind: str) -> pd.Series:
    whole = np.where(missing, 0, cells).astype(np.int64)
    moments = whole.view("datetime64[us]" if kind == "timestamp" else "datetime64[s]").copy()
    moments[missing] = np.datetime64("NaT")
    series = pd.Series(moments)
    return series.dt.tz_localize("UTC") if kind in ("instant", "timestamp") else series


def _versions(logged: Iterable[_Logged]) -> list[str]:
    return [str(number) for number in sorted({each.schema.version for each in logged})]


def _left_out(newest: _Logged, others: Sequence[_Logged]) -> str:
    names = {name for each in others for name, _ in each.features.items() ^ newest.features.items()}
    return (
        f"Rows of version {listed(_versions(others))} left out, as other columns are logged of them: "
        f"{listed(sorted(names), 5, quoted)} {'differs' if len(names) == 1 else 'differ'}."
    )
