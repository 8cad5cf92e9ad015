"""A target that is built when the first request asks for it: a server of many models starts without them."""

import threading
import weakref
from collections.abc import Callable

from unpickled.server.message.answer import Answer, Environ, Target


class Targets(dict[str, Target]):
    """Path -> its target.

    Its targets refer to it weakly: once a table is replaced, nothing of it waits for the garbage collector,
    which servers start rarely.
    """

    __slots__ = ("__weakref__",)


class Deferred:
    """Builds the target of one path, and puts it into its own place in a table.

    Args:
        path: The path.
        build: Builds the target.
        lock: Held while it builds, so that targets that share something do not build it twice.
    """

    __slots__ = ("_build", "_lock", "_path", "_target", "_targets")

    def __init__(self, path: str, build: Callable[[], Target], lock: threading.Lock) -> None:
        self._path = path
        self._build = build
        self._lock = lock
        self._target: Target | None = None
        self._targets: weakref.ref[Targets] | None = None

    def __call__(self, environ: Environ) -> Answer:
        """The answer of the target; it takes some milliseconds more than that of the next request."""
        target = self._target
        if target is None:
            with self._lock:
                target = self._target = self._target or self._build()
        targets = self._targets and self._targets()
        # The table may have been replaced after the request had found this object.
        if targets and targets.get(self._path) is self:
            targets[self._path] = target
        return target(environ)

    def within(self, targets: Targets) -> Target:
        """The target for a place in this table: the one that was built, or this object."""
        if self._target is not None:
            return self._target
        self._targets = weakref.ref(targets)
        return self
