"""The places that files of tables are in: the disks of this machine, and stores of objects."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import BinaryIO, Protocol

from unpickled.server import objects
from unpickled.server.batch.entry import Entry
from unpickled.server.batch.local import Local
from unpickled.server.batch.objects import storage_at
from unpickled.server.errors import ServingError
from unpickled.server.quote import quoted


class Storage(Protocol):
    """Reads and writes files. Errors of the place are OSError. Any thread may call it."""

    def list(self, pattern: str) -> "list[Entry]":
        """The files that a path, a folder or a pattern with ``*``, ``?`` and ``**`` stands for, sorted.

        A folder stands for all files in it and in its folders. Hidden ones, whose names begin with a dot or
        an underscore, are left out, unless the path names them. None where there is none.
        """

    def open(self, path: str) -> BinaryIO:
        """A file to read, in which one can go to any place, buffered."""

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


def storage_of(address: str) -> Storage:
    """The storage of a path or an address.

    Raises:
        ServingError: The address is of a kind that is not read here.
    """
    scheme, mark, _ = address.partition("://")
    if not mark:
        return _LOCAL
    if objects.is_address(address):
        return storage_at(objects.address_of(address).root)
    raise ServingError(f"{quoted(address)} is no place for files here: name a path without {scheme}://")


def real(path: str) -> str:
    """The one name of a file that has several, such as ``a.csv``, ``./a.csv`` and a link to it."""
    if not objects.is_address(path):
        return os.path.realpath(path)
    address = objects.address_of(path)
    return os.path.realpath(f"/{address.key}") if address.scheme == "file" else address.at(address.key)


def joined(folder: str, name: str) -> str:
    """The path of a file in a folder."""
    return f"{folder.rstrip('/')}/{name}" if folder else name


def lines(content: bytes) -> Iterator[bytes]:
    """The whole lines of a file that is appended to: its last one may be cut off by a power cut."""
    return (line for line in content.split(b"\n")[:-1] if line)


_LOCAL = Local()
