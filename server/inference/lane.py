"""The turns of one kind of request: single rows have a lane of their own, and batches another."""

import math
from typing import Generic

from unpickled.server.inference.waiting import Waiting, Waits

# Seconds after which use of a processor counts for about a third.
_MEMORY = 1.0


class Lane(Generic[Waits]):
    """Turns that are held, at most ``most`` at a time, and those that wait. Its callers hold a lock.

    Attributes:
        held: The turns that compute.
        waiting: Those that wait.
        seconds: The estimated time of all of them.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.held: set[Waits] = set()
        self.waiting = Waiting[Waits]()
        self.seconds = 0.0
        # Seconds of the processor that its turns have used, those of long ago counting less; and until when.
        self._used, self._until = 0.0, 0.0

    @property
    def is_free(self) -> bool:
        """Whether one more turn can be held at once: none waits."""
        return len(self.held) < self._most and not self.waiting.count

    def next(self) -> Waits | None:
        """The turn that goes next, no longer waiting; None where none waits, or none is free."""
        return self.waiting.take() if self.waiting.count and len(self.held) < self._most else None

    def count(self, seconds: float) -> None:
        """Add to the estimated time, or take away from it."""
        # Rounding must not leave a rest behind.
        self.seconds = max(0.0, self.seconds + seconds)

    def note(self, seconds: float, now: float) -> None:
        """Note that a turn has used so many seconds of a processor up to ``now``."""
        self._used = self._used * math.exp((self._until - now) / _MEMORY) + seconds
        self._until = now

    def load(self, now: float) -> float:
        """How many processors its turns have used of late, on average."""
        return self._used * math.exp((self._until - now) / _MEMORY) / _MEMORY
