"""The numbered folders of a model's versions: each gets its number once all of its bytes are on disk."""

import errno
import os
from pathlib import Path

from unpickled.server.errors import ServingError
from unpickled.server.system import POSIX

# The highest number: servers take no folder with more digits for a version.
_HIGHEST = 10**18 - 1


def numbers(home: Path) -> list[int]:
    """The numbers in a model's folder, in no order; whether there is a file in each is not looked at."""
    names = [path.name for path in home.iterdir()]
    return [int(name) for name in names if name.isascii() and name.isdigit()]


def claim(staging: Path, home: Path, number: int | None = None) -> Path:
    """Rename a folder to a number. A rename cannot replace a version: its folder is not empty.

    Args:
        staging: The folder, on the same file system, with all of its files.
        home: The folder of the model.
        number: The number; without it, the one after the highest.

    Raises:
        ServingError: The number is taken, or none is left above the others.
        OSError: The folder cannot be renamed.
    """
    while True:
        target = home / str(_next(home) if number is None else number)
        try:
            staging.rename(target)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                raise
            if number is not None:
                raise ServingError(f"{target} is there already: choose another number") from None
            continue  # another program took the number
        for directory in (home, home.parent):
            sync(directory)
        return target


def _next(home: Path) -> int:
    highest = max(numbers(home), default=0)
    if highest >= _HIGHEST:
        raise ServingError(f"{home / str(highest)} leaves no higher number to the next version: rename it")
    return highest + 1


def write(path: Path, payload: bytes) -> None:
    """Write a new file, and wait until it is on disk."""
    with path.open("xb") as file:
        file.write(payload)
        file.flush()
        os.fsync(file.fileno())
    sync(path.parent)


def sync(directory: Path) -> None:
    """Wait until the names in a folder are on disk."""
    if not POSIX:  # other systems cannot open a directory
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
