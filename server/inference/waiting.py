"""The turns that wait, fair between models: the model that has had the least goes first."""

from heapq import heapify, heappop, heappush
from itertools import count
from time import perf_counter
from typing import Generic, Protocol, TypeVar

from unpickled.server.inference.standing import Standing


class _Waits(Protocol):
    @property
    def model(self) -> str: ...
    @property
    def charge(self) -> float: ...
    @property
    def due(self) -> float: ...


Waits = TypeVar("Waits", bound=_Waits)


class Waiting(Generic[Waits]):
    """A queue for each model, in the order in which its turns are due. Its callers hold a lock.

    Attributes:
        count: How many wait.
        standing: Whether some have waited for a while.
    """

    def __init__(self) -> None:
        self.count = 0
        self.standing = Standing(perf_counter())
        self._queues: dict[str, list[tuple[float, int, Waits]]] = {}
        # Seconds of the processor that each waiting model has had. A model that comes new begins with the
        # least of the others, so that its absence saves up nothing.
        self._had: dict[str, float] = {}
        self._numbers = count()

    def add(self, waits: Waits) -> None:
        """Let one more wait, among those of its model."""
        if waits.model not in self._queues:
            self._queues[waits.model] = []
            self._had[waits.model] = min(self._had.values(), default=0.0)
        heappush(self._queues[waits.model], (waits.due, next(self._numbers), waits))
        self.count += 1
        if self.count == 1:
            self.standing.note(True, perf_counter())

    def take(self) -> Waits:
        """Take the next one out."""
        model = min(self._had, key=self._had.__getitem__)
        waits = heappop(self._queues[model])[-1]
        self._had[model] += waits.charge
        self._left(model)
        return waits

    def remove(self, waits: Waits) -> None:
        """Take out one that waits no longer."""
        queue = self._queues[waits.model]
        queue[:] = [entry for entry in queue if entry[-1] is not waits]
        heapify(queue)
        self._left(waits.model)

    def _left(self, model: str) -> None:
        if not self._queues[model]:
            del self._queues[model], self._had[model]
        self.count -= 1
        if not self.count:
            self.standing.note(False, perf_counter())
