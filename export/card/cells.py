"""Numbers in cells of about equally many rows, none of fewer than FEWEST."""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from unpickled.export import reference
from unpickled.export.card.intervals import Floats


class Cell(NamedTuple):
    """The rows whose numbers lie in [lowest, highest], by their places."""

    lowest: float
    highest: float
    rows: npt.NDArray[np.intp]


def parted(numbers: Floats) -> Iterator[Cell]:
    """The cells of finite numbers (rows,), from the lowest to the highest; none of too few rows.

    The outermost ends are rounded outwards, so that they are no row's own number.
    """
    spread = reference.of_numbers("", numbers)
    if spread is None:
        return
    ends = [*_outwards(float(numbers.min()), float(numbers.max()))]
    ends[1:1] = spread.bounds
    places = np.searchsorted(spread.bounds, numbers)
    for place, (lowest, highest) in enumerate(pairwise(ends)):
        yield Cell(lowest, highest, np.flatnonzero(places == place))


def _outwards(lowest: float, highest: float) -> tuple[float, float]:
    """Both ends, rounded to a tenth of their distance or less; as they are where they have no such digits."""
    tenth = (highest - lowest) / 10
    if not tenth > np.spacing(max(-lowest, highest)):
        return lowest, highest
    unit = 10.0 ** np.floor(np.log10(tenth))
    low, high = np.floor(lowest / unit) * unit, np.ceil(highest / unit) * unit
    # Without the digits that the product has beyond those of its factors.
    return min(float(f"{low:.12g}"), lowest), max(float(f"{high:.12g}"), highest)
