"""The interface of all places."""

from contextlib import AbstractContextManager
from typing import BinaryIO, NamedTuple, Protocol


class Entry(NamedTuple):
    """A file that is there.

    Attributes:
        path: Its path or address.
        name: Its path below the folder that the pattern names, with slashes.
        size: Its size in bytes.
        changed: The time or the tag of its last change: another one means that its content may be another.
    """

    path: str
    name: str
    size: int
    changed: str


class Place(Protocol):
    """Reads and writes files. Errors of the place are OSError. Any thread may call it."""

    def list(self, pattern: str) -> "list[Entry]":
        """The files that a path, a folder or a pattern with ``*``, ``?`` and ``**`` stands for, sorted.

        A folder stands for all files in it and in its folders. Hidden ones, whose names begin with a dot or
        an underscore, are left out, unless the path names them. None where there is none.
        """

    def open(self, path: str) -> BinaryIO:
        """A file to read, in which one can go to any place, buffered."""

    def check(self, file: BinaryIO) -> None:
        """Raise OSError if an open file has changed since it was opened: its last row may be half of one."""

    def write(self, path: str) -> AbstractContextManager[BinaryIO]:
        """A file to write. It appears whole, and on the disk, at the end of the block.

        If the block raises, nothing appears, and a file that was there stays.
        """

    def append(self, path: str, content: bytes) -> None:
        """Add lines to the end of a file, which are on the disk when this returns.

        No other process writes to it.
        """

    def read(self, path: str) -> bytes | None:
        """The content of a file; None where there is none."""

    def remove(self, path: str) -> None:
        """Remove a file, if it is there."""

    def sweep(self, folder: str) -> None:
        """Remove what killed processes have left half written in a folder and in its folders."""

    def locked(self, folder: str) -> AbstractContextManager[None]:
        """No other job has this folder within the block. Raises ServingError where one has."""
