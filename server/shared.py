"""Memory that the processes of one server share."""

import errno
import mmap
import os
import random
import time
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from multiprocessing import reduction
from typing import Any, Self

from unpickled.server.anonymous import anonymous_file
from unpickled.server.system import fcntl

# Seconds between two attempts to get a lock, at most.
_RETRY = 0.005


@contextmanager
def exclusive(descriptor: int, start: int = 0, length: int = 0) -> Iterator[None]:
    """No other process is in such a block for the same bytes of a file; a length of 0 stands for all bytes.

    The kernel releases a record lock when its process ends, even by SIGKILL. The lock is that of the process:
    its threads need one of their own beside it.
    """
    while True:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX, length, start)
            break
        except OSError as error:
            if error.errno != errno.EDEADLK:
                raise
            # To the kernel, the locks of all threads are those of the process: it sees a circle where each of
            # two processes has a thread that holds a lock, and another one that waits.
            time.sleep(random.uniform(0.0, _RETRY))
    try:
        yield
    finally:
        fcntl.lockf(descriptor, fcntl.LOCK_UN, length, start)


class Shared:
    """``size`` bytes, zeros at first; created before the workers, which inherit them or get them by pickle.

    The semaphores of ``multiprocessing`` would need a /dev/shm that may be written to, and a worker that is
    killed would hold a lock of theirs for ever.
    """

    def __init__(self, size: int) -> None:
        self._map(anonymous_file(size, "shared"), size)

    @classmethod
    def attached(cls, descriptor: int, size: int) -> Self:
        """The same memory in another program, which has inherited its descriptor and now owns that."""
        shared = cls.__new__(cls)
        shared._map(descriptor, size)
        return shared

    @property
    def descriptor(self) -> int:
        """The descriptor of the memory, for a program that is to inherit it."""
        return self._descriptor

    @property
    def size(self) -> int:
        """Bytes of the memory."""
        return self._size

    def __getstate__(self) -> Any:
        return reduction.DupFd(self._descriptor), self._size

    def __setstate__(self, state: Any) -> None:
        descriptor, size = state
        self._map(descriptor.detach(), size)

    def _locked(self) -> AbstractContextManager[None]:
        return exclusive(self._descriptor)

    def _map(self, descriptor: int, size: int) -> None:
        self._descriptor, self._size = descriptor, size
        self._memory = mmap.mmap(descriptor, size)
        weakref.finalize(self, os.close, descriptor).atexit = False
