"""Counts the rows that clients get answers to in the cells of their version's reference.

    ("drift", model, version, digest of its file)       rows answered, counts of Binning

They are counted for windows (observe/windows.py). A worker looks at RATE rows a second at most, and at a fair
sample of those that wait where more do; the rows answered are counted all, so that the share is known.
"""

import random
import time

import numpy as np

from unpickled.server.drift.binnings import Binnings
from unpickled.server.drift.sample import Drawn, Sample
from unpickled.server.observe.counters import Block
from unpickled.server.observe.lot import Lot
from unpickled.server.observe.windows import Floats, Windows

KIND = "drift"
# Rows a second that a worker looks at; after a quiet second, so many at once.
RATE = 500
# Rows that are counted at once: 64 rows of 300 numbers hold the interpreter for more than a millisecond.
_PART = 64
# Seconds between two parts, for requests that wait for the interpreter.
_BREATH = 0.0001


class Counting:
    """Counts the rows of one worker.

    Args:
        block: The block of this worker in a memory of ``windows.shared``.
        binnings: The cells of each version.
        rate: Rows a second that are looked at.
    """

    name = "drift"

    def __init__(self, block: Block, binnings: Binnings, rate: float = RATE) -> None:
        self._windows = Windows(block, KIND)
        self._binnings = binnings
        self._rate = rate
        self._chance = random.Random()
        # Rows that could be looked at at this moment, in seconds of time.monotonic().
        self._room, self._moment = rate, time.monotonic()
        # The rows since the last rest.
        self._sample: Sample | None = None

    def consume(self, lot: Lot) -> None:
        """Choose rows among these."""
        if self._sample is None:
            self._refill()
            self._sample = Sample(int(self._room), self._chance)
        self._sample.offer(lot)

    def rest(self) -> None:
        """Count the rows that were chosen. A version that cannot be counted leaves the others alone."""
        sample, self._sample = self._sample, None
        if sample is None:
            return
        self._room -= len(sample)
        failures = []
        for drawn in sample.drawn():
            try:
                self._windows.add(drawn.served.key, self._counts(drawn), time.time())
            except Exception as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def close(self) -> None:
        """Nothing is kept but in the shared memory."""

    def _counts(self, drawn: Drawn) -> Floats:
        binning = self._binnings.of(drawn.served.model)
        counts = np.zeros(1 + binning.size)
        counts[0] = drawn.answered
        for start in range(0, len(drawn.rows) if binning.rows else 0, _PART):
            if start:
                time.sleep(_BREATH)
            rows, labels, scores = zip(*drawn.rows[start : start + _PART], strict=True)
            counts[1:] += binning.count(rows, labels, scores)
        return counts

    def _refill(self) -> None:
        moment = time.monotonic()
        self._room = min(self._rate, self._room + (moment - self._moment) * self._rate)
        self._moment = moment
