"""Memory that the processes of one server share."""

import fcntl
import mmap
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import reduction
from typing import Any

from unpickled.server.anonymous import anonymous_file


class Shared:
    """``size`` bytes, zeros at first; created before the workers, which inherit them or get them by pickle.

    The semaphores of ``multiprocessing`` would need a /dev/shm that may be written to, and a worker that is
    killed would hold a lock of theirs for ever.
    """

    def __init__(self, size: int) -> None:
        self._map(anonymous_file(size, "shared"), size)

    def __getstate__(self) -> Any:
        return reduction.DupFd(self._descriptor), self._size

    def __setstate__(self, state: Any) -> None:
        descriptor, size = state
        self._map(descriptor.detach(), size)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        # The kernel releases a record lock when its process ends, even by SIGKILL.
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN)

    def _map(self, descriptor: int, size: int) -> None:
        self._descriptor, self._size = descriptor, size
        self._memory = mmap.mmap(descriptor, size)
        weakref.finalize(self, os.close, descriptor).atexit = False
