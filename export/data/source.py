"""A table as its file has it, before it is decided what its columns are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from unpickled.export.data.columns import Kind
from unpickled.export.data.texts import Texts
from unpickled.export.errors import DataError
from unpickled.server.artifact.manifest import Notation, repeated


@dataclass(frozen=True, slots=True)
class Source:
    """The columns of a file, in order.

    A column is Texts where the file has text only (CSV), else a Series of the file's own type. ``nameless``
    are the columns whose name in the file is empty. ``comma`` says whether numbers may well have a decimal
    comma, as cells are parted by something else. ``notes`` are sentences about how the file was read.
    ``kinds`` are those of columns of which the file says it, and ``asides`` the columns that are no features,
    but may be the target. ``notations`` and ``missing_words`` are those of a column whose texts were read
    before they came into the file.
    """

    path: Path
    columns: dict[str, Texts | pd.Series]
    nameless: frozenset[str] = frozenset()
    comma: bool = False
    notes: tuple[str, ...] = ()
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    notations: Mapping[str, Notation | None] = field(default_factory=dict)
    missing_words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    asides: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))


def nameable(names: Sequence[str], path: Path) -> list[str]:
    """The names of a file's columns, with pandas' name for each that is empty. Raises DataError."""
    duplicate = repeated(name for name in names if name.strip())
    if duplicate is not None:
        raise DataError(f"{path} has more than one column named {duplicate!r}: rename or remove one.")
    return [name if name.strip() else f"Unnamed: {place}" for place, name in enumerate(names)]
