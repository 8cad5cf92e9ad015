"""The lock of a folder in an object store, which keeps no locks: an object that its holder renews.

A job that was killed renews it no more: the next one watches it for a while, and takes it over if nothing
changes. Clocks of machines are not compared.
"""

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from unpickled.server import objects
from unpickled.server.errors import ServingError

# Seconds between two renewals, and those without one after which the holder is gone.
_RENEWAL, _PATIENCE = 5.0, 20.0
# Seconds in which two jobs that take it over at once see each other.
_SETTLED, _LOOK = 1.0, 0.5


class Lease:
    """The lock of one folder.

    Args:
        library: obstore.
        store: That of the folder.
        key: The name of the object that stands for the lock.
        folder: The address, for the error.
    """

    def __init__(self, library: Any, store: Any, key: str, folder: str) -> None:
        self._library, self._store, self._key, self._folder = library, store, key, folder
        self._token = secrets.token_hex(8)
        self._ended = threading.Event()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Have the lock within the block.

        Raises:
            ServingError: Another job has it, or the store does not answer.
        """
        with objects.naming(self._folder, "locked"):
            self._take()
        thread = threading.Thread(target=self._renew, name="lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()
            with suppress(*objects.failures()):
                self._library.delete(self._store, self._key)

    def _take(self) -> None:
        try:
            self._put(0, mode="create")
            return
        except self._library.exceptions.AlreadyExistsError:
            self._watch()
        self._put(0)
        time.sleep(_SETTLED)
        if self._holder() != self._token:
            raise self._taken()

    def _watch(self) -> None:
        """Return once the holder has not renewed it for a while; raise ServingError once it has."""
        before, until = self._content(), time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            time.sleep(_LOOK)
            content = self._content()
            if not content:
                return
            if content != before:
                raise self._taken()

    def _taken(self) -> ServingError:
        return ServingError(
            f"another job is writing to {self._folder}: wait for its end, or name another folder"
        )

    def _renew(self) -> None:
        count = 0
        while not self._ended.wait(_RENEWAL):
            count += 1
            # A store that is away for a moment is asked again next time.
            with suppress(*objects.failures()):
                self._put(count)

    def _put(self, count: int, **options: Any) -> None:
        self._library.put(self._store, self._key, f"{self._token} {count}".encode(), **options)

    def _content(self) -> bytes:
        """The content of the lock; empty once it is released."""
        try:
            return bytes(self._library.get(self._store, self._key).bytes())
        except FileNotFoundError:
            return b""

    def _holder(self) -> str:
        return self._content().decode().partition(" ")[0]
