"""A walk over the bytes of a protobuf message, which copies nothing and gives up early on junk.

Each field is a key, which holds its number and its wire type, and a varint, 4 or 8 bytes, or a length and so
many bytes.
"""

import re
from collections.abc import Iterator, Set
from typing import Any

import numpy as np
import numpy.typing as npt

from unpickled.server.errors import ArtifactError

DAMAGED = "it is not a complete ONNX file: truncated or damaged"

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# Above so many fields, those of long runs left out, a file is refused. A bagging of 200 members has 9,000.
_MOST_FIELDS = 300_000
# Keys of the fields that may come in runs of millions: an attribute's floats, ints and strings, and the
# strings of a tensor.
FLOATS, INTS, STRINGS, TEXTS = 7 << 3 | _FIXED32, 8 << 3 | _VARINT, 9 << 3 | _BYTES, 6 << 3 | _BYTES
# Where fewer bytes are left, a run is read field by field.
_SHORT = 512
_SHORT_STRING = b"|".join(rb"\x%02x[\s\S]{%d}" % (size, size) for size in range(128))
_RUNS = {
    FLOATS: re.compile(rb"(?:\x3d[\s\S]{4})++"),
    STRINGS: re.compile(rb"(?:\x4a(?:%b))++" % _SHORT_STRING),
    TEXTS: re.compile(rb"(?:\x32(?:%b))++" % _SHORT_STRING),
}
# The part of four bytes that a varint of 0 to 4 bytes takes.
_KEPT = np.array([0, 0xFF, 0xFFFF, 0xFFFFFF, 0xFFFFFFFF], np.uint32)

Numbers = npt.NDArray[np.uint32]


def number(key: int) -> int:
    """The number of the field that has this key."""
    return key >> 3


class Walk:
    """One walk over a file; the fields that it meets are counted.

    Every method raises ArtifactError where the bytes are no such message, or hold more fields than a model.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._left = _MOST_FIELDS

    def fields(
        self, start: int, end: int, keys: Set[int], runs: Set[int] = frozenset()
    ) -> Iterator[tuple[int, int, int]]:
        """Key, value and end of each field of the message between two places; ``keys`` are those it may have.

        The value of a varint is its number, that of any other field the place where it begins. Several fields
        in a row with the same key of ``runs`` may come as one, whose value is the place of the first key.
        """
        while start < end:
            begin = start
            try:
                key, value, start = self._field(begin, keys)
            except IndexError:
                raise ArtifactError(DAMAGED) from None
            self._left -= 1
            if start > end or self._left < 0:
                raise ArtifactError(DAMAGED if start > end else "it has more parts than any model has")
            if key in runs:
                value = begin
                if end - begin > _SHORT:
                    start = self._end_of_run(key, begin, start, end)
                    # To find the end of such a run takes a look at all that follows: once.
                    keys = keys - {INTS} if key == INTS else keys
            yield key, value, start

    def text(self, start: int, end: int) -> str:
        """The text between two places."""
        return self.data[start:end].decode("utf-8", "replace")

    def numbers(self, start: int, end: int) -> Numbers:
        """The values of a run of INTS. Those above 2**28 or below 0 come as 2**32 - 1."""
        pairs = np.frombuffer(self.data, np.uint8, (end - start) // 2 * 2, start).reshape(-1, 2)
        if 2 * len(pairs) == end - start and (pairs[:, 0] == INTS).all() and (pairs[:, 1] < 0x80).all():
            return pairs[:, 1].astype(np.uint32)
        bytes_, keys, ends = self._ints(start, end)
        sizes = ends - keys
        fits = sizes <= 4
        # Four bytes at every place; those beyond the last come from a copy with room for them.
        room = np.append(bytes_, np.zeros(4, np.uint8))
        words = np.ndarray((len(bytes_),), "<u4", room, 0, (1,))[keys + 1]
        words &= _KEPT[np.where(fits, sizes, 0)]
        values = words & 0x7F | words >> 1 & 0x3F80 | words >> 2 & 0x1FC000 | words >> 3 & 0xFE00000
        return np.where(fits, values, np.uint32(0xFFFFFFFF))

    def _field(self, start: int, keys: Set[int]) -> tuple[int, int, int]:
        """Key, value and end of the field that begins there. Raises IndexError at the end of the file."""
        key, start = self._varint(start)
        if key not in keys:
            raise ArtifactError(DAMAGED)
        kind = key & 7
        if kind == _BYTES:
            size, start = self._varint(start)
            return key, start, start + size
        if kind == _VARINT:
            return key, *self._varint(start)
        return key, start, start + (4 if kind == _FIXED32 else 8)

    def _end_of_run(self, key: int, start: int, first: int, end: int) -> int:
        """The end of the fields with this key that follow one another; ``first`` is that of the first."""
        if key == INTS:
            return start + int(self._ints(start, end)[2][-1]) + 1
        run = _RUNS[key].match(self.data, start, end)
        return run.end() if run else first

    def _ints(self, start: int, end: int) -> tuple[npt.NDArray[np.uint8], Any, Any]:
        """The bytes, and where in them each key and each last byte of a value of a run of INTS is."""
        bytes_ = np.frombuffer(self.data, np.uint8, end - start, start)
        # A key, and the last byte of a varint, lack the highest bit: the two take turns.
        last = np.flatnonzero(bytes_ < 0x80)
        count = len(last) // 2
        keys, ends = last[: 2 * count : 2], last[1 : 2 * count : 2]
        orderly = bytes_[keys] == INTS
        orderly[1:] &= keys[1:] == ends[:-1] + 1
        if not orderly.all():
            count = int(orderly.argmin())
        return bytes_, keys[:count], ends[:count]

    def _varint(self, position: int) -> tuple[int, int]:
        value = self.data[position]
        if value < 0x80:
            return value, position + 1
        value = shift = 0
        while True:
            byte = self.data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, position
            shift += 7
            if shift > 63:
                raise ArtifactError(DAMAGED)
