"""The contents of model files that some process of a server is loading, and those that have passed a trial.

At the start nobody waits yet: a file is loaded at once, and noted while it is. If its process ends meanwhile,
some content is suspect: further ones are tried in another process first. So are all that arrive later, and
all that a process finds which replaces another one, unless they have been loaded before.

    file    | count | begun | note | note | ...   | digest | digest | ...
              |       |       |                     were loaded, the newest in place of the oldest
              |       |       digest and process, while the process loads the content
              |       whether a process has loaded all that there was at the start
              how many were loaded
"""

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
from unpickled.server.shared import exclusive

_COUNT, _DIGEST, _NOTE = struct.Struct("<Q"), 32, struct.Struct("<32sQ")
_BEGUN = _COUNT.size
_FIRST_NOTE = _BEGUN + 8
_NOTES, _PASSED = 64, 1024
_FIRST_PASSED = _FIRST_NOTE + _NOTES * _NOTE.size
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
            if not self._has_passed(digest):
                self._trial.check(data)
                self._note_passed(digest)

    def begin(self) -> None:
        """Note that this process has loaded all that there was at the start: clients rely on it now."""
        self._memory[_BEGUN] = 1

    @property
    def cautious(self) -> bool:
        """Whether contents are to be tried first: clients rely on the server, or a load ended a process."""
        with self._locked(_NOTING):
            ended = any(process and not _lives(process) for _, _, process in self._notes())
        return bool(self._memory[_BEGUN]) or ended

    @contextmanager
    def loading(self, sha256: str) -> Iterator[None]:
        """Note that this process loads the content, until the end of the block."""
        digest = bytes.fromhex(sha256)
        place = self._note(digest)
        try:
            yield
        finally:
            _NOTE.pack_into(self._memory, place, b"", 0)
        self._note_passed(digest)

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
            place = next(free, _FIRST_NOTE)
            _NOTE.pack_into(self._memory, place, digest, os.getpid())
            return place

    def _notes(self) -> Iterator[tuple[int, bytes, int]]:
        """Place, digest and process of each note; without a process, the place is free."""
        for place in range(_FIRST_NOTE, _FIRST_PASSED, _NOTE.size):
            yield place, *_NOTE.unpack_from(self._memory, place)

    def _has_passed(self, digest: bytes) -> bool:
        return self._memory.find(digest, _FIRST_PASSED) >= 0

    def _note_passed(self, digest: bytes) -> None:
        with self._locked(_NOTING):
            if self._has_passed(digest):
                return
            (count,) = _COUNT.unpack_from(self._memory)
            place = _FIRST_PASSED + count % _PASSED * _DIGEST
            self._memory[place : place + _DIGEST] = digest
            _COUNT.pack_into(self._memory, 0, count + 1)

    @contextmanager
    def _locked(self, byte: int) -> Iterator[None]:
        with exclusive(self._descriptor, byte, 1):
            yield

    def __getstate__(self) -> Any:
        return reduction.DupFd(self._descriptor)

    def __setstate__(self, state: Any) -> None:
        self._map(state.detach())

    def _map(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._memory = mmap.mmap(descriptor, _SIZE)
        self._trial = Trial()
        weakref.finalize(self, os.close, descriptor).atexit = False
        weakref.finalize(self, self._trial.close).atexit = False


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
