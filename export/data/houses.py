"""A made-up table of houses and their prices, with text and gaps in it.

It stands in for the census of California that scikit-learn downloads. All of its chance comes from
``random.Random.random``, which Python keeps the same in all versions, and its numbers are rounded, so that
the table is the same on every machine.
"""

import math
from random import Random
from typing import Any

import numpy as np
import pandas as pd

ROWS = 3_000
TARGET = "price"

# The place, the share of houses there, how far from work it is, and what it adds to a price, in thousands.
_PLACES = (
    ("city", 0.30, 2.0, 60.0),
    ("suburb", 0.35, 9.0, 15.0),
    ("coast", 0.15, 14.0, 110.0),
    ("country", 0.20, 28.0, -25.0),
)
# The shares of rows that lack the place, the year in which it was built, and the income.
_GAPS = {"place": 0.02, "built": 0.05, "income": 0.03}


def table() -> pd.DataFrame:
    """The houses (rows, columns): numbers, one column of text, and ``price`` in thousands."""
    chance = Random(20)
    rows = [_house(chance) for _ in range(ROWS)]
    frame = pd.DataFrame(rows)
    for name, share in _GAPS.items():
        gaps = np.array([chance.random() < share for _ in range(ROWS)])
        frame[name] = frame[name].astype(object if name == "place" else np.float64).mask(gaps, np.nan)
    numbers = [name for name in frame if name != "place"]
    return frame.astype(dict.fromkeys(numbers, np.float64))


def _house(chance: Random) -> dict[str, Any]:
    place, distance, extra = _place(chance)
    income = round(max(12.0, 48.0 + 16.0 * _normal(chance) + 0.1 * extra), 1)
    area = round(max(28.0, 70.0 + 0.7 * income + 24.0 * _normal(chance)))
    rooms = max(1, round(area / 28.0 + 0.6 * _normal(chance)))
    built = 1920 + round(102.0 * math.sqrt(chance.random()))
    from_work = round(max(0.3, distance * (0.5 + chance.random())), 1)
    crime = round(max(0.0, 4.0 + 1.5 * _normal(chance) - 0.05 * from_work), 1)
    # A small house gains more by a square metre than a large one, and an old one is worth more than a new one
    # that is twenty years old.
    worth = 40.0 + 1.9 * area - 0.003 * area**2 + 2.2 * income + 6.0 * rooms + extra
    worth += -0.9 * (2022 - built) + 0.011 * (2022 - built) ** 2 - 1.6 * from_work - 7.0 * crime
    price = round(max(35.0, worth * (1.0 + 0.12 * _normal(chance))), 1)
    return {
        "area": area,
        "rooms": rooms,
        "built": built,
        "income": income,
        "distance": from_work,
        "crime": crime,
        "place": place,
        TARGET: price,
    }


def _place(chance: Random) -> tuple[str, float, float]:
    share = chance.random()
    for place, part, distance, extra in _PLACES[:-1]:
        share -= part
        if share < 0:
            return place, distance, extra
    place, _, distance, extra = _PLACES[-1]
    return place, distance, extra


def _normal(chance: Random) -> float:
    """A number that is nearly normal: no library's own generator, which other versions may change."""
    return sum(chance.random() for _ in range(12)) - 6.0
