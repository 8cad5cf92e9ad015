"""The memory that large requests hold in one process: bodies while they come and wait, and answers.

It bounds the bytes that arrive from outside. The values of a body, while it is decoded and run, are bounded
otherwise: only a few requests have a turn at a time, and they decode in slices.
"""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from unpickled.server.errors import Overloaded

# Whatever the memory of the machine, a worker takes no more by default.
_MOST = 2 * 1024**3
# Bytes of an answer that counts for nothing.
_SHORT = 256 * 1024


class Budget:
    """The bytes that large requests may hold at once.

    Args:
        total: The number of bytes. A request that is the only one may hold more, so that every body that
            is short enough can be answered at some time.
        count: Is told of each refusal with the name of the model.

    Attributes:
        held: The bytes that are held now.
        ended: Is set when a large request has ended.
        needed: Whether a request was refused; whoever makes room sets it back.
    """

    def __init__(self, total: int, count: Callable[[str], None]) -> None:
        self.total = total
        self.held = 0
        self.ended = threading.Event()
        self.needed = False
        self._count = count
        self._lock = threading.Lock()

    def share(self, model: str) -> "Share":
        """The share of one request for a model, which is nothing yet."""
        return Share(self, model)

    def take(self, share: "Share", size: int) -> None:
        """Add bytes to a share; Overloaded where there are not so many left."""
        with self._lock:
            others = self.held - share.size
            if not others or self.held + size <= self.total:
                self.held += size
                share.size += size
                return
        self.needed = True
        self._count(share.model)
        raise Overloaded(
            f"large requests hold {others} bytes here, and {self.total} is the most: ask again, send fewer "
            "rows, or raise memory_budget",
            headers={"Retry-After": "1"},
        )

    def set(self, share: "Share", size: int) -> None:
        """Let a share be of so many bytes, be there so many left or not."""
        with self._lock:
            less = size < share.size
            self.held += size - share.size
            share.size = size
        if less:
            self.ended.set()


class Share:
    """The bytes that one request holds; a context that releases them.

    Attributes:
        model: The model that the request is for.
        size: The number of bytes.
    """

    __slots__ = ("_budget", "_kept", "model", "size")

    def __init__(self, budget: Budget, model: str) -> None:
        self._budget = budget
        self.model = model
        self.size = 0
        self._kept = False

    def take(self, size: int) -> None:
        """Hold more bytes; raises Overloaded."""
        self._budget.take(self, size)

    def become(self, size: int) -> None:
        """Hold so many bytes from now on: those of an answer in place of those of its request.

        An answer that is there is not refused. Those who come later find less left. A short one counts for
        nothing.
        """
        size = size if size > _SHORT else 0
        if size or self.size:
            self._budget.set(self, size)

    def release(self) -> None:
        """Hold nothing any more; may be called again."""
        if self.size:
            self._budget.set(self, 0)

    def keep(self) -> None:
        """Release nothing at the end of the context: whoever sends the answer does so later."""
        self._kept = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._kept:
            self.release()


def default(memory: int, workers: int, longest: int) -> int:
    """The total of one worker by default: its share of half the ``memory``.

    At least that of four bodies of ``longest`` bytes: what a body expands to counts beside it.
    """
    return max(4 * longest, min(_MOST, memory // 2 // workers))
