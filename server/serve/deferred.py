"""A target that is built when the first request asks for it: a server of many models starts without them."""

import threading
from collections.abc import Callable

from unpickled.server.message.answer import Answer, Environ, Target


class Deferred:
    """Builds the target of one path, and puts it into its own place.

    Args:
        targets: Path -> target; where a request finds this object.
        path: The path.
        build: Builds the target.
        lock: Held while it builds, so that targets that share something do not build it twice.
    """

    __slots__ = ("_build", "_lock", "_path", "_targets")

    def __init__(
        self, targets: dict[str, Target], path: str, build: Callable[[], Target], lock: threading.Lock
    ) -> None:
        self._targets = targets
        self._path = path
        self._build = build
        self._lock = lock

    def __call__(self, environ: Environ) -> Answer:
        """The answer of the target; it takes some milliseconds more than that of the next request."""
        with self._lock:
            if self._targets[self._path] is self:
                self._targets[self._path] = self._build()
        return self._targets[self._path](environ)
