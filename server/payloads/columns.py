"""Columns of cells, as a batch of many rows gives them to a part: a cell object for each would take long."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from unpickled.server.payloads.schema import Cell


class Same(NamedTuple):
    """A column with the same cell in each row."""

    cell: Cell


class Numbered(NamedTuple):
    """A column of texts that end with a number: the prefix, and the numbers (rows,), int64."""

    prefix: str
    numbers: npt.NDArray[np.int64]


# Cells (rows,): doubles with NaN for a missing one, or whole numbers, as an array; any others as a list.
Column = Sequence[Cell] | npt.NDArray[Any] | Same | Numbered


def cells(column: Column, rows: int) -> Sequence[Cell]:
    """The cells of a column one by one."""
    if isinstance(column, Same):
        return [column.cell] * rows
    if isinstance(column, Numbered):
        return [f"{column.prefix}{number}" for number in column.numbers.tolist()]
    if isinstance(column, np.ndarray):
        listed: list[Cell] = column.tolist()
        # NaN stands for a missing number, and is the only one that differs from itself.
        return [None if cell != cell else cell for cell in listed]
    return column
