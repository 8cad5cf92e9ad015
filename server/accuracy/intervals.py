"""Intervals that hold the true share or mean in 95 of 100 cases, and tests of what chance explains."""

import math
from typing import NamedTuple

import numpy as np

from unpickled.server.accuracy.layout import Floats
from unpickled.server.drift.chance import drawn_at_least, student_tail

# The quantile of the normal distribution for 95% on both sides together.
SURE = 1.959963984540054
# The chance that a window is an alarm where nothing has changed: all of its tests share it. A classifier has
# two, of its accuracy and of its calibration; a regressor one for each target.
LEVEL, CLASSIFIER = 0.001, 2
# The cells of a convolution. A binomial is cut where it is _FURTHEST deviations and _RARE rows away, and is
# normal if its deviation is above _NORMAL.
_CELLS, _FURTHEST, _RARE, _NORMAL = 2048, 6.0, 20.0, 1000.0


class Sample(NamedTuple):
    """The mean and the standard deviation of some rows, at least two."""

    mean: float
    deviation: float
    rows: int


class Interval(NamedTuple):
    """A measured value and the ends of its interval, which are None where one row tells nothing of them."""

    value: float
    lowest: float | None
    highest: float | None


def share(happened: float, rows: float) -> Interval | None:
    """The share of rows in which something happened, by Wilson; None without rows.

    Example:
        >>> tuple(round(end, 3) for end in share(9, 10))
        (0.9, 0.596, 0.982)
    """
    if rows <= 0:
        return None
    value, square = happened / rows, SURE**2
    middle = (value + square / (2 * rows)) / (1 + square / rows)
    reach = SURE * math.sqrt(value * (1 - value) / rows + square / (4 * rows**2)) / (1 + square / rows)
    return Interval(value, max(0.0, min(middle - reach, value)), min(1.0, max(middle + reach, value)))


def mean(total: float, squares: float, rows: float) -> Interval | None:
    """The mean of ``rows`` numbers from their sum and the sum of their squares; None without rows.

    Example:
        >>> tuple(round(end, 3) for end in mean(6.0, 14.0, 3))
        (2.0, 0.868, 3.132)
    """
    if rows <= 0:
        return None
    value = total / rows
    if rows < 2:
        return Interval(value, None, None)
    reach = SURE * deviation(total, squares, rows) / math.sqrt(rows)
    return Interval(value, value - reach, value + reach)


def root_mean(squares: float, fourths: float, rows: float) -> Interval | None:
    """The root of the mean of squares, from their sum and the sum of the squares of these."""
    inside = mean(squares, fourths, rows)
    if inside is None:
        return None
    ends = (None if end is None else math.sqrt(max(end, 0.0)) for end in inside[1:])
    return Interval(math.sqrt(inside.value), *ends)


def deviation(total: float, squares: float, rows: float) -> float:
    """The standard deviation of at least two numbers, from their sum and the sum of their squares."""
    return math.sqrt(max(squares - total**2 / rows, 0.0) / (rows - 1))


def fewer(right: int, rows: int, expected: int, trained: int, level: float) -> bool:
    """Whether ``right`` of ``rows`` is a smaller share than ``expected`` of ``trained``, beyond chance.

    By Fisher: were both samples of one population, the wrong ones would be spread over them as if drawn.
    That is exact for any share and any number of rows, where a normal test fails near 100%.

    Args:
        level: The chance that two samples of one population have at most.
    """
    wrong = rows - right
    return drawn_at_least(wrong, rows, wrong + trained - expected, rows + trained) < level


def larger(now: Sample, trained: Sample, level: float) -> bool:
    """Whether the mean ``now`` is larger than ``trained``, beyond chance.

    By Student's t, with the larger of both deviations for both samples: errors have long tails, and a small
    sample without one of the large errors has too small a mean and too small a deviation at once.
    """
    wider = max(now, trained, key=lambda each: each.deviation)
    difference = now.mean - trained.mean
    reach = wider.deviation * math.sqrt(1 / now.rows + 1 / trained.rows)
    if difference <= 0 or not reach:
        return difference > 0
    return student_tail(difference / reach, wider.rows - 1) < level


def calibration_by_chance(rows_and_variances: list[tuple[float, float]]) -> float:
    """The calibration error that right probabilities exceed with the chance LEVEL / CLASSIFIER, at most.

    The rows of a bin that come true are binomial, with its mean probability: as its rows differ in theirs,
    they are spread less, if anything. The distances of all bins are convolved, each rounded up to a
    two-thousandth part of what they can reach together: one or two hundredths more than the exact error.

    Args:
        rows_and_variances: The rows of each bin, and the sum of p(1 - p) over them.
    """
    rows = sum(count for count, _ in rows_and_variances)
    bins = [_distances(*each) for each in rows_and_variances if each[1] > 0]
    furthest = sum(float(distances.max()) for distances, _ in bins)
    if not furthest:
        return 0.0
    # Rounded up, and added up, they stay below the size: the convolution on a circle has no overlap.
    cell = furthest / (_CELLS - len(bins) - 1)
    placed = [
        np.bincount(np.ceil(distances / cell).astype(np.intp), chances, _CELLS) for distances, chances in bins
    ]
    together = np.fft.irfft(np.fft.rfft(placed).prod(axis=0), _CELLS)
    beyond = np.cumsum(together[::-1])[::-1] > LEVEL / CLASSIFIER
    # Half a cell more, so that an error of just that many rows is not above it by rounding.
    return float((np.flatnonzero(beyond)[-1] + 0.5) * cell / rows)


def _distances(rows: float, variance: float) -> tuple[Floats, Floats]:
    """How far the rows of a bin that come true can lie from those to be expected, and the chances of that.

    Args:
        rows: The rows of the bin.
        variance: The sum of p(1 - p) over them. Whether p or 1 - p is meant does not matter for distances.
    """
    spread = math.sqrt(variance)
    if spread > _NORMAL:
        steps = np.linspace(-_FURTHEST, _FURTHEST, _CELLS)
        return np.abs(steps) * spread, _shares(-(steps**2) / 2)
    variation = min(variance / rows, 0.25)
    p = 2 * variation / (1 + math.sqrt(1 - 4 * variation))
    expected, reach = rows * p, _FURTHEST * spread + _RARE
    hits = np.arange(max(0.0, math.floor(expected - reach)), min(rows, math.ceil(expected + reach)) + 1)
    # The logarithms of the binomial chances, but for a summand that all of them share.
    steps = np.log((rows - hits[:-1]) / (hits[:-1] + 1) * (p / (1 - p)))
    return np.abs(hits - expected), _shares(np.concatenate(([0.0], np.cumsum(steps))))


def _shares(logarithms: Floats) -> Floats:
    weights: Floats = np.exp(logarithms - logarithms.max())
    weights /= weights.sum()
    return weights
