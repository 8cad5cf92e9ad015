"""The difference between two versions on the same rows: its interval, and how often chance makes one.

Rows are drawn with replacement, RESAMPLES times as many as there are: each time both versions have the same
rows. An interval lies between two percentiles of the differences, which lie further out the fewer the rows
are, as those of Student's t do: a bootstrap of few rows is too narrow otherwise.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from unpickled.export.card.intervals import measured
from unpickled.server.artifact.card import Measured

RESAMPLES = 2_000
# The share of intervals that do not hold the true difference.
LEVEL = 0.05
# The most numbers that are drawn at once: 16 MB.
_AT_ONCE = 2_000_000
# Sums that differ by a smaller share are equal.
_ROUNDING = 1e-12

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Quotient:
    """A figure that is one sum over the rows, divided by another one, such as the mean or a precision.

    Attributes:
        above: The summands (rows,).
        below: The same of the divisor (rows,); None for the number of rows.
        root: Whether the figure is the root of that.
    """

    above: Floats
    below: Floats | None = None
    root: bool = False

    @property
    def value(self) -> float:
        """The figure of these rows."""
        below = len(self.above) if self.below is None else self.below.sum()
        return float(self.of(self.above.sum(keepdims=True), np.array([below], np.float64))[0])

    def of(self, above: Floats, below: Floats) -> Floats:
        """The figure from its two sums, each of any shape; NaN where the divisor is 0."""
        quotient = np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)
        return np.sqrt(quotient) if self.root else quotient


@dataclass(frozen=True, slots=True)
class Pair:
    """The same figure of both versions."""

    this: Quotient
    other: Quotient

    @property
    def difference(self) -> float:
        """This - other, on these rows."""
        return float(_apart(np.array(self.this.value), np.array(self.other.value)))


def differences(pairs: Sequence[Pair], seed: int = 0) -> Floats:
    """(RESAMPLES, pairs): the differences of each drawing; the rows are the same ones for all pairs."""
    sides = [side for pair in pairs for side in (pair.this, pair.other)]
    rows = len(sides[0].above)
    ones = np.ones(rows)
    sums = np.column_stack(
        [column for side in sides for column in (side.above, ones if side.below is None else side.below)]
    )
    drawn = np.concatenate([weights @ sums for weights in _drawings(rows, seed)])
    values = [side.of(drawn[:, 2 * at], drawn[:, 2 * at + 1]) for at, side in enumerate(sides)]
    return np.column_stack(list(map(_apart, values[::2], values[1::2])))


def interval(difference: float, drawn: Floats, rows: int) -> Measured:
    """A difference with its interval, from those of each drawing (RESAMPLES,)."""
    finite = drawn[np.isfinite(drawn)]
    if rows < 2 or not len(finite):
        return measured(difference, None, None)
    tail = special.ndtr(special.stdtrit(rows - 1, LEVEL / 2) * np.sqrt(rows / (rows - 1)))
    lowest, highest = np.quantile(finite, (tail, 1 - tail))
    return measured(difference, float(lowest), float(highest))


def widened(difference: Measured, ends: tuple[float, float]) -> Measured:
    """The difference with an interval that holds these ends as well."""
    if difference.lowest is None or difference.highest is None:
        return difference
    return measured(difference.value, min(difference.lowest, ends[0]), max(difference.highest, ends[1]))


def chance(apart: Floats, seed: int = 0) -> float:
    """The probability of a mean as far from 0, were it a coin that decides which version has which figure.

    A permutation test: it holds for long tails, of which an interval by drawing sees too little where few
    rows make up all of a difference.

    Args:
        apart: The figure of this version less that of the other one (rows,).
        seed: The seed of the coin, which is thrown for each row, RESAMPLES times.
    """
    observed, rng = abs(apart.sum()) * (1 - _ROUNDING), np.random.default_rng(seed)
    as_far = 0
    for count in _counts(len(apart)):
        throws = rng.integers(0, 2, (count, len(apart)), np.int8).astype(np.float64)
        as_far += int((np.abs((2 * throws - 1) @ apart) >= observed).sum())
    return (1 + as_far) / (1 + RESAMPLES)


def chance_of_mean(numbers: Floats) -> float:
    """The probability of a mean as far from 0, were the true one 0: by Student's t."""
    value, error = float(numbers.mean()), _error(numbers)
    if not error:
        return float(value == 0)
    return float(2 * special.stdtr(len(numbers) - 1, -abs(value / error)))


def mcnemar(only_this: int, only_other: int) -> float:
    """McNemar's exact test: the probability that a fair coin parts so many rows as unevenly.

    Args:
        only_this: Rows that one version alone has right.
        only_other: Rows that the other one alone has right.

    Example:
        >>> round(mcnemar(6, 16), 4)
        0.0525
    """
    apart = only_this + only_other
    return min(1.0, 2 * float(special.bdtr(min(only_this, only_other), apart, 0.5))) if apart else 1.0


def coin(only_this: int, only_other: int, rows: int) -> tuple[float, float]:
    """The ends of an interval of the difference of two shares of the same rows, by Clopper and Pearson.

    They hold 0 just where McNemar's test says that chance explains the difference. Rows drawn with
    replacement alone would take four rows of one kind for more than chance, which a coin shows in 13% of all
    cases.
    """
    apart = only_this + only_other
    lowest = special.betaincinv(only_this, only_other + 1, LEVEL / 2) if only_this else 0.0
    highest = special.betaincinv(only_this + 1, only_other, 1 - LEVEL / 2) if only_other else 1.0
    return (2 * float(lowest) - 1) * apart / rows, (2 * float(highest) - 1) * apart / rows


def _error(numbers: Floats) -> float:
    """The standard error of a mean."""
    return float(numbers.std(ddof=1) / np.sqrt(len(numbers)))


def _apart(this: Floats, other: Floats) -> Floats:
    """this - other, and 0 where only the order in which sums are added up makes a difference."""
    apart = this - other
    return np.where(np.abs(apart) <= _ROUNDING * (np.abs(this) + np.abs(other)), 0.0, apart)


def _drawings(rows: int, seed: int) -> Iterator[Floats]:
    """How often each row is drawn, RESAMPLES times: parts of an array (RESAMPLES, rows)."""
    rng = np.random.default_rng(seed)
    for count in _counts(rows):
        places = rng.integers(0, rows, (count, rows)) + rows * np.arange(count)[:, None]
        counts = np.bincount(places.ravel(), minlength=count * rows)
        yield counts.reshape(count, rows).astype(np.float64)


def _counts(rows: int) -> Iterator[int]:
    """Numbers that add up to RESAMPLES: how many drawings of so many rows are made at once."""
    at_once = max(1, _AT_ONCE // rows)
    yield from (min(at_once, RESAMPLES - start) for start in range(0, RESAMPLES, at_once))
