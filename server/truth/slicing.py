"""Parts rows by the value of one feature: a category, true and false, or one of some ranges of numbers."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from unpickled.server.artifact.manifest import Notation
from unpickled.server.artifact.reference import Reference
from unpickled.server.model import dates
from unpickled.server.payloads.schema import Column

MISSING, OTHERS = "missing", "all others"
# The most slices; categories beyond them are one. The ranges of numbers without a reference.
MOST, _RANGES = 30, 4
_Array = npt.NDArray[Any]


class Slicing:
    """Parts rows by one column of the payload log.

    Args:
        column: The column.
        reference: How the training rows spread over the features; its ranges are taken if it has any.
        sample: Values of the column, whose quartiles part numbers otherwise.
    """

    def __init__(self, column: Column, reference: Reference | None, sample: Iterable[_Array]) -> None:
        self._column = column
        self._is_text = column.type == "text"
        self._order: dict[str, int] = {}
        if not self._is_text and column.type != "bool":
            bounds = _trained(column.source, reference) or _quartiles(sample)
            self._bounds = np.array(bounds, np.float64)
            self._labels = self._ranges(bounds)
            self._order = {label: place for place, label in enumerate(self._labels)}

    def labels(self, values: _Array) -> _Array:
        """The name of the slice of each value (rows,), as dtype object."""
        if self._is_text:
            return np.array([MISSING if value is None else value for value in values], object)
        missing = np.isnan(values.astype(np.float64))
        if self._column.type == "bool":
            names = np.where(values.astype(np.float64) >= 0.5, "true", "false").astype(object)
        else:
            places = np.searchsorted(self._bounds, values.astype(np.float64), side="left")
            names = np.array(self._labels, object)[np.minimum(places, len(self._labels) - 1)]
        names[missing] = MISSING
        return names

    def ordered(self, rows: dict[str, float]) -> list[str]:
        """The names of slices with so many rows, in the order of the ranges, else the largest first."""
        return sorted(rows, key=lambda name: (self._order.get(name, len(self._order)), -rows[name], name))

    def _ranges(self, bounds: Sequence[float]) -> list[str]:
        if not bounds:
            return ["any"]
        texts = [self._figure(bound) for bound in bounds]
        between = [f"above {low} to {high}" for low, high in pairwise(texts)]
        return [f"up to {texts[0]}", *between, f"above {texts[-1]}"]

    def _figure(self, number: float) -> str:
        """An end of a range; of a date, its day."""
        if self._column.kind in ("date", "datetime", "instant") and dates.FIRST <= number <= dates.LAST:
            return dates.written(number, self._column.notation or Notation(date="year first")).partition("T")[
                0
            ]
        return f"{number:.6g}"


def _trained(name: str, reference: Reference | None) -> Sequence[float]:
    spreads = reference.features if reference is not None else ()
    return next((spread.bounds for spread in spreads if spread.name == name), ())


def _quartiles(sample: Iterable[_Array]) -> Sequence[float]:
    values = np.concatenate([np.zeros(0), *(part.astype(np.float64) for part in sample)])
    values = values[np.isfinite(values)]
    if not len(values):
        return ()
    ends = np.quantile(values, [place / _RANGES for place in range(1, _RANGES)], method="lower")
    return tuple(dict.fromkeys(bound for bound in ends.tolist() if bound < values.max()))
