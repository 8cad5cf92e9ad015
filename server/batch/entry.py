"""A file that a storage lists."""

from typing import NamedTuple


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
