"""A target that is built when the first request asks for it: a server of many models starts without them."""

import threading
import weakref
from collections.abc import Callable

from unpickled.server.message.answer import Answer, Environ, Target


class Targets(dict[str, Target]):
    """Path -> its target.

    What it holds refers to it weakly: nothing waits for the garbage collector, which servers start rarely,
    once a table is replaced with all of its models.
    """

    __slots__ = ("__weakref__",)


class Deferred:
    """Builds the target of one path, and puts it into its own place.

    Args:
        targets: The table where a request finds this object.
        path: The path.
        build: Builds the target.
        lock: Held while it builds, so that targets that share something do not build it twice.
    """

    __slots__ = ("_build", "_lock", "_path", "_targets")

    def __init__(
        self, targets: Targets, path: str, build: Callable[[], Target], lock: threading.Lock
    ) -> None:
        self._targets = weakref.ref(targets)
        self._path = path
        self._build = build
        self._lock = lock

    def __call__(self, environ: Environ) -> Answer:
        """The answer of the target; it takes some milliseconds more than that of the next request."""
        with self._lock:
            target = self._built()
        return target(environ)

    def _built(self) -> Target:
        targets = self._targets()
        if targets is None:
            # The table was replaced after the request had found this object.
            return self._build()
        if targets[self._path] is self:
            targets[self._path] = self._build()
        return targets[self._path]
