"""The contents of model files that some process of a server is loading, and those that have passed a trial.

At the start nobody waits yet: a file is loaded at once, and noted while it is. If its process ends meanwhile,
the content is suspect: its next load is tried in another process first. All contents that arrive later are.

    file    | count | note | note | ...   | digest | digest | ...
              |       |                     passed a trial, the newest in place of the oldest
              |       digest and process, while the process loads the content
              how many have passed
"""

import fcntl
import mmap
import os
import struct
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import reduction
from typing import Any

from unpickled.server.anonymous import anonymous_file
from unpickled.server.lifecycle.trial import Trial

_COUNT, _DIGEST, _NOTE = struct.Struct("<Q"), 32, struct.Struct("<32sQ")
_NOTES, _PASSED = 64, 1024
_FIRST_PASSED = _COUNT.size + _NOTES * _NOTE.size
_SIZE = _FIRST_PASSED + _PASSED * _DIGEST
# Bytes of the file: a lock on one guards the notes, on the other it gives each process its turn to try.
_NOTING, _TRYING = 0, 1


class Trials:
    """The knowledge that the processes of one server share.

    Create it before the workers: they inherit it through a fork, or ``multiprocessing`` sends it to them.
    """

    def __init__(self) -> None:
        self._map(anonymous_file(_SIZE, "trials"))

    def check(self, sha256: str, data: bytes) -> None:
        """Raise ArtifactError unless a process of its own can load the content.

        Processes take turns, so that one tries for all: a content that has passed is not tried again.
        """
        digest = bytes.fromhex(sha256)
        with self._locked(_TRYING):
            if self._memory.find(digest, _FIRST_PASSED) < 0:
                self._trial.check(data)
                self._note_passed(digest)

    def suspects(self, sha256: str) -> bool:
        """Whether a process has ended while it loaded this content."""
        digest = bytes.fromhex(sha256)
        with self._locked(_NOTING):
            return any(noted == digest and not _lives(process) for _, noted, process in self._notes())

    @contextmanager
    def loading(self, sha256: str) -> Iterator[None]:
        """Note that this process loads the content, until the end of the block."""
        place = self._note(bytes.fromhex(sha256))
        try:
            yield
        finally:
            _NOTE.pack_into(self._memory, place, b"", 0)

    def close(self) -> None:
        """End the process that tries contents, until there is another one to try."""
        self._trial.close()

    def _note(self, digest: bytes) -> int:
        with self._locked(_NOTING):
            free = (
                place
                for place, noted, process in self._notes()
                if not process or (noted == digest and not _lives(process))
            )
            place = next(free, _COUNT.size)
            _NOTE.pack_into(self._memory, place, digest, os.getpid())
            return place

    def _notes(self) -> Iterator[tuple[int, bytes, int]]:
        """Place, digest and process of each note; without a process, the place is free."""
        for place in range(_COUNT.size, _FIRST_PASSED, _NOTE.size):
            yield place, *_NOTE.unpack_from(self._memory, place)

    def _note_passed(self, digest: bytes) -> None:
        (count,) = _COUNT.unpack_from(self._memory)
        place = _FIRST_PASSED + count % _PASSED * _DIGEST
        self._memory[place : place + _DIGEST] = digest
        _COUNT.pack_into(self._memory, 0, count + 1)

    @contextmanager
    def _locked(self, byte: int) -> Iterator[None]:
        # The kernel releases a record lock when its process ends, even by SIGKILL.
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX, 1, byte)
        try:
            yield
        finally:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, byte)

    def __getstate__(self) -> Any:
        return reduction.DupFd(self._descriptor)

    def __setstate__(self, state: Any) -> None:
        self._map(state.detach())

    def _map(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._memory = mmap.mmap(descriptor, _SIZE)
        self._trial = Trial()
        weakref.finalize(self, os.close, descriptor).atexit = False


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
