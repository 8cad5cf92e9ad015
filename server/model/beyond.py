"""The search for values of tensors that lie outside the ranges of their columns."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from unpickled.server.artifact.manifest import MISSING_CATEGORY, Input
from unpickled.server.model.feeds import DTYPES
from unpickled.server.model.range import Range

# The places of values in a tensor: row * columns + column.
Places = npt.NDArray[np.intp]
Array = npt.NDArray[Any]
Pace = Callable[[], None]

# About as many numbers are compared at a time, and so many between two pauses; and rows of texts.
_NUMBERS, _STRETCH, _ROWS = 4096, 16_384, 4096
_NOWHERE: Places = np.array([], np.intp)


class Numbers:
    """A tensor of numbers (rows, columns), with the range of each column that has one."""

    def __init__(self, tensor: Input, ranges: Sequence[Range | None]) -> None:
        self.name = tensor.name
        self.ranges = ranges
        # An int64 is compared as a double: it has no more digits (model/rule.py).
        dtype = np.float32 if tensor.dtype == "float32" else np.float64
        ends = [(-np.inf, np.inf) if each is None else _ends(each, dtype) for each in ranges]
        low, high = np.array(ends, dtype).T
        # Many rows are compared at once as one long row: short ones take ten times as long.
        copies = max(1, _NUMBERS // len(ranges))
        self._low, self._high = np.tile(low, copies), np.tile(high, copies)

    def find(self, values: Array, pace: Pace) -> Places:
        """The places of numbers outside, in ascending order; NaN is a missing one."""
        flat = values.reshape(-1)
        if flat.size <= self._low.size:
            return self._found(flat, flat.size)
        parts = [(start, self._found(part, width)) for start, part, width in self._parts(flat, pace)]
        found = [start + places for start, places in parts if places.size]
        return np.concatenate(found) if found else _NOWHERE

    def clipped(self, values: Array, places: Places) -> Array:
        """A copy of the values, in which those at these places that are to be clipped lie at the border."""
        copy = values.copy()
        columns = places % len(self.ranges)
        for column in np.unique(columns).tolist():
            each = self.ranges[column]
            if each is not None and each.action == "clip":
                rows = places[columns == column] // len(self.ranges)
                below = copy[rows, column] < each.low
                copy[rows, column] = np.where(below, each.least, each.most)
        return copy

    def _parts(self, flat: Array, pace: Pace) -> Iterator[tuple[int, Array, int]]:
        """Parts of the values with the place of each, as rows of one width."""
        width = self._low.size
        stretch = max(1, _STRETCH // width) * width
        for start in range(0, flat.size, stretch):
            pace()
            part = flat[start : start + stretch]
            whole = part.size - part.size % width
            if whole:
                yield start, part[:whole].reshape(-1, width), width
            if whole < part.size:
                yield start + whole, part[whole:], part.size - whole

    def _found(self, values: Array, width: int) -> Places:
        """The places of those outside of some values, which stand in rows of this width."""
        beyond = values < self._low[:width]
        beyond |= values > self._high[:width]
        # Half the time of np.flatnonzero, which is the same in Python.
        return beyond.ravel().nonzero()[0]


class Texts:
    """A tensor of texts (rows, columns), with the range of each column that has one."""

    def __init__(self, tensor: Input, ranges: Sequence[Range | None]) -> None:
        self.name = tensor.name
        self.ranges = ranges
        self._known = [
            (column, each.known | {MISSING_CATEGORY})
            for column, each in enumerate(ranges)
            if each is not None and each.known is not None
        ]

    def find(self, values: Array, pace: Pace) -> Places:
        """The places of texts that training did not have, in ascending order."""
        found = [
            row * len(self.ranges) + column
            for start in range(0, len(values), _ROWS)
            for column, known in self._known
            for row in self._rows(values[start : start + _ROWS, column], known, start, pace)
        ]
        return np.array(sorted(found), np.intp)

    def clipped(self, values: Array, _: Places) -> Array:
        """The values: no text is nearest to another."""
        return values

    @staticmethod
    def _rows(column: Array, known: frozenset[str], start: int, pace: Pace) -> Sequence[int]:
        texts = column.tolist()
        if known.issuperset(texts):
            return ()
        pace()
        return [row for row, text in enumerate(texts, start) if text not in known]


Tensor = Numbers | Texts


def tensor_of(tensor: Input, ranges: Sequence[Range | None]) -> Tensor:
    """The search in one tensor; ``ranges`` has that of each column, None for one without."""
    return Texts(tensor, ranges) if DTYPES[tensor.dtype] is np.object_ else Numbers(tensor, ranges)


def _ends(each: Range, dtype: Any) -> tuple[float, float]:
    """The outermost numbers that count as inside: in float32, all that round to the ends are the ends."""
    return (each.least, each.most) if dtype is np.float32 else (each.low, each.high)
