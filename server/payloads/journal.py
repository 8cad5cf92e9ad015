"""A journal: rows of one schema on disk, appended as they come, until a part is made of them.

    file    | mark | length | checksum | begun, schema | frame | frame | ...
    frame   | length | checksum | ring | rows | end | payload |

Each frame says where it came from: the ring, and the offset at which it ends there. A writer that follows one
that was killed so knows which frames of the rings it has already. The file is appended to and never synced:
what a process wrote survives its death, and the last seconds are lost with the power alone. A frame that was
only half written is cut off. One that is damaged otherwise is passed over, and the file is kept.
"""

import os
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import msgspec

from unpickled.server.payloads.ring import Frame
from unpickled.server.payloads.schema import Schema

# The ending of a journal, and that of one that is just being begun.
SUFFIX, NEW = ".journal", ".new"
_MARK = b"unpickled journal 1\n"
_ENTRY = struct.Struct("=II")
_FRAME = struct.Struct("=IIIIQ")
_COVERED = struct.Struct("=IIQ")
# The heads of frames below 16 MiB, as numbers that small look like in memory.
_LIKELY = re.compile(rb"(?s)(?=.{3}\0.{6}\0\0(?!\0{3}).{3}\0.{6}\0\0)")


class Unreadable(Exception):
    """A file is no journal."""


class Kept(NamedTuple):
    """A frame in a journal: the ring that it came from, the offset of its end there, and its rows."""

    ring: int
    end: int
    rows: int
    payload: bytes
    # Offset of the frame's end in the journal.
    until: int


class Journal:
    """One journal that is being written; for one process at a time.

    Attributes:
        path: The file.
        schema: Describes its rows.
        begun: When it was begun, in seconds since 1970.
        rows: How many rows it has.
        length: How many bytes.
        is_damaged: Whether frames of it cannot be read.
    """

    def __init__(self, path: Path, descriptor: int, schema: Schema, begun: float) -> None:
        self.path = path
        self.schema = schema
        self.begun = begun
        self.rows = 0
        self.length = 0
        self.is_damaged = False
        self._descriptor = descriptor
        self._ends: dict[int, int] = {}
        self._torn = False

    @classmethod
    def begin(cls, path: Path, schema: Schema, begun: float) -> Self:
        """Begin a journal. Raises OSError."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # It gets its name with its head: no journal is ever found without one.
        new = path.with_suffix(NEW)
        descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        journal = cls(path, descriptor, schema, begun)
        content = msgspec.msgpack.encode((begun, schema.text()))
        try:
            journal._write(_MARK + _ENTRY.pack(len(content), zlib.crc32(content)) + content)
            new.rename(path)
        except OSError:
            journal.close()
            raise
        return journal

    @classmethod
    def resume(cls, path: Path) -> Self:
        """Go on with a journal, without what was only half written. Raises OSError or Unreadable.

        Nothing may be appended to one that is damaged.
        """
        begun, schema, start = _head(path)
        journal = cls(path, os.open(path, os.O_RDWR | os.O_CLOEXEC), schema, begun)
        journal.length = start
        frames = Frames(path)
        for kept in frames:
            journal._ends[kept.ring] = kept.end
            journal.rows += kept.rows
            journal.length = kept.until
        journal._torn = True
        journal.is_damaged = frames.unreadable > 0
        return journal

    def follow(self, other: "Journal") -> None:
        """Have no frame that another journal has."""
        self._ends = dict(other._ends)

    def has(self, ring: int, end: int) -> bool:
        """Whether the frame that ends there in a ring has been written."""
        return end <= self._ends.get(ring, 0)

    def append(self, entries: Sequence[tuple[int, Frame]]) -> int:
        """Append the frames of some rings that it does not have, in one step; how many bytes.

        Raises OSError; then it has none of them.
        """
        new = [(ring, frame) for ring, frame in entries if not self.has(ring, frame.end)]
        content = b"".join(part for ring, frame in new for part in _packed(ring, frame))
        self._write(content)
        for ring, frame in new:
            self._ends[ring] = frame.end
            self.rows += frame.rows
        return len(content)

    @property
    def is_removed(self) -> bool:
        """Whether the file has no name any more, so that nobody can read what is written to it."""
        return os.fstat(self._descriptor).st_nlink == 0

    def close(self) -> None:
        """Write no more."""
        os.close(self._descriptor)

    def _write(self, content: bytes) -> None:
        if self._torn:
            # The rest of a failed attempt might pass for frames.
            os.ftruncate(self._descriptor, self.length)
        self._torn = True
        written = 0
        while written < len(content):
            written += os.pwrite(self._descriptor, content[written:], self.length + written)
        self.length += written
        self._torn = False


def schema_of(path: Path) -> Schema:
    """The schema of a journal. Raises OSError or Unreadable."""
    return _head(path)[1]


class Frames:
    """The whole frames of a journal, each once. Reading them raises OSError or Unreadable.

    A damaged frame is passed over, to the end that it tells. An unfinished last one, which a kill leaves, is
    no damage.

    Attributes:
        unreadable: Bytes of damaged frames, of what has been read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.unreadable = 0

    def __iter__(self) -> Iterator[Kept]:
        _, _, start = _head(self._path)
        self.unreadable = 0
        ends: dict[int, int] = {}
        with self._path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(start)
            while len(head := file.read(_FRAME.size)) == _FRAME.size:
                length, _, ring, rows, end = _FRAME.unpack(head)
                # No more than there is: a damaged length would ask for gigabytes.
                payload = file.read(min(length, size - file.tell()))
                if not _is_whole(head, payload):
                    is_unfinished = len(payload) < length and not _has_frame(head + payload)
                    self.unreadable += 0 if is_unfinished else len(head) + len(payload)
                elif end > ends.get(ring, 0):
                    ends[ring] = end
                    yield Kept(ring, end, rows, payload, file.tell())


def _is_whole(head: bytes, payload: bytes) -> bool:
    length, checksum, ring, rows, end = _FRAME.unpack(head)
    if len(payload) < length:
        return False
    return bool(zlib.crc32(payload, zlib.crc32(_COVERED.pack(ring, rows, end))) == checksum)


def _has_frame(content: bytes) -> bool:
    """Whether a whole frame is somewhere behind the first byte, so that what is before it was whole once."""
    for match in _LIKELY.finditer(content, 1):
        start = match.start() + _FRAME.size
        head = content[match.start() : start]
        length, _, _, _, end = _FRAME.unpack(head)
        if end >= length and _is_whole(head, content[start : start + length]):
            return True
    return False


def _packed(ring: int, frame: Frame) -> tuple[bytes, bytes]:
    checksum = zlib.crc32(frame.payload, zlib.crc32(_COVERED.pack(ring, frame.rows, frame.end)))
    return _FRAME.pack(len(frame.payload), checksum, ring, frame.rows, frame.end), frame.payload


def _head(path: Path) -> tuple[float, Schema, int]:
    """When a journal was begun, its schema, and the offset of its first frame."""
    with path.open("rb") as file:
        head = file.read(len(_MARK) + _ENTRY.size)
        if len(head) < len(_MARK) + _ENTRY.size or not head.startswith(_MARK):
            raise Unreadable(f"{path} is no journal")
        length, checksum = _ENTRY.unpack_from(head, len(_MARK))
        content = file.read(length)
        if len(content) < length or zlib.crc32(content) != checksum:
            raise Unreadable(f"the head of {path} is damaged")
        begun, text = msgspec.msgpack.decode(content, type=tuple[float, bytes])
        return begun, Schema.read(text), file.tell()
