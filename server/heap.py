"""The heap of this process, as the C library (glibc) keeps it: how it grows, and how it shrinks."""

import ctypes
from contextlib import suppress

# Parameters of mallopt(3), and bytes from which on a block is mapped by itself and unmapped when it is freed.
# glibc would raise the second one with each large block that is freed, and keep the memory of the next.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_LARGE = 1024 * 1024
# The errors of other libraries than glibc; TypeError is that of Windows.
_ELSEWHERE = OSError, AttributeError, TypeError


def bound(arenas: int) -> None:
    """Let large blocks go back to the system once they are freed, and threads share a few arenas.

    Each thread would have an arena of its own, up to eight for each processor, which keeps what was the most
    that its requests ever needed.
    """
    with suppress(*_ELSEWHERE):
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, _LARGE)
        library.mallopt(_TRIM_THRESHOLD, 4 * _LARGE)
        library.mallopt(_ARENA_MAX, arenas)


def trim() -> None:
    """Give freed memory back to the system: glibc would keep that of a large model, or of many requests."""
    with suppress(*_ELSEWHERE):
        ctypes.CDLL(None).malloc_trim(0)
