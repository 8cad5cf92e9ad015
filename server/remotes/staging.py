"""Hidden folders in which files from elsewhere are put together, before they become versions.

A server does not see them. The process that fills one holds a lock on it, so that others can tell what a
process has left that was killed.
"""

import contextlib
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unpickled.server.errors import RemoteError
from unpickled.server.system import fcntl

_PREFIX = ".pull-"
# Seconds after which a folder on a file system without locks counts as left.
_LEFT = 24 * 3600


@contextmanager
def folder(models: Path, name: str) -> Iterator[Path]:
    """An empty folder on the file system of a model, which is gone after the block unless it was renamed.

    Raises:
        RemoteError: It cannot be made.
    """
    home = models / name
    try:
        models.mkdir(parents=True, exist_ok=True)
        # A model without versions is not to be seen yet; one with versions may lie on another file system.
        parent = home if home.is_dir() else models
        for place in {parent, models}:
            _sweep(place)
        path, lock = _made(parent)
    except OSError as error:
        raise RemoteError(f"{error.filename or home} cannot be written to: {error.strerror}") from None
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def _made(parent: Path) -> tuple[Path, int]:
    """A new folder, and the descriptor that locks it."""
    while True:
        path = parent / f"{_PREFIX}{uuid.uuid4().hex}"
        path.mkdir()
        lock = _opened(path)
        if lock is not None and _is_locked(lock, wait=True) is not None and _is_at(path, lock):
            return path, lock
        # A sweep came between.
        if lock is not None:
            os.close(lock)


def _sweep(parent: Path) -> None:
    """Remove the folders of processes that have ended."""
    for path in parent.glob(f"{_PREFIX}*"):
        lock = _opened(path)
        if lock is None:
            continue
        try:
            with contextlib.suppress(FileNotFoundError):
                locked = _is_locked(lock, wait=False)
                if locked or (locked is False and time.time() - path.stat().st_mtime > _LEFT):
                    shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(lock)


def _opened(path: Path) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None


def _is_locked(lock: int, wait: bool) -> bool | None:
    """Lock a folder; None where another process has it, False where the file system has no such locks."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return None
    except OSError:
        return False
    return True


def _is_at(path: Path, lock: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(lock))
    except FileNotFoundError:
        return False
