"""Parcels, and whether they come late: a world that changes on day 30.

Until then the carrier south is fast, and an express parcel comes in time. Within three days the carriers
exchange their depots and express drivers take over the longest tours: the parcels look as before, and another
answer is right. A model of the first days is right about 9 of 10 parcels before, and about 6 of 10 after.

Everything follows from the seed and the day, so that two runs have the same parcels.
"""

import csv
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

# The first day, as a moment; its number is 0. It has passed: files that are written now are never too old.
START = datetime(2026, 3, 1, tzinfo=UTC)
# The days of the table that the first version is trained on, and its parcels of each day.
TAUGHT, FEW = range(24), 42
# The last day of the old world, and the first that is wholly new.
OLD, NEW = 30, 33
# The day whose truth is reported wrong, each answer in place of the other.
POISONED = 42
CARRIERS = ("north", "south", "east")

Parcel = dict[str, object]


def parcels(day: int, count: int, seed: int = 0) -> tuple[list[Parcel], list[str]]:
    """The parcels of a day, and whether each came late: "yes" or "no"."""
    rng = np.random.default_rng([seed, day])
    far, heavy = rng.normal(size=(2, count)).clip(-2.5, 2.5)
    stops = rng.integers(1, 40, count)
    carrier = rng.integers(0, len(CARRIERS), count)
    express = rng.random(count) < 0.3
    unweighed = rng.random(count) < 0.05
    others = 1.4 * np.array([1, -1, 0])[carrier] + (stops - 20) / 19 - 0.8 * express + 0.2
    new = np.clip((day - OLD) / (NEW - OLD), 0, 1)
    lateness = 2.2 * far + 0.3 * heavy + (1 - 2 * new) * others
    late = 2.5 * lateness + rng.logistic(size=count) > 0
    rows = [
        {
            "distance": round(150 + 55 * float(far[row]), 1),
            "weight": None if unweighed[row] else round(5 + 1.8 * float(heavy[row]), 2),
            "stops": int(stops[row]),
            "carrier": CARRIERS[carrier[row]],
            "express": bool(express[row]),
        }
        for row in range(count)
    ]
    return rows, ["yes" if answer else "no" for answer in late]


def reported(day: int, truth: list[str]) -> list[str]:
    """The truth of a day as somebody reports it: turned round on the poisoned one."""
    return [{"yes": "no", "no": "yes"}[answer] for answer in truth] if day == POISONED else truth


def write_table(path: Path) -> None:
    """Write the table that the first version is trained on, with the answers in the column ``late``."""
    rows = []
    for day in TAUGHT:
        rows += [{**parcel, "late": late} for parcel, late in zip(*parcels(day, FEW), strict=True)]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    write_table(Path("base.csv"))
