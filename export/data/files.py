"""The user's own tables: CSV and its relatives, Parquet, and payload logs."""

from pathlib import Path

import pyarrow
import pyarrow.parquet

from unpickled.export.data import delimited, logged
from unpickled.export.data.source import Source, nameable
from unpickled.export.errors import DataError, reason
from unpickled.server.payloads import parts

_PARQUET = (".parquet", ".pq")


def load(path: str | Path) -> Source:
    """The table in a file, or in the files of a payload log, with named columns and at least one row.

    Raises DataError.
    """
    path = Path(path)
    check_file(path)
    name = path.name.lower().removesuffix(".gz")
    if (source := _logged(path)) is not None:
        pass
    elif name.endswith(delimited.SUFFIXES):
        source = delimited.read(path)
    elif path.name.lower().endswith(_PARQUET):
        source = _parquet(path)
    else:
        raise DataError(
            f"{path} is neither .csv nor .parquet: save the table as one of these "
            f"({', '.join((*delimited.SUFFIXES[1:], '.csv.gz'))} are taken too)."
        )
    if not len(source):
        raise DataError(f"{path} has no rows.")
    return source


def check_file(path: Path) -> None:
    """Raise DataError if there is no such file, and no payload log."""
    if logged.paths(path):
        return
    if path.is_dir():
        raise DataError(f"{path} is a directory without files of a payload log: name a file.")
    if not path.is_file():
        raise DataError(f"There is no file {path}.")


def _logged(path: Path) -> Source | None:
    """The rows of a payload log; None for a table of another origin."""
    if files := logged.paths(path):
        source = logged.source(path, files)
        if source is None:
            raise DataError(f"{path} names tables that are of no payload log: name one file.")
        return source
    return logged.source(path, [path]) if path.name.endswith(parts.ENDINGS) else None


def _parquet(path: Path) -> Source:
    try:
        table = pyarrow.parquet.read_table(path, partitioning=None)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {reason(error)}.") from error
    names = nameable(list(table.column_names), path)
    nameless = {name for name, given in zip(names, table.column_names, strict=True) if not given.strip()}
    try:
        frame = table.rename_columns(names).to_pandas()
    except (pyarrow.ArrowException, ValueError) as error:
        raise DataError(f"{path} cannot be read as a table: {reason(error)}.") from error
    # pandas stores an index other than a plain range as columns, which hold data.
    frame = frame.reset_index() if frame.index.name or frame.index.nlevels > 1 else frame
    columns = {str(name): frame[name] for name in frame}
    return Source(path, columns, frozenset(nameless))
