"""Figures with the intervals that hold their true values in 95 of 100 cases."""

import math

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.stats import t

from unpickled.server.accuracy import intervals
from unpickled.server.accuracy.intervals import SURE
from unpickled.server.artifact.card import Measured

Floats = npt.NDArray[np.float64]

# A probability of 95% lies below this quantile and above its counterpart.
_UPPER = 0.975
# A manifest has so many digits of a figure.
_DIGITS = 6


def short(number: float) -> float:
    """The number with six digits; 0 has no sign."""
    return float(f"{number:.{_DIGITS}g}") + 0.0


def measured(value: float, lowest: float | None, highest: float | None) -> Measured:
    """A figure with six digits; an end that is no number is None."""
    ends = [None if end is None or not math.isfinite(end) else short(end) for end in (lowest, highest)]
    return Measured(value=short(value), lowest=ends[0], highest=ends[1])


def mean(numbers: Floats, least: float = -math.inf) -> Measured:
    """The mean of numbers (rows,), of which none can be below ``least``, by Student's t.

    Example:
        >>> mean(np.array([1.0, 2.0, 3.0]))
        Measured(value=2.0, lowest=-0.484138, highest=4.48414)
    """
    value = float(numbers.mean())
    reach = _reach(numbers)
    return measured(value, max(value - reach, least), value + reach)


def share(happened: float, rows: int) -> Measured:
    """The share of rows in which something happened, by Wilson.

    Example:
        >>> share(9, 10)
        Measured(value=0.9, lowest=0.59585, highest=0.982124)
    """
    found = intervals.share(happened, rows)
    assert found is not None  # there are rows
    return measured(*found)


def root_mean_square(errors: Floats) -> Measured:
    """The root of the mean of squares: the interval is that of its logarithm."""
    squares = errors**2
    size = float(squares.mean())
    if not size:
        return measured(0.0, None, None)
    factor = math.exp(min(_reach(squares / size) / 2, 700.0))
    return measured(math.sqrt(size), math.sqrt(size) / factor, math.sqrt(size) * factor)


def determination(truth: Floats, predicted: Floats) -> Measured | None:
    """R2: 1 less the share of the variance that is left; None where all true numbers are equal, or nearly.

    The interval is that of the logarithm of this share, by how much each row moves it.
    """
    left, whole = (predicted - truth) ** 2, (truth - truth.mean()) ** 2
    if (truth == truth[0]).all() or not whole.mean():
        return None
    share_left = float(left.mean() / whole.mean())
    if not share_left:
        return measured(1.0, None, None)
    if not math.isfinite(share_left):
        return None
    factor = math.exp(min(_reach(left / left.mean() - whole / whole.mean()), 700.0))
    return measured(1 - share_left, 1 - share_left * factor, 1 - share_left / factor)


def area(value: float, inside: int, outside: int) -> Measured:
    """The area under a ROC curve of so many rows in a class and outside it.

    The interval holds each area from which the measured one is not too far, by Hanley and McNeil's variance
    (Newcombe 2006, method 5): it has a width even where the measured area is 1.
    """
    lowest = _lowest_area(value, inside, outside)
    return measured(value, lowest, 1 - _lowest_area(1 - value, inside, outside))


def _lowest_area(value: float, inside: int, outside: int) -> float:
    beside = (inside + outside) / 2 - 1

    def distance(area: float) -> float:
        pairs = 1 + beside * (1 - area) / (2 - area) + beside * area / (1 + area)
        return value - area - SURE * math.sqrt(area * (1 - area) * pairs / (inside * outside))

    # At an area of 1 there is no variance, and no distance from a measured 1.
    below = value * (1 - 1e-9)
    return float(brentq(distance, 0.0, below)) if value > 0 and distance(below) < 0 else value


def _reach(numbers: Floats) -> float:
    """How far the ends of the interval of a mean are from it."""
    rows = len(numbers)
    return float(t.ppf(_UPPER, rows - 1) * numbers.std(ddof=1) / math.sqrt(rows))
