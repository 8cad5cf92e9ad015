"""Threads that read a body for ever, although its client has broken it off over HTTP/2.

granian takes the error of such a body for a part without bytes and asks for the next one, again and again, so
that its ``read`` never returns, with all of a processor (2.8.9). Nothing ends the thread but the end of its
process. Reading bytes that do come costs next to nothing: the time of the processor tells the two apart.
"""

import sys
import time
from collections.abc import Iterable
from contextlib import suppress

# Seconds of the processor that reading a part of a body, or a whole one, cannot take. Nothing reads less than
# so many bytes a second.
_PART, _WHOLE, _RATE = 0.25, 0.5, 20e6


class Spinning:
    """Finds such threads.

    Args:
        longest: The longest body that is read as a whole, in bytes.
    """

    def __init__(self, longest: int) -> None:
        self._whole = _WHOLE + longest / _RATE
        # The thing that a thread reads -> seconds of the processor that it had used when this was first seen.
        self._first: dict[object, float] = {}

    def count(self, parts: Iterable[tuple[int, float]], wholes: Iterable[tuple[object, int]]) -> int:
        """How many threads read for ever.

        Args:
            parts: Thread, and since when it waits for a part of a body, of streams and refused bodies.
            wholes: A thing that stands for a request whose body is read as a whole, and its thread.
        """
        if sys.platform != "linux":
            return 0
        reads: dict[object, tuple[int, float]] = {part: (part[0], _PART) for part in parts}
        reads |= {whole: (thread, self._whole) for whole, thread in wholes}
        used = {read: _used(thread) for read, (thread, _) in reads.items()}
        self._first = {read: self._first.get(read, seconds) for read, seconds in used.items()}
        return sum(used[read] - self._first[read] > most for read, (_, most) in reads.items())


def _used(thread: int) -> float:
    """Seconds of the processor that a thread of this process has used; 0 if it has just ended."""
    with suppress(OSError):
        return time.clock_gettime(time.pthread_getcpuclockid(thread))
    return 0.0
