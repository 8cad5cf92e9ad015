"""The turns that wait, fair between models: the model that has had the least goes first."""

from collections import deque
from time import perf_counter
from typing import Generic, Protocol, TypeVar


class _Waits(Protocol):
    @property
    def model(self) -> str: ...
    @property
    def charge(self) -> float: ...


Waits = TypeVar("Waits", bound=_Waits)


class Waiting(Generic[Waits]):
    """A queue for each model. Its callers hold a lock.

    Attributes:
        count: How many wait.
        emptied: time.perf_counter() at which none waited last.
    """

    def __init__(self) -> None:
        self.count = 0
        self.emptied = perf_counter()
        self._queues: dict[str, deque[Waits]] = {}
        # Seconds of the processor that each waiting model has had. A model that comes new begins with the
        # least of the others, so that its absence saves up nothing.
        self._had: dict[str, float] = {}

    def add(self, waits: Waits) -> None:
        """Let one more wait, behind those of its model."""
        if not self.count:
            self.emptied = perf_counter()
        if waits.model not in self._queues:
            self._queues[waits.model] = deque()
            self._had[waits.model] = min(self._had.values(), default=0.0)
        self._queues[waits.model].append(waits)
        self.count += 1

    def take(self) -> Waits:
        """Take the next one out."""
        model = min(self._had, key=self._had.__getitem__)
        waits = self._queues[model].popleft()
        self._had[model] += waits.charge
        self._left(model)
        return waits

    def remove(self, waits: Waits) -> None:
        """Take out one that waits no longer."""
        self._queues[waits.model].remove(waits)
        self._left(waits.model)

    def _left(self, model: str) -> None:
        self.count -= 1
        if not self._queues[model]:
            del self._queues[model], self._had[model]
        if not self.count:
            self.emptied = perf_counter()
