"""The options of runs, one object per thread, by which another thread can end a run."""

import threading
from collections.abc import Callable
from typing import Any, NoReturn

from unpickled.server.errors import DeadlineExceeded, InferenceFailed


class Runs(threading.local):
    """Hands each thread its own options: making them for every run would cost it 0.5 us.

    Args:
        make: Makes the options of ONNX Runtime, whose flag ``terminate`` ends a run.
    """

    # Thread id -> its options, for all threads. A later thread with the same id replaces the entry.
    _of_threads: dict[int, Any] = {}  # noqa: RUF012

    def __init__(self, make: Callable[[], Any]) -> None:
        self.options = make()
        self._of_threads[threading.get_ident()] = self.options

    def end(self, thread: int) -> None:
        """Have the run of a thread fail at the next node of its graph, and further ones until ``allow``."""
        if thread in self._of_threads:
            self._of_threads[thread].terminate = True

    def allow(self, thread: int) -> None:
        """Let a thread run sessions again."""
        if thread in self._of_threads:
            self._of_threads[thread].terminate = False

    def fail(self, error: Exception) -> NoReturn:
        """Raise the error of a run that has failed in the present thread: another may have ended it."""
        if self.options.terminate:
            self.options.terminate = False
            raise DeadlineExceeded("the model took longer than the request may: send fewer rows") from None
        raise InferenceFailed("the model failed on this request") from error
