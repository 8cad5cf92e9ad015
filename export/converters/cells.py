"""Columns of text and of numbers side by side, and what the cells of both mean to a graph."""

import math

from unpickled.export.data.missing import is_missing
from unpickled.export.errors import NoGraph
from unpickled.export.graph import Columns
from unpickled.server.artifact.manifest import MISSING_CATEGORY


def blocks(columns: Columns) -> dict[bool, list[int]]:
    """Positions of the number columns (False) and of the text columns (True)."""
    positions: dict[bool, list[int]] = {}
    for position, column in enumerate(columns):
        positions.setdefault(column.dtype == "string", []).append(position)
    return positions


def text_of(value: object) -> str:
    """The text that stands for a cell of a text column."""
    if is_missing(value):
        return MISSING_CATEGORY
    if not isinstance(value, str):
        raise NoGraph(f"it meets {value!r} in a text column", "give the column text only")
    if value == MISSING_CATEGORY:
        raise NoGraph(
            "it meets the text U+FDD0, which stands for a missing text in every graph",
            "write another text in its place, in the training rows too, and fit it again",
        )
    return value


def number_of(value: object) -> float:
    """The number that stands for a cell of a number column, NaN for a missing one."""
    if is_missing(value):
        return math.nan
    if isinstance(value, str):
        raise NoGraph(f"it meets the text {value!r} in a number column", "give the column numbers only")
    return float(value)  # type: ignore[arg-type]
