"""Copies of the files that say who may ask, in memory that the workers of a server share.

Workers that run go on with what they have read when such a file is wrong or gone, or its address does not
answer. One that starts meanwhile finds here what they have read.

    memory  | checksum | length | content ... | checksum | length | content ...
"""

import struct
import zlib

from unpickled.server.access import copies, keys, signers
from unpickled.server.shared import Shared

_HEAD = struct.Struct("=IQ")
# Name -> where its part begins, and the longest content; pages that nobody writes to take no memory.
_PLACES = {
    copies.KEYS: (0, keys.LONGEST),
    copies.SIGNERS: (_HEAD.size + keys.LONGEST, signers.LONGEST),
}


class SharedCopies(Shared, copies.Copies):
    """The copies of one server."""

    def __init__(self) -> None:
        super().__init__(sum(_HEAD.size + longest for _, longest in _PLACES.values()))

    def save(self, name: str, content: bytes) -> None:
        """Keep a content that was found right, in place of the one before."""
        start, longest = _PLACES[name]
        if len(content) > longest:
            return
        whole = _HEAD.pack(zlib.crc32(content), len(content)) + content
        with self._locked():
            self._memory[start : start + len(whole)] = whole

    def saved(self, name: str) -> bytes | None:
        """The last content of that name; None where there is none, or its writer was killed in between."""
        start, longest = _PLACES[name]
        with self._locked():
            checksum, length = _HEAD.unpack_from(self._memory, start)
            begin = start + _HEAD.size
            content = self._memory[begin : begin + min(length, longest)]
        return content if length and zlib.crc32(content) == checksum else None
