"""A target that is built when the first request asks for it: a server of many models starts without them."""

import threading
from collections.abc import Callable
from typing import Protocol

from unpickled.server.message.answer import Answer, Environ, Target


class Table(Protocol):
    """Where requests find the targets; ``targets`` is replaced as a whole."""

    targets: dict[str, Target]


class Deferred:
    """Builds the target of one path, and puts it into its own place in a table.

    Args:
        path: The path.
        build: Builds the target.
        table: Has this object at that path, unless models have changed since.
        lock: Held while it builds, so that targets that share something do not build it twice.
    """

    __slots__ = ("_build", "_lock", "_path", "_table", "_target")

    def __init__(self, path: str, build: Callable[[], Target], table: Table, lock: threading.Lock) -> None:
        self._path = path
        self._build = build
        self._table = table
        self._lock = lock
        self._target: Target | None = None

    @property
    def latest(self) -> Target:
        """The target; before it is built, this object."""
        return self._target or self

    def __call__(self, environ: Environ) -> Answer:
        """The answer of the target; it takes some milliseconds more than that of the next request."""
        target = self._target
        if target is None:
            with self._lock:
                target = self._target = self._target or self._build()
        targets = self._table.targets
        if targets.get(self._path) is self:
            targets[self._path] = target
        return target(environ)
