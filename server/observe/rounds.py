"""Rounds of measurements for metrics: in the pauses of an intake, a step at a time, one worker for all."""

import random
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Generic, TypeVar

from unpickled.server.observe.counters import Memory
from unpickled.server.observe.lot import Lot
from unpickled.server.observe.notice import Notice, Posted

Version = TypeVar("Version")

# Seconds between two rounds, and how many times as long as a round they are at least.
PAUSE, _TIMES = 15.0, 200.0


class Rounds(Generic[Version]):
    """A consumer that leaves the rows to others, and measures from time to time what they count.

    Args:
        memory: Its notice gets the measurements of a round.
        notice: Their kind.
        pause: Seconds between two rounds.
    """

    def __init__(self, memory: Memory, notice: Notice[Version], pause: float = PAUSE) -> None:
        self._memory = memory
        self._notice = notice
        self._pause = pause
        self._next = 0.0
        self._steps: Iterator[Sequence[Version]] | None = None
        self._taken: list[Version] = []
        self._spent = 0.0

    def consume(self, lot: Lot) -> None:
        """Leave the rows to the consumer that counts them."""

    def rest(self) -> None:
        """Take one step, if it is time."""
        now = time.time()
        # A clock that is set back by more than a pause must not end the measurements.
        waits = self._steps is None and self._next - 2 * self._pause < now < self._next
        if not waits and (self._steps is not None or self._begin(now)):
            self._step()

    def close(self) -> None:
        """Nothing is kept."""

    def steps(self, now: float) -> Iterator[Sequence[Version]]:
        """The steps of a round: versions, measured when the step is asked for."""
        raise NotImplementedError

    def _begin(self, now: float) -> bool:
        """Begin a round, unless another worker has done so lately."""
        age = now - self._notice.posted(self._memory, now).moment
        if 0 <= age < self._pause:
            # Not all workers at the same time.
            self._next = now + self._pause - age + random.uniform(0.0, 1.0)
            return False
        self._steps, self._taken, self._spent = self.steps(now), [], 0.0
        return True

    def _step(self) -> None:
        started = time.perf_counter()
        steps = [] if self._steps is None else list(islice(self._steps, 1))
        self._spent += time.perf_counter() - started
        if steps:
            self._taken += steps[0]
            return
        now = time.time()
        self._notice.post(self._memory, Posted(now, self._taken))
        self._steps = None
        self._next = now + max(self._pause, self._spent * _TIMES)
