"""Puts finished parts into an object store, from the process that writes the payload log alone.

A part that is uploaded has an empty hidden file beside it, so that it is not uploaded again; one that is
replaced has none any more. Objects have the names of the parts below the address:

    s3://bucket/log/iris/date=2026-11-29/<name>.parquet
"""

import logging
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from unpickled.server import objects
from unpickled.server.errors import ConfigError
from unpickled.server.payloads import parts

logger = logging.getLogger("unpickled")

_MARK = ".uploaded"
# Seconds after which a failed upload is tried again, at first and at most; each time twice as many.
_FIRST_PAUSE, _LONGEST_PAUSE = 2.0, 300.0
# The library itself tries so often and so long before an attempt has failed.
_ATTEMPT: dict[str, Any] = {"max_retries": 3, "retry_timeout": timedelta(seconds=60)}


class Uploaded(NamedTuple):
    """The files and bytes that were uploaded, and how many files wait."""

    files: int = 0
    bytes: int = 0
    waiting: int = 0


class Uploader:
    """Uploads the finished parts of a payload log, the oldest first.

    Args:
        folder: That of the payload log.
        address: That in the object store: s3://, gs://, az:// or file://. Credentials and regions come from
            the environment, as the store's own tools read it.

    Attributes:
        files, bytes: Uploaded so far.
        failures: Attempts that failed so far.
        waiting: Finished files that were not uploaded when this looked last.
    """

    def __init__(self, folder: Path, address: str) -> None:
        self._folder, self._address = folder, address
        self._store: Any = None
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_failing = False
        self.files = self.bytes = self.failures = self.waiting = 0

    def start(self) -> None:
        """Upload from now on, in a thread, until ``close``."""
        self._thread = threading.Thread(target=self._work, name="upload", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Look for finished parts now: one has just been finished."""
        self._wake.set()

    def close(self, patience: float = 5.0) -> None:
        """End the thread, after at most ``patience`` seconds; what is not uploaded is next time."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(patience)

    def attempt(self) -> Uploaded:
        """Upload every finished part that is not uploaded yet, up to the first that cannot be."""
        pending = [part for part in parts.find(self._folder) if not is_uploaded(part.path)]
        self.waiting = len(pending)
        count = size = 0
        for part in pending:
            if self._stop.is_set() or not self._put(part):
                break
            count, size = count + 1, size + part.size
            self.waiting -= 1
        self.files += count
        self.bytes += size
        return Uploaded(count, size, self.waiting)

    def _put(self, part: parts.Part) -> bool:
        obstore = objects.library()
        try:
            before = part.path.stat()
            if self._store is None:
                self._store = objects.opened(self._address, **_ATTEMPT)
            name = part.path.relative_to(self._folder).as_posix()
            obstore.put(self._store, name, part.path)
            # A part that was replaced meanwhile is uploaded again.
            if part.path.stat().st_ino == before.st_ino:
                _mark(part.path).touch()
        except FileNotFoundError:
            # Retention was faster.
            return True
        except objects.failures() as error:
            self.failures += 1
            if not self._is_failing:
                self._is_failing = True
                logger.error(
                    "%s cannot be uploaded to %s: %s", part.path, self._address, objects.cause(error)
                )
            return False
        if self._is_failing:
            self._is_failing = False
            logger.info("%s takes files again", self._address)
        return True

    def _work(self) -> None:
        pause = _FIRST_PAUSE
        while not self._stop.is_set():
            self._wake.clear()
            failures = self.failures
            self.attempt()
            if self._stop.is_set():
                # The wake-up that came with it was perhaps cleared above.
                return
            if self.failures == failures:
                pause = _FIRST_PAUSE
                self._wake.wait(_LONGEST_PAUSE)
            else:
                self._stop.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)


def check(address: str | None) -> None:
    """Raise ConfigError if parts are to be uploaded and obstore is missing; imports nothing."""
    if address is not None and not objects.is_installed():
        raise ConfigError(
            f"log_to is {address}, which needs obstore: pip install 'unpickled[objects]', or leave it out"
        )


def is_uploaded(path: Path) -> bool:
    """Whether a part has been uploaded as it is."""
    return _mark(path).exists()


def forget(path: Path) -> None:
    """Have a part, or what replaces it, uploaded again."""
    _mark(path).unlink(missing_ok=True)


def _mark(path: Path) -> Path:
    return path.with_name(f".{path.name}{_MARK}")
