"""An object as a file to read: its ranges are asked for one after the other."""

import io
from typing import Any

from unpickled.server import objects

# Bytes of the first request of a file, and of the longest one while it is read from the front to the back.
_SHORT, _LONG = 256 * 1024, 8 * 1024 * 1024


class Ranges(io.RawIOBase):
    """Reads an object by ranges; longer ones while it is read from the front to the back."""

    def __init__(self, library: Any, store: Any, path: str, key: str, described: dict[str, Any]) -> None:
        self._library, self._store, self._path, self._key = library, store, path, key
        self._size: int = described["size"]
        self._options = {} if described["e_tag"] is None else {"if_match": described["e_tag"]}
        self._position = 0
        # The last range: its start and its content.
        self._start, self._content = 0, memoryview(b"")
        self._length = _SHORT

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, origin + offset)
        return self._position

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")
        wanted = min(len(view), self._size - self._position)
        if wanted <= 0:
            return 0
        if not self._start <= self._position < self._start + len(self._content):
            self._fetch(wanted)
        begin = self._position - self._start
        part = self._content[begin : begin + wanted]
        view[: len(part)] = part
        self._position += len(part)
        if len(self._content) > _LONG:
            # A whole group of rows is held by its reader already.
            self._start, self._content = self._position, memoryview(b"")
        return len(part)

    def _fetch(self, wanted: int) -> None:
        follows = bool(self._content) and self._position == self._start + len(self._content)
        self._length = min(2 * self._length, _LONG) if follows else _SHORT
        start = self._position
        end = min(self._size, start + max(wanted, self._length))
        options = {"range": (start, end), **self._options}
        with objects.naming(self._path, "read"):
            content = self._library.get(self._store, self._key, options=options).bytes()
        self._start, self._content = start, memoryview(content).cast("B")
