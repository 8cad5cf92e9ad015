"""The models in memory where each is loaded by the first request for it, within a bound on their memory."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic

from unpickled.server import machine
from unpickled.server.config import Config
from unpickled.server.errors import DeadlineExceeded, Overloaded
from unpickled.server.lifecycle.shelf import Shelf

# The reason why such a model shows nothing of itself.
UNLOADED = "it is not in memory: the first request for it loads it"
# Bytes of memory that a version takes: for its session and handlers, and for each byte of its file.
_EACH, _PER_BYTE = 200_000, 6


class Demand:
    """Knows which models are not in memory, and when each of the others was last used.

    Attributes:
        on: Whether models are loaded by requests; otherwise all of them are loaded at the start.
        unloaded: The names of the models that are not in memory.
        answers: Returns the number of answers of each model.
        follow: Is called when a request has loaded a model, before the request goes on.
    """

    def __init__(self, config: Config) -> None:
        self.on = config.load == "on demand"
        self.unloaded: set[str] = set()
        self.answers: Callable[[], Mapping[str, float]] = dict
        self.follow: Callable[[], None] = _nothing
        # Held while models are loaded or let go of.
        self._lock = threading.RLock()
        self._most = config.load_bytes or machine.memory() // 4 // config.listening.workers
        limits, threads = config.limits, config.listening.threads
        self._timeout, self._brief = limits.request_timeout, limits.max_queue_ms / 1000
        # Requests that may wait for as long as it takes: the other threads are for models in memory.
        self._seats = threading.Semaphore(max(1, threads // 2))
        # monotonic() when the lock was taken last.
        self._began = 0.0
        # By name: the number of answers at the last look, and when it was last seen to grow.
        self._uses: dict[str, tuple[float, float]] = {}

    def put_off(self, names: Iterable[str]) -> None:
        """Leave these models to the first requests for them, where models are loaded by requests."""
        if self.on:
            self.unloaded.update(names)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let no request load or let go of a model before the end of the block.

        Raises:
            Overloaded: Half of the threads wait for models, and the load under way takes long.
            DeadlineExceeded: The setting request_timeout is over.
        """
        if not self.on:
            yield
            return
        self._take_turn()
        try:
            yield
        finally:
            self._lock.release()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """The same for a scan, which waits for as long as it takes."""
        with self._lock:
            self._began = monotonic()
            yield

    def _take_turn(self) -> None:
        if not self._lock.acquire(blocking=False):
            self._wait()
        self._began = monotonic()

    def _wait(self) -> None:
        if not self._seats.acquire(blocking=False):
            if not self._lock.acquire(timeout=max(0.0, self._began + self._brief - monotonic())):
                raise Overloaded(
                    "many requests wait for models that are being loaded: ask again, or elsewhere",
                    headers={"Retry-After": "1"},
                )
            return
        try:
            if not self._lock.acquire(timeout=-1 if self._timeout is None else self._timeout):
                raise DeadlineExceeded(
                    f"{self._timeout:g} seconds are over, and the model is not loaded: ask again"
                )
        finally:
            self._seats.release()

    def among(self, names: Iterable[str]) -> list[str]:
        """These names and those of the models that are not in memory, sorted."""
        return sorted({*names, *self.unloaded})

    def loaded(self, shelves: Mapping[str, Shelf]) -> Mapping[str, Shelf]:
        """The shelves of the models in memory."""
        if not self.unloaded:
            return shelves
        return {name: shelf for name, shelf in shelves.items() if name not in self.unloaded}

    def look(self, shelves: Mapping[str, Shelf]) -> None:
        """Note which of the models in memory have answered since the last look."""
        if not self.on:
            return
        now, answers, uses = monotonic(), self.answers(), self._uses
        before = {name: uses.get(name, (-1.0, now)) for name in self.loaded(shelves)}
        counts = {name: answers.get(name, 0.0) for name in before}
        self._uses = {
            name: (count, before[name][1] if before[name][0] == count else now)
            for name, count in counts.items()
        }

    def surplus(self, shelves: Mapping[str, Shelf], pinned: set[str | None]) -> list[str]:
        """The models to let go of, those first whose last use is longest ago, so that the others fit.

        ``pinned`` stay; they are in ``shelves``, and perhaps not noted as loaded yet. So do models of which
        nothing could be loaded: they take no memory, and scans tell when they are mended.
        """
        sizes = {
            name: sum(_EACH + _PER_BYTE * served.size for served in shelf.versions.loaded.values())
            for name, shelf in shelves.items()
            if name in pinned or name not in self.unloaded
        }
        total, surplus = sum(sizes.values()), []
        taking = [name for name, size in sizes.items() if size and name not in pinned]
        for name in sorted(taking, key=lambda name: self._uses.get(name, (0.0, 0.0))[1]):
            if total <= self._most:
                break
            total -= sizes[name]
            surplus.append(name)
        return surplus


def _nothing() -> None:
    """Nobody follows."""
