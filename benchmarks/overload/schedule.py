"""The moments at which requests are due, made before the first of them."""

import random
from collections.abc import Iterator
from typing import NamedTuple


class Arrival(NamedTuple):
    """A request of a ``kind``, due so many seconds after the beginning."""

    due: float
    kind: str


def arrivals(
    rate: float, seconds: float, shares: dict[str, float], poisson: bool = True, seed: int = 0
) -> list[Arrival]:
    """The arrivals of one step, in their order; the same seed makes the same.

    Args:
        rate: Requests/s of all kinds together.
        seconds: The length of the step.
        shares: Kind -> its share of the requests; they sum to 1.
        poisson: Whether arrivals are independent of each other, as those of many clients are; else evenly.
        seed: The seed of both draws.
    """
    chance = random.Random(seed)
    kinds, weights = list(shares), list(shares.values())
    dues = list(_dues(rate, seconds, poisson, chance))
    return list(map(Arrival, dues, chance.choices(kinds, weights, k=len(dues))))


def _dues(rate: float, seconds: float, poisson: bool, chance: random.Random) -> Iterator[float]:
    sent, due = 0, 0.0
    while due < seconds:
        yield due
        sent += 1
        # Counted from the beginning: a sum of intervals is a sum of their errors.
        due = due + chance.expovariate(rate) if poisson else sent / rate
