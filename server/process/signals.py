"""The signals to the main process: none is lost, however close they come."""

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType


class Signals:
    """Notes signals, and wakes a selector that waits for this object to be readable.

    A handler alone would not do: the kernel may run it in another thread, or just before the main thread
    begins to wait, and nobody would look at what it noted.
    """

    def __init__(self) -> None:
        self._noted: list[int] = []
        self._numbers: tuple[signal.Signals, ...] = ()
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def fileno(self) -> int:
        """The descriptor that is readable once a signal has come."""
        return self._reader.fileno()

    def follow(self, *numbers: signal.Signals) -> None:
        """Note these signals from now on, for as long as the process lives."""
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._numbers = numbers
        for number in numbers:
            signal.signal(number, self._note)

    def take(self) -> list[int]:
        """The signals that have come since the last call, in their order."""
        with suppress(BlockingIOError):
            while self._reader.recv(4096):
                pass
        noted, self._noted = self._noted, []
        return noted

    def forget(self) -> None:
        """Note nothing more, in a process that was forked from the one that does."""
        if self._writer.fileno() >= 0:
            signal.set_wakeup_fd(-1)
            for number in self._numbers:
                signal.signal(number, signal.SIG_DFL)
        self._reader.close()
        self._writer.close()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._noted.append(number)


@contextmanager
def held(*numbers: signal.Signals) -> Iterator[None]:
    """Hold signals back within the block; a process that is started there begins with them held back."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
