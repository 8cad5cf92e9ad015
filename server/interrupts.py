"""Ctrl-C while modules are being imported ends the process at once, with status 130 and no traceback.

So does SIGTERM, with status 143, in the first process of a container: there the kernel ignores signals that
have no handler.

A KeyboardInterrupt would not do: an import may swallow it, and would show a traceback where it does not.
Programs import this module before all others, so it imports next to nothing.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


def end_at_once() -> None:
    """Let Ctrl-C end the process, until ``raise_again`` is called."""
    signal.signal(signal.SIGINT, _end)
    if os.getpid() == 1:
        signal.signal(signal.SIGTERM, _end)


def raise_again() -> None:
    """Let Ctrl-C raise KeyboardInterrupt, if it ends the process now."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def ended_at_once() -> Iterator[None]:
    """Let Ctrl-C end the process within the block."""
    handler = signal.signal(signal.SIGINT, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def _end(number: int, frame: FrameType | None) -> None:
    os._exit(128 + number)
