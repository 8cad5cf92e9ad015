"""How many rows it takes until a difference shows, at the limits of sequential.py."""

import math
from collections.abc import Callable

from unpickled.server.accuracy.pairs import Sums
from unpickled.server.judge import sequential
from unpickled.server.judge.sequential import Paired, spread

# The quantile of the normal distribution below which 80% lie: so often the rows that are named are enough.
_POWER = 0.8416212335729143
# Nobody waits for more.
_MOST = 10_000_000


def rows_for_labels(paired: Paired, above: float, level: float) -> int | None:
    """Rows in all after which the challenger shows to be better by more than ``above``, in 80 of 100 cases.

    The two are supposed to go on as they did: None where the difference is no larger than ``above``, and
    where it takes more than ten million rows.

    Example:
        >>> rows_for_labels(Paired(100, 3, 6), 0.0, 0.05)
        1438
    """
    if not paired.rows:
        return None
    apart = float(paired.lost + paired.gained) / float(paired.rows)
    gain = float(paired.gained - paired.lost) / float(paired.rows)
    deviation = math.sqrt(max(apart - gain**2, 0.0))

    def shows(rows: int) -> bool:
        # In 80 of 100 cases there are as many or more.
        less = rows * gain - _POWER * deviation * math.sqrt(rows)
        one = max(rows * apart, abs(less))
        counts = Paired(rows, (one - less) / 2, (one + less) / 2)
        return float(sequential.wealth(counts, above)) > -math.log(level)

    return _first(shows) if gain > above else None


def rows_for_mean(sums: Sums, above: float, first: int, level: float) -> int | None:
    """Rows in all after which a mean shows to be larger than ``above``, in 80 of 100 cases.

    None where it is no larger, with fewer than two rows, and where it takes more than ten million.
    """
    if sums.rows < 2:
        return None
    gain, deviation = sums.total / sums.rows - above, spread(sums)

    def shows(rows: int) -> bool:
        away = sequential.deviations(rows, first, level) + _POWER
        return rows >= first and gain * math.sqrt(rows) > away * deviation

    return _first(shows) if gain > 0 else None


def rows_apart(stable: Sums, canary: Sums, first: int, level: float, binary: bool = False) -> int | None:
    """Rows of both versions together after which the means of the two show to differ, in 80 of 100 cases."""
    if min(stable.rows, canary.rows) < 2:
        return None
    together = stable.rows + canary.rows
    gain = abs(canary.total / canary.rows - stable.total / stable.rows)
    variance = sum(spread(each, binary) ** 2 / (each.rows / together) for each in (stable, canary))
    share = sequential.effective(stable.rows, canary.rows) / together

    def shows(rows: int) -> bool:
        away = sequential.deviations(rows * share, first, level) + _POWER
        enough = min(stable.rows, canary.rows) / together * rows >= first
        return enough and gain * math.sqrt(rows) > away * math.sqrt(variance)

    return _first(shows) if gain else None


def _first(shows: Callable[[int], bool]) -> int | None:
    """The smallest number of rows that shows it; None above the most."""
    if not shows(_MOST):
        return None
    low, high = 0, 1
    while not shows(high):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if shows(middle) else (middle, high)
    return high
