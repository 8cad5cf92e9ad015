"""The claim of a server on its journals: a locked file in the folder of the payload log.

    <folder>/.servers/<token>      locked for as long as a process of that server lives

The kernel releases the lock with the last process that has inherited the file, even after SIGKILL. Then
another server may finish what is left.
"""

import base64
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import reduction
from pathlib import Path
from typing import Any

from unpickled.server.errors import ConfigError
from unpickled.server.system import fcntl

_SERVERS = ".servers"


class Claim:
    """The claim of this server; made before its workers, which inherit it.

    Args:
        folder: The folder of the payload log, which is made where there is none.

    Attributes:
        token: Eight letters and digits, which the names of its journals begin with.

    Raises:
        ConfigError: The folder cannot be written to.
    """

    def __init__(self, folder: str) -> None:
        self.token = base64.b32encode(os.urandom(5)).decode().lower()
        path = Path(folder) / _SERVERS / self.token
        try:
            Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
            path.parent.mkdir(mode=0o700, exist_ok=True)
            self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(
                f"the payload log cannot be written to {folder}: {error.filename or path}: {error.strerror}"
            ) from None

    def __getstate__(self) -> Any:
        return self.token, reduction.DupFd(self.descriptor)

    def __setstate__(self, state: Any) -> None:
        self.token, descriptor = state
        self.descriptor = descriptor.detach()


def give_up(folder: Path, token: str) -> None:
    """Remove the claim of a server that has left no journal."""
    with suppress(OSError):
        (folder / _SERVERS / token).unlink()


def tokens(folder: Path) -> set[str]:
    """The servers that have ever claimed journals in a folder, and have not been wound up."""
    with suppress(OSError):
        return set(os.listdir(folder / _SERVERS))
    return set()


@contextmanager
def wound_up(folder: Path, token: str) -> Iterator[bool]:
    """Whether a server has ended, so that its journals may be finished within the block, by nobody else.

    Its claim is removed afterwards, unless the block fails.
    """
    path = folder / _SERVERS / token
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        yield False
        return
    try:
        ended = _locks(descriptor, path)
        yield ended
        if ended:
            with suppress(OSError):
                path.unlink()
    finally:
        os.close(descriptor)


def _locks(descriptor: int, path: Path) -> bool:
    """Whether the lock is free, and the file is not just being removed by another server."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False
