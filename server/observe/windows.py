"""Counts of the last hour, day and week, right across worker processes and their replacement.

Counts are arrays of numbers that add up: rows in the cells of a histogram, right and wrong answers, sums of
errors. Each process adds its own to buckets of time in the shared memory, and any process adds up the buckets
of all of them. A replaced worker goes on with the block of its predecessor, so nothing is lost with a worker;
the memory ends with the server.

    (kind, *key, window, bucket)        the size of the counts, the counts, zeros

A window is made of buckets: of 5 minutes for 1h, of 1 hour for 24h, of 6 hours for 7d. They begin at
multiples of their width since 1970. The oldest bucket of a window lies in it at least in part, so a window
has at least its length, and at most a bucket more.

    memory = windows.shared(blocks=4, began=time.time())        before the workers start
    counts = Windows(memory.claim(), "accuracy")                in each worker
    counts.add(("iris", "1"), np.array([right, wrong]), time.time())
    windows.totals(memory, "accuracy", ("iris",), "24h", time.time()).counts[("iris", "1")]
"""

import struct
import threading
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from unpickled.server.observe.counters import Block, Key, Memory

Floats = npt.NDArray[np.float64]
Window = Literal["1h", "24h", "7d"]


class Span(NamedTuple):
    """The seconds of a window, and of one of its buckets."""

    seconds: int
    width: int

    def first(self, now: float) -> int:
        """The number of the oldest bucket of the window that ends now."""
        return int((now - self.seconds) // self.width)

    def last(self, now: float) -> int:
        """The number of the bucket of this moment."""
        return int(now // self.width)


WINDOWS: dict[Window, Span] = {
    "1h": Span(3_600, 300),
    "24h": Span(86_400, 3_600),
    "7d": Span(604_800, 21_600),
}
# The window of a report where none is named, and that of the metrics.
DEFAULT: Window = "24h"

# Bytes of each block; what is not used of it takes no memory. A version with 30 features of ten cells each
# takes 250 kB, with 300 features 2 MB.
SIZE = 64 * 1024 * 1024
_BEGAN = struct.Struct("=d")
# The numbers of a series are rounded up, by an eighth at most: only a series of the same size gets the memory
# of a forgotten one, and versions that come and go differ by a few cells.
_EIGHTH = 3


def shared(blocks: int, began: float) -> Memory:
    """New memory for windows; ``began`` is the time from which everything will be counted."""
    memory = Memory(blocks, SIZE)
    _BEGAN.pack_into(memory.common, 0, began)
    return memory


class Windows:
    """Adds the counts of one process to the buckets of all windows. Any thread may add.

    Args:
        block: The block of this process in a memory of ``shared``.
        kind: Names what is counted; all keys of a kind belong to one such object of a process.
    """

    def __init__(self, block: Block, kind: str) -> None:
        self._block = block
        self._kind = kind
        self._lock = threading.Lock()
        # All buckets of this process, also those of its predecessors.
        self._begun = {key for key in block.keys() if key[0] == kind}  # noqa: SIM118 - a method of blocks
        # The buckets of the last addition, by window.
        self._now: tuple[int, ...] = ()
        # The numbers of these buckets.
        self._open: dict[Key, list[Floats]] = {}

    def add(self, key: Key, counts: Floats, now: float) -> None:
        """Add counts (size,) to those of a key at the time ``now``, in seconds since 1970.

        ``now`` may lie in the past: each window that has this moment gets the counts. The counts of one key
        always have one size: ValueError otherwise.
        """
        with self._lock:
            buckets = tuple(span.last(now) for span in WINDOWS.values())
            if buckets != self._now:
                self._turn(buckets, now)
            series = self._open.get(key)
            if series is None:
                series = self._open[key] = [
                    self._series((self._kind, *key, window, str(bucket)), len(counts))
                    for window, bucket in zip(WINDOWS, buckets, strict=True)
                ]
            for numbers in series:
                numbers += counts

    def _turn(self, buckets: tuple[int, ...], now: float) -> None:
        """Begin new buckets, and forget those that no window has any more."""
        self._now = buckets
        self._open.clear()
        for key in [key for key in self._begun if _is_over(key, now)]:
            self._block.forget(key)
            self._begun.discard(key)

    def _series(self, key: Key, size: int) -> Floats:
        numbers = np.asarray(self._block.series(key, _room(size)))
        self._begun.add(key)
        if numbers[0] not in (0, size):
            raise ValueError(f"{key} has {numbers[0]:.0f} counts, not {size}")
        numbers[0] = size
        return numbers[1 : size + 1]


class Totals(NamedTuple):
    """The counts of one window.

    Attributes:
        since: When it begins, in seconds since 1970: with its oldest bucket, or with the counting, if that
            began later.
        complete: Whether counting began before the window.
        counts: Those of each key (size,), all processes and buckets added up.
    """

    since: float
    complete: bool
    counts: dict[Key, Floats]


def totals(memory: Memory, kind: str, prefix: Key, window: Window, now: float) -> Totals:
    """The counts of the keys that begin with ``prefix`` in the window that ends at the time ``now``."""
    span = WINDOWS[window]
    # One more: the clock of this process may be a moment behind.
    numbers = {str(bucket) for bucket in range(span.first(now), span.last(now) + 2)}
    head = (kind, *prefix)

    def matches(key: Key) -> bool:
        return key[: len(head)] == head and key[-2] == window and key[-1] in numbers

    counts: dict[Key, Floats] = {}
    for key, content in memory.find(matches):
        series = np.frombuffer(content)
        added = series[1 : int(series[0]) + 1]
        before = counts.get(key[1:-2])
        counts[key[1:-2]] = added if before is None else before + added
    (began,) = _BEGAN.unpack_from(memory.common)
    since = max(span.first(now) * span.width, began)
    return Totals(since, began <= now - span.seconds, counts)


def total(memory: Memory, kind: str, key: Key, window: Window, now: float) -> tuple[Floats, float]:
    """The counts of one key in a window, (0,) where there are none, and when the window begins."""
    read = totals(memory, kind, key, window, now)
    return read.counts.get(key, np.zeros(0)), read.since


def _is_over(key: Key, now: float) -> bool:
    """Whether the window of a bucket has passed."""
    *_, window, bucket = key
    return int(bucket) < WINDOWS[window].first(now)  # type: ignore[index]


def _room(size: int) -> int:
    """The numbers of a series for so many counts."""
    shift = max(0, (size + 1).bit_length() - 1 - _EIGHTH)
    return -(-(size + 1) >> shift) << shift
