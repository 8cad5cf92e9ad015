"""The tensors of a graph, and the arrays they are built from: rows, columns, blocks of numbers."""

import struct
from collections.abc import Sequence
from typing import Any, Literal, overload

import numpy as np
import numpy.typing as npt

from unpickled.server.artifact.manifest import MISSING_CATEGORY

Value = float | str | None
Row = Sequence[Value]
Feeds = dict[str, npt.NDArray[Any]]
# The values of one feature, one per row.
Column = npt.NDArray[Any] | list[Any]

DTYPES = {"float32": np.float32, "float64": np.float64, "int64": np.int64, "string": np.object_}
# Dtype -> its format in the struct module.
PACKING = {"float32": "f", "float64": "d"}


class Table(list[Row]):
    """Rows, and the names of the columns that came with them and were not read."""

    ignored: Sequence[str] = ()


class Inside(list[Row]):
    """Rows of which all values are known to lie inside the training range."""

    __slots__ = ()


class Rows(Sequence[Row]):
    """Rows over columns, one array or list per feature; a row is built when somebody reads it.

    ``ignored`` are the names of the columns that came with them and were not read.
    """

    def __init__(self, columns: Sequence[Column] | npt.NDArray[Any], ignored: Sequence[str] = ()) -> None:
        self._columns = columns
        self.ignored = ignored

    def __len__(self) -> int:
        return len(self._columns[0])

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        """One row, or those of a slice, as tuples of Python values in feature order."""
        if isinstance(index, slice):
            rows: list[Row] = list(zip(*(values_of(column[index]) for column in self._columns), strict=True))
            return rows
        place = range(len(self))[index]
        return self[place : place + 1][0]


class Matrix(Rows):
    """Rows over numbers (rows, features) in feature order; NaN stands for a missing one."""

    def __init__(self, values: npt.NDArray[np.float64]) -> None:
        super().__init__(values.T)
        self.values = values


def values_of(column: Column) -> list[Value]:
    """The values of a feature as Python objects: float, str and None."""
    if isinstance(column, np.ndarray) and column.dtype != np.object_:
        column = column.astype(np.float64)
    values = column.tolist() if isinstance(column, np.ndarray) else column
    # A missing number is NaN, the only value that differs from itself.
    return [None if value != value else value for value in values]


def numbers(rows: Sequence[Row], width: int, dtype: Literal["float32", "float64"]) -> npt.NDArray[Any]:
    """Rows of numbers (rows, width); None becomes NaN."""
    pack = struct.Struct(f"{width}{PACKING[dtype]}").pack
    try:
        # Takes a third of the time of np.array on the same tuples.
        packed = b"".join([pack(*row) for row in rows])
    except struct.error:
        return np.array(rows, dtype=DTYPES[dtype])  # None becomes NaN
    return np.frombuffer(packed, DTYPES[dtype]).reshape(len(rows), width)


def texts(rows: Sequence[Row]) -> npt.NDArray[np.object_]:
    """Rows of categories (rows, width); None becomes the text that stands for a missing category."""
    filled = [[MISSING_CATEGORY if value is None else value for value in row] for row in rows]
    return np.array(filled, dtype=np.object_)


def block(values: npt.NDArray[Any], dtype: Literal["float32", "float64"]) -> npt.NDArray[Any]:
    """Numbers (rows, width) of any dtype, in memory that the graph can read; copied only if necessary."""
    if values.dtype.kind not in "f":
        # Through doubles, as the numbers in JSON.
        values = values.astype(np.float64)
    # ONNX Runtime reads the memory as it is: an array at an odd address is copied.
    flags = values.flags
    fits = values.dtype == DTYPES[dtype] and flags.aligned and flags.c_contiguous
    return values if fits else values.astype(DTYPES[dtype], order="C")
