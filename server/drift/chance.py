"""The chance of what was counted, if nothing has changed: tails of distributions, without scipy.

The tail of chi-squared is a finite sum, exact to the rounding of doubles (1e-12 of the probability up to 300
degrees of freedom). Those of the binomial and of Student's t are a continued fraction, which is followed
until it stands still; that of the hypergeometric distribution is added up.
"""

import math
from functools import lru_cache

_TINY = 1e-300


def chi_squared_tail(statistic: float, degrees: int) -> float:
    """The chance that chi-squared with so many degrees of freedom is at least ``statistic``.

    Example:
        >>> round(chi_squared_tail(27.877, 9), 6)
        0.001
    """
    half = statistic / 2
    if degrees < 1 or half <= 0:
        return 1.0
    if degrees % 2:
        tail, term, step = math.erfc(math.sqrt(half)), 2 * math.sqrt(half / math.pi), 1.5
    else:
        tail, term, step = 0.0, 1.0, 1.0
    scale = math.exp(-half)
    if not scale:
        return 0.0
    for _ in range(degrees // 2):
        tail += scale * term
        term *= half / step
        step += 1
    return min(tail, 1.0)


@lru_cache(maxsize=1024)
def chi_squared_quantile(level: float, degrees: int) -> float:
    """The statistic that chi-squared reaches with the chance ``level``."""
    low, high = 0.0, 1.0
    while chi_squared_tail(high, degrees) > level:
        low, high = high, high * 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if chi_squared_tail(middle, degrees) > level else (low, middle)
    return high


def at_most(successes: int, trials: int, chance: float) -> float:
    """The chance of at most so many successes in so many trials, each of which succeeds with ``chance``.

    Example:
        >>> at_most(1, 2, 0.5)
        0.75
    """
    if successes >= trials:
        return 1.0
    return _beta(1 - chance, trials - successes, successes + 1)


def at_least(successes: int, trials: int, chance: float) -> float:
    """The chance of at least so many successes in so many trials, each of which succeeds with ``chance``."""
    if successes <= 0:
        return 1.0
    return _beta(chance, successes, trials - successes + 1)


def drawn_at_least(marked: int, drawn: int, all_marked: int, rows: int) -> float:
    """The chance that ``drawn`` of ``rows`` rows hold at least ``marked`` of the ``all_marked`` ones.

    It is 1 where no more are asked for than are to be expected: only a surplus is added up. Its terms are as
    many as the marked rows that are not drawn, at most.

    Example:
        >>> round(drawn_at_least(3, 3, 4, 8), 6)
        0.071429
    """
    if marked * rows <= drawn * all_marked:
        return 1.0
    ways = ((all_marked, marked), (rows - all_marked, drawn - marked))
    term = math.exp(sum(_log_ways(*each) for each in ways) - _log_ways(rows, drawn))
    tail = 0.0
    for place in range(marked, min(drawn, all_marked) + 1):
        tail += term
        if term < 1e-17 * tail:
            break
        left = rows - all_marked - drawn + place + 1
        term *= (all_marked - place) * (drawn - place) / ((place + 1) * left)
    return min(tail, 1.0)


def _log_ways(rows: int, drawn: int) -> float:
    """The logarithm of the number of ways to draw so many rows."""
    return math.lgamma(rows + 1) - math.lgamma(drawn + 1) - math.lgamma(rows - drawn + 1)


def student_tail(statistic: float, degrees: int) -> float:
    """The chance that Student's t with so many degrees of freedom is at least ``statistic``, above 0.

    Example:
        >>> round(student_tail(3.396, 29), 4)
        0.001
    """
    # Beyond a million it is the normal distribution, to 1e-5 of the chance.
    degrees = min(degrees, 1_000_000)
    return _beta(degrees / (degrees + statistic**2), degrees / 2, 0.5) / 2


def _beta(x: float, a: float, b: float) -> float:
    """The regularized incomplete beta function I_x(a, b)."""
    if not 0 < x < 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta(1 - x, b, a)
    logarithm = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(logarithm) / a / _fraction(x, a, b)


def _fraction(x: float, a: float, b: float) -> float:
    """The continued fraction of the function above, by Lentz' method: the root of a and b long."""
    value, upper, lower = 1.0, 1.0, 0.0
    for place in range(1, 1_000_000):
        half, odd = divmod(place, 2)
        if odd:
            term = -(a + half) * (a + b + half) * x / ((a + 2 * half) * (a + 2 * half + 1))
        else:
            term = half * (b - half) * x / ((a + 2 * half - 1) * (a + 2 * half))
        lower = 1 / ((1 + term * lower) or _TINY)
        upper = (1 + term / upper) or _TINY
        value *= upper * lower
        if abs(upper * lower - 1) < 1e-13:
            break
    return value
