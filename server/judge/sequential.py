"""Statistics that hold however often somebody looks: bets against a hypothesis, and their intervals.

A usual test errs 5 times in 100 if it is done once, after a number of rows that was fixed before. Repeated
every hour, until it says what was hoped for, it errs far more often. These err 5 times in 100 over all looks
together, so that a decision may be taken at any of them. They follow from cumulative counts and sums alone,
which must have one beginning.

- Rows that two versions have answered, right or wrong: exact for any number of rows. Somebody bets a share of
  what they own on each row, at odds that are fair if the difference of accuracy is the supposed one. On
  average nobody gains by that, and by Ville's inequality one in twenty ever owns twenty times the stake. Many
  bets are made at once, each with an equal part of the stake, so that one of them suits the true difference.
- Means of any other numbers: a normal mixture (Robbins). It holds as the normal distribution of means does,
  that is from some hundred rows on; with long tails later.

Each end of an interval is beyond the true value with the chance ``level``, over all looks together.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from unpickled.server.accuracy import intervals
from unpickled.server.accuracy.intervals import Interval
from unpickled.server.accuracy.pairs import Sums

Counts = npt.NDArray[np.float64]

# Shares of what is owned that are bet. The best is (gained - lost) / (gained + lost): below the smallest, a
# difference takes hundreds of thousands of rows anyway. A step of 9% costs no bet more than 1% of its growth.
_BETS = np.geomspace(0.02, 0.98, 48)
# Halvings of an interval: more than a double has bits.
_HALVINGS = 60


class Paired(NamedTuple):
    """Rows that two versions have answered, and whose truth is known.

    Attributes:
        rows: All of them.
        lost: Those that the champion alone answered right.
        gained: Those that the challenger alone answered right.

    Each may be an array as well, of one shape.
    """

    rows: float | Counts
    lost: float | Counts
    gained: float | Counts

    @property
    def swapped(self) -> "Paired":
        """The same, with champion and challenger exchanged."""
        return Paired(self.rows, self.gained, self.lost)


def wealth(paired: Paired, above: float = 0.0) -> Counts:
    """The logarithm of what is owned after betting 1 on a difference of accuracy larger than ``above``.

    If the difference is ``above`` or less, the chance that this ever exceeds log(1 / level) is at most
    ``level``. Arrays of counts give an array.

    Example:
        >>> round(float(np.exp(wealth(Paired(100, 2, 12)))), 1)
        11.4
    """
    rows, lost, gained = (np.asarray(each, np.float64)[..., None] for each in paired)
    # A row has 0, 1/2 or 1 as it is lost, neither, or gained: the mean that is bet against is this.
    middle = (1 + above) / 2
    owned = gained * np.log1p(_BETS * (1 / middle - 1)) + lost * np.log1p(-_BETS)
    if above:
        owned = owned + (rows - lost - gained) * np.log1p(_BETS * (0.5 / middle - 1))
    most = owned.max(axis=-1, keepdims=True)
    return np.asarray(most[..., 0] + np.log(np.exp(owned - most).mean(axis=-1)))


def difference(paired: Paired, level: float) -> Interval | None:
    """The accuracy of the challenger minus that of the champion; None without rows. Exact.

    Example:
        >>> tuple(round(end, 3) for end in difference(Paired(1000, 20, 60), 0.05))
        (0.04, 0.014, 0.068)
    """
    if not paired.rows:
        return None
    value = float(paired.gained - paired.lost) / float(paired.rows)
    return Interval(value, _least(paired, level), -_least(paired.swapped, level))


def _least(paired: Paired, level: float) -> float:
    """The lower end of the interval: the smallest difference against which too little is gained."""
    low, high = -1.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if wealth(paired, middle) > -math.log(level) else (low, middle)
    return low


def mean(sums: Sums, first: int, level: float) -> Interval | None:
    """The mean of some numbers; None with fewer rows than ``first``, from which on one looks at it.

    Example:
        >>> tuple(round(end, 3) for end in mean(Sums(1000, 500.0, 1250.0), 200, 0.05))
        (0.5, 0.412, 0.588)
    """
    if sums.rows < max(first, 2):
        return None
    value = sums.total / sums.rows
    reach = deviations(sums.rows, first, level) * spread(sums) / math.sqrt(sums.rows)
    return Interval(value, value - reach, value + reach)


def apart(stable: Sums, canary: Sums, first: int, level: float, binary: bool = False) -> Interval | None:
    """The mean of the canary minus that of the stable version, on different rows; None with too few of one.

    The shares of rows that the two answer must have been the same all the time. ``binary`` says that all
    numbers are 0 or 1.
    """
    if min(stable.rows, canary.rows) < max(first, 2):
        return None
    value = canary.total / canary.rows - stable.total / stable.rows
    error = math.hypot(*(spread(each, binary) / math.sqrt(each.rows) for each in (stable, canary)))
    reach = deviations(effective(stable.rows, canary.rows), first, level) * error
    return Interval(value, value - reach, value + reach)


def spread(sums: Sums, binary: bool = False) -> float:
    """The standard deviation of some numbers; 0 where there are fewer than two.

    To ``binary`` ones, one more of each kind is added: a hundred that are right do not mean that all will be.
    """
    if binary:
        share = (sums.total + 1) / (sums.rows + 2)
        return math.sqrt(share * (1 - share))
    return intervals.deviation(sums.total, sums.squares, sums.rows) if sums.rows > 1 else 0.0


def effective(stable: float, canary: float) -> float:
    """The rows of each of two equal groups that tell as much as two unequal ones."""
    return 2 / (1 / stable + 1 / canary)


def deviations(rows: float, first: int, level: float) -> float:
    """How many standard errors of a mean an end of its interval is away from it, after so many rows.

    It is smallest at some eight times ``first`` rows, and grows slowly on both sides.

    Example:
        >>> [round(deviations(rows, 200, 0.05), 2) for rows in (200, 1600, 100_000)]
        [3.26, 2.77, 3.29]
    """
    ratio = rows / first
    wanted = math.log(ratio + 1) / 2 - math.log(level)
    low, high = 0.0, math.sqrt(2 * wanted) + 1
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        owned = middle**2 / 2 + math.log(math.erfc(-middle / math.sqrt(2)))
        low, high = (middle, high) if owned < wanted else (low, middle)
    return high * math.sqrt((ratio + 1) / ratio)
