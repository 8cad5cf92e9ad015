"""A table as its file has it, before it is decided what its columns are."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from unpickled.export.data.texts import Texts
from unpickled.export.errors import DataError


@dataclass(frozen=True, slots=True)
class Source:
    """The columns of a file, in order.

    A column is Texts where the file has text only (CSV), else a Series of the file's own type. ``nameless``
    are the columns whose name in the file is empty. ``comma`` says whether numbers may well have a decimal
    comma, as cells are parted by something else. ``notes`` are sentences about how the file was read.
    """

    path: Path
    columns: dict[str, Texts | pd.Series]
    nameless: frozenset[str] = frozenset()
    comma: bool = False
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))


def nameable(names: Sequence[str], path: Path) -> list[str]:
    """The names of a file's columns, with pandas' name for each that is empty. Raises DataError."""
    refuse_duplicates([name for name in names if name.strip()], path)
    return [name if name.strip() else f"Unnamed: {place}" for place, name in enumerate(names)]


def refuse_duplicates(names: Sequence[str], path: Path) -> None:
    """Raise DataError if two columns have the same name."""
    duplicates = [name for name, count in Counter(names).items() if count > 1]
    if duplicates:
        raise DataError(f"{path} has more than one column named {duplicates[0]!r}: rename or remove one.")
