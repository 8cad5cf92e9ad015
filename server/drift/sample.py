"""A fair sample of rows out of a stream whose length nobody knows before its end.

Algorithm L of Kim-Hung Li, "Reservoir-Sampling Algorithms of Time Complexity O(n(1 + log(N/n)))", 1994: most
rows are passed over without a look at them.
"""

import math
import random
from collections.abc import Sequence
from typing import Any, NamedTuple

from unpickled.server.lifecycle.versions import Served
from unpickled.server.model.feeds import Row
from unpickled.server.observe.lot import Lot

_BELOW_ONE = math.nextafter(1.0, 0.0)


class Sampled(NamedTuple):
    """A row with its label and its scores."""

    row: Row
    label: Any
    scores: Sequence[float]


class Drawn(NamedTuple):
    """A version, how many rows it answered, and those of them that are in the sample."""

    served: Served
    answered: int
    rows: Sequence[Sampled]


class Sample:
    """At most ``room`` rows; each one that was offered has the same chance to be among them.

    Answers of shadows, which clients do not get, are left out.
    """

    def __init__(self, room: int, chance: random.Random) -> None:
        self._room = room
        self._chance = chance
        self._kept: list[tuple[Served, Sampled]] = []
        # The rows that were offered, and the place of the next one to be taken.
        self._offered = 0
        self._next: float = 0 if room else math.inf
        # The largest of ``room`` random numbers, once the sample is full.
        self._largest = 1.0
        # The versions by id, and how many rows they answered.
        self._served: dict[int, Served] = {}
        self._answered: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def offer(self, lot: Lot) -> None:
        """Take some rows of these."""
        if lot.shadow is not None:
            return
        served, first = lot.source.served, self._offered
        self._served[id(served)] = served
        self._answered[id(served)] = self._answered.get(id(served), 0) + len(lot)
        self._offered += len(lot)
        while self._next < self._offered:
            self._take(lot, int(self._next) - first)

    def drawn(self) -> list[Drawn]:
        """The sample, by version."""
        rows: dict[int, list[Sampled]] = {number: [] for number in self._served}
        for served, row in self._kept:
            rows[id(served)].append(row)
        return [
            Drawn(served, self._answered[number], rows[number]) for number, served in self._served.items()
        ]

    def _take(self, lot: Lot, index: int) -> None:
        """Take a row of a lot, and choose the next one."""
        entry = lot.source.served, Sampled(lot.rows[index], lot.labels[index], lot.scores[index])
        if len(self._kept) < self._room:
            self._kept.append(entry)
        else:
            self._kept[self._chance.randrange(self._room)] = entry
        self._next += 1 if len(self._kept) < self._room else 1 + self._passed()

    def _passed(self) -> int:
        """How many rows to pass over."""
        draw = 1.0 - self._chance.random()
        self._largest *= math.exp(math.log(draw) / self._room)
        rest = math.log1p(-min(self._largest, _BELOW_ONE))
        # So few are taken that the next one is beyond all streams.
        return int(math.log(1.0 - self._chance.random()) / rest) if rest else 2**62
