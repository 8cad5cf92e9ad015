"""Paths and addresses: the names of files in all places."""

import os

from unpickled.server import objects


def real(path: str) -> str:
    """The one name of a file that has several, such as ``a.csv``, ``./a.csv`` and a link to it."""
    if not objects.is_address(path):
        return os.path.realpath(path)
    address = objects.address_of(path)
    return os.path.realpath(f"/{address.key}") if address.scheme == "file" else address.at(address.key)


def joined(folder: str, name: str) -> str:
    """The path of a file in a folder."""
    return f"{folder.rstrip('/')}/{name}" if folder else name


def absolute(path: str) -> str:
    """A path that processes with another working folder find; addresses stay as they are."""
    return path if "://" in path else os.path.abspath(path)
