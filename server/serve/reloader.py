"""A thread that keeps the deployments in step with the disk."""

import logging
import threading
import time

from unpickled.server import heap
from unpickled.server.follower import follow
from unpickled.server.lifecycle.repository import Repository
from unpickled.server.observe import tally
from unpickled.server.observe.counters import Block
from unpickled.server.observe.outlines import outlines, pack
from unpickled.server.serve.routes import Routes

logger = logging.getLogger("unpickled")

# Seconds until the second scan of a file that has just changed, as somebody may still be writing it.
_SETTLING = 0.1
# Seconds between two reports that a version is still loaded, where nothing changes.
_REPORTING = 60.0


class Reloader:
    """Scans the models folder every ``reload_seconds``, and whenever it is woken."""

    def __init__(self, repository: Repository, routes: Routes, block: Block) -> None:
        self._repository = repository
        self._routes = routes
        self._block = block
        self._seconds = repository.config.reload_seconds
        self._woken = threading.Event()
        self._released = False
        # Whether a request has loaded a model since the last look, and before it.
        self._followed = self._had_followed = False
        self._everything = False
        self._loaded: set[tuple[str, int]] = set()
        self._names: set[str] = set()
        self._reported = 0.0
        self._count_failures()
        self._publish()

    def start(self) -> None:
        """Start the thread, which ends when this object is released."""
        follow(self, "reloader", self._woken)

    def wake(self) -> None:
        """Scan now, and every folder."""
        self._everything = True
        self._woken.set()

    def rebuild(self) -> None:
        """Follow a model that a request has loaded; the thread tells of it and gives memory back."""
        self._routes.rebuild()
        self._followed = True
        self._woken.set()

    @property
    def interval(self) -> float | None:
        """Seconds until the next scan; None for none before ``wake`` is called."""
        settled = self._repository.settled and not self._released
        return (self._seconds or None) if settled else _SETTLING

    def refresh(self) -> None:
        """Scan once, and follow what has changed."""
        try:
            # Requests that used the versions released by the last scan have had time to end.
            if self._released:
                heap.trim()
            followed, self._followed = self._followed, False
            changed = self._scan(followed)
            if changed:
                self._routes.rebuild()
            self._released = changed or followed
            if self._released:
                self._repository.release()
            self._count_failures()
            if self._released or time.monotonic() - self._reported >= _REPORTING:
                self._publish()
        except Exception:
            logger.exception("scanning the models folder failed; what is served stays")

    def _scan(self, followed: bool) -> bool:
        """Scan the folders; whether anything has changed. Requests that load models ask for no scan."""
        everything, self._everything = self._everything, False
        asks_nobody = (followed or self._had_followed) and self._repository.settled
        self._had_followed = followed
        if asks_nobody and not everything and not self._seconds:
            return False
        return self._repository.refresh(everything)

    def _count_failures(self) -> None:
        for name, version in self._repository.take_failures():
            tally.load_failed(self._block, name, version)

    def _publish(self) -> None:
        """Publish to the other processes which models and versions this one serves."""
        block, now = self._block, time.monotonic()
        deployments = self._repository.deployments
        loaded = {(name, version) for name, model in deployments.items() for version in model.versions}
        for name, version in loaded ^ self._loaded:
            tally.set_loaded(block, name, version, (name, version) in loaded)
        for name in self._names - deployments.keys():
            tally.forget_ready(block, name)
        for name, deployment in deployments.items():
            tally.set_ready(block, name, bool(deployment.versions))
        for name, version in loaded | self._loaded:
            tally.set_used(block, name, version, now)
        tally.forget_outdated(block, now)
        block.post(pack(outlines(deployments.values())))
        self._loaded, self._names, self._reported = loaded, set(deployments), now
