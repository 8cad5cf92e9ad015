"""Rows on their way from the workers to the writer: one ring of shared memory for each worker.

A worker puts frames into its ring, and the process that writes the payload log takes them out. Neither takes
a lock, and either may be killed at any moment: a frame is there once the head has moved past it, and stays
until the tail does.

    file    | page: bytes of a ring, rings | schemas | ring 0 | ring 1 | ...
    ring    | page: head, tail | frames, around the end |
    frame   | length | crc | rows | stream | total | payload, filled up to 8 bytes |

Head and tail count bytes and only grow; the place in the ring is their remainder. Where a ring is empty, its
worker begins again at its start, so that a server that writes in time touches little of the memory.

The schemas describe the rows. Each is written once for all workers, and its number, the place in the file,
stands in the frames.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple, Self

from unpickled.server.shared import Shared

# Bytes of a ring, of all schemas, and in front of each part.
RING, _SCHEMAS, _PAGE = 16 * 1024 * 1024, 16 * 1024 * 1024, 4096
_HEAD = struct.Struct("=IIIIQ")
# The numbers that the checksum of a frame covers, beside its payload.
_COVERED = struct.Struct("=IIQ")
_ENTRY = struct.Struct("=II")
_ALIGNED = 8
# A length that stands for: the next frame is at the start of the ring.
_RESTART = 0xFFFFFFFF
# An empty ring begins again at its start once it has gone so far, in bytes.
_FAR = 64 * 1024
_HEAD_OF_RING, _TAIL = 0, 1


class Frame(NamedTuple):
    """Some rows.

    end: the tail of the ring once the frame is taken.
    rows: how many.
    stream: tells the schema, and whether a shadow answered; see Stream.
    total: the rows of the same version in this ring since the start of the server, those of the frame too.
    payload: the rows, as the worker has encoded them.
    """

    end: int
    rows: int
    stream: int
    total: int
    payload: bytes


class Ring:
    """The frames of one worker; one process puts them, and another one takes them."""

    def __init__(self, memory: memoryview) -> None:
        self._ends = memory[: 2 * _ALIGNED].cast("Q")
        self._data = memory[_PAGE:]
        self._size = len(self._data)

    @property
    def waiting(self) -> int:
        """Bytes that have not been taken."""
        return self._ends[_HEAD_OF_RING] - self._ends[_TAIL]

    def put(self, rows: int, stream: int, total: int, payload: bytes) -> bool:
        """Put a frame, for the one process that does; False where it has no room."""
        ends = self._ends
        head = ends[_HEAD_OF_RING]
        if head % self._size > _FAR and head == ends[_TAIL]:
            head = self._restart(head)
        end = head + _aligned(_HEAD.size + len(payload))
        if end - ends[_TAIL] > self._size:
            return False
        covered = _COVERED.pack(rows, stream, total)
        checksum = zlib.crc32(payload, zlib.crc32(covered))
        self._write(head, _HEAD.pack(len(payload), checksum, rows, stream, total) + payload)
        # Only now is the frame there. Its reader trusts the checksum, as some processors write in any order.
        ends[_HEAD_OF_RING] = end
        return True

    def holds(self, length: int) -> bool:
        """Whether an empty ring has room for a payload of this length."""
        return _aligned(_HEAD.size + length) <= self._size

    def frames(self) -> Iterator[Frame]:
        """The frames that have not been taken, the oldest first."""
        place, head = self._ends[_TAIL], self._ends[_HEAD_OF_RING]
        while place < head:
            if self._length(place) == _RESTART:
                place = self._next_start(place)
                continue
            frame = self._frame(place, head)
            if frame is None:
                return
            yield frame
            place = frame.end

    def release(self, end: int) -> None:
        """Take the frames up to ``end`` out, for the one process that does."""
        self._ends[_TAIL] = max(end, self._ends[_TAIL])

    def skip(self) -> int:
        """Take out everything, readable or not; how many bytes."""
        bytes_skipped = self.waiting
        self._ends[_TAIL] = self._ends[_HEAD_OF_RING]
        return bytes_skipped

    def _restart(self, head: int) -> int:
        """Begin again at the start of an empty ring: a reader that comes meanwhile finds a mark."""
        place, start = head % self._size, self._next_start(head)
        self._data[place : place + 4] = struct.pack("=I", _RESTART)
        # First the head: what lies between the two is the mark. The reader moves the tail there as well.
        self._ends[_HEAD_OF_RING] = start
        self._ends[_TAIL] = start
        return start

    def _next_start(self, place: int) -> int:
        return place - place % self._size + self._size

    def _length(self, place: int) -> int:
        length: int = struct.unpack_from("=I", self._data, place % self._size)[0]
        return length

    def _frame(self, place: int, head: int) -> Frame | None:
        """The frame at a place; None where its bytes have not arrived in memory."""
        length, checksum, rows, stream, total = _HEAD.unpack(self._read(place, _HEAD.size))
        end = place + _aligned(_HEAD.size + length)
        if end > head:
            return None
        payload = self._read(place + _HEAD.size, length)
        if zlib.crc32(payload, zlib.crc32(_COVERED.pack(rows, stream, total))) != checksum:
            return None
        return Frame(end, rows, stream, total, payload)

    def _write(self, place: int, content: bytes) -> None:
        start = place % self._size
        first = min(len(content), self._size - start)
        self._data[start : start + first] = content[:first]
        if first < len(content):
            self._data[: len(content) - first] = content[first:]

    def _read(self, place: int, length: int) -> bytes:
        start = place % self._size
        first = bytes(self._data[start : start + length])
        return first if len(first) == length else first + bytes(self._data[: length - len(first)])


class Rings(Shared):
    """The rings of ``places`` workers, and the schemas of their rows; unused pages take no memory.

    Args:
        places: How many workers may write at a time; each has the ring of its block.
        size: Bytes of each ring, a multiple of 8.
    """

    def __init__(self, places: int, size: int = RING) -> None:
        super().__init__(_PAGE + _SCHEMAS + places * (_PAGE + size))
        self._words[:2] = memoryview(struct.pack("=QQ", size, places)).cast("B").cast("Q")

    @classmethod
    def inherited(cls, descriptor: int, size: int) -> Self:
        """The rings behind an inherited descriptor."""
        return cls.attached(descriptor, size)

    @property
    def places(self) -> int:
        """How many rings there are."""
        return self._words[1]

    def ring(self, number: int) -> Ring:
        """The ring of the worker with this block."""
        size = self._words[0] + _PAGE
        start = _PAGE + _SCHEMAS + number * size
        return Ring(self._view[start : start + size])

    def number(self, schema: bytes) -> int | None:
        """The number of a schema, which is noted where no worker has before; None where there is no room."""
        with self._locked():
            for number, content in self._schemas():
                if content == schema:
                    return number
            place = self._words[2]
            end = place + _aligned(_ENTRY.size + len(schema))
            if end > _SCHEMAS:
                return None
            start = _PAGE + place
            self._view[start : start + _ENTRY.size] = _ENTRY.pack(len(schema), zlib.crc32(schema))
            self._view[start + _ENTRY.size : start + _ENTRY.size + len(schema)] = schema
            self._words[2] = end
            return place // _ALIGNED

    def schema(self, number: int) -> bytes:
        """The schema with a number."""
        start = _PAGE + number * _ALIGNED
        length, checksum = _ENTRY.unpack_from(self._view, start)
        content = bytes(self._view[start + _ENTRY.size : start + _ENTRY.size + length])
        if not content or zlib.crc32(content) != checksum:
            raise ValueError(f"the memory of the payload log has no schema with the number {number}")
        return content

    def _schemas(self) -> Iterator[tuple[int, bytes]]:
        place = 0
        while place < self._words[2]:
            content = self.schema(place // _ALIGNED)
            yield place // _ALIGNED, content
            place += _aligned(_ENTRY.size + len(content))

    def _map(self, descriptor: int, size: int) -> None:
        super()._map(descriptor, size)
        self._view = memoryview(self._memory)
        self._words = self._view[:_PAGE].cast("Q")


def _aligned(length: int) -> int:
    return -(-length // _ALIGNED) * _ALIGNED
