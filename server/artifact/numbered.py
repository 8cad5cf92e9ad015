"""The numbered folders of a model's versions: each gets its number once all of its bytes are on disk."""

import errno
import os
from pathlib import Path

from unpickled.server.errors import ServingError
from unpickled.server.system import POSIX


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
        ServingError: The number is taken.
        OSError: The folder cannot be renamed.
    """
    while True:
        target = home / str(max(numbers(home), default=0) + 1 if number is None else number)
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
