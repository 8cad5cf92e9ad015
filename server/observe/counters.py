"""Counters in memory that worker processes share: each process writes its own, any of them reads all.

Every process maps one anonymous file, which disappears with the last of them. The file is cut into blocks.
Each process claims a block and is the only one to write to it, so that counting takes no lock. When a worker
dies, its replacement claims the same block and keeps adding to it.

    file    | block 0 | block 1 | ... | main | writer | notice | common   a lock on byte n: block n is claimed
    block   | used | entry | entry | ...                  8-byte words; used: how many of them
    entry   | generation | length | room | size | gauge | key ... | numbers ... |
              |            |        |      |      |       |         size doubles
              |            |        |      |      |       room words, of which length bytes are msgpack
              |            |        |      |      1 for a gauge
              |            |        |      how many numbers
              |            |        words that the key may take
              |            bytes of the key
              odd while the entry is in use; grows whenever that changes
    notice  | checksum | length | bytes                   4 bytes each; the last that a process has posted

The two blocks behind those of the workers are reserved for processes that are none: the main process, and the
one that writes the payload log. The notice holds what is no number. A reader that meets a notice half written
keeps the one before.

The threads of a process count without a lock, as the global interpreter lock allows (see Block.series):
Memory refuses to start on a Python that runs without it.
"""

import base64
import logging
import mmap
import os
import struct
import sys
import threading
import weakref
import zlib
from collections.abc import Callable, Iterator
from multiprocessing import reduction
from operator import add
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from unpickled.server.anonymous import anonymous_file
from unpickled.server.errors import ConfigError
from unpickled.server.shared import exclusive
from unpickled.server.system import fcntl

logger = logging.getLogger("unpickled")

Key = tuple[str, ...]
if TYPE_CHECKING:
    Numbers = memoryview[float]
else:  # before 3.14, memoryview takes no type argument at run time
    Numbers = memoryview

BLOCK = 8 * 1024 * 1024
# Bytes behind the blocks that every process may write to.
COMMON = 1024 * 1024
_NOTICE = 4 * 1024 * 1024
_NOTICE_HEAD = struct.Struct("=II")
_WORD = 8
_HEAD = 5
# Reserved blocks behind those of the workers.
_RESERVED = 2
# Keys get room in steps of so many words, so that a freed entry fits another key of about the same length.
_ROOM = 8

# struct flock of <fcntl.h>.
_LINUX = sys.platform == "linux"
_FLOCK = struct.Struct("hhqqi4x" if _LINUX else "qqihh4x")


class Memory:
    """The counters of all processes, in ``blocks`` blocks of ``size`` bytes; unused pages take no memory.

    Create it before the workers: they inherit it through a fork, or ``multiprocessing`` sends it to them.

    Attributes:
        token: Tells this memory from any other: eight letters and digits.
    """

    # The process that has claimed a block, and its block: a fork inherits them with another process id.
    _owner = 0
    _number: int | None = None
    _claimed: "Block | None" = None

    def __init__(self, blocks: int, size: int = BLOCK) -> None:
        """Map the memory. Raises ConfigError on a free-threaded Python, where threads would lose counts."""
        _check_interpreter()
        self.token = fresh_token()
        self._map(anonymous_file((blocks + _RESERVED) * size + _NOTICE + COMMON, "counters"), blocks, size)

    @classmethod
    def attached(cls, descriptor: int, blocks: int, token: str) -> "Memory":
        """The same memory in another program, which has inherited its descriptor and now owns that."""
        memory = cls.__new__(cls)
        memory.token = token
        memory._map(descriptor, blocks, BLOCK)
        return memory

    @property
    def descriptor(self) -> int:
        """The descriptor of the memory, for a program that is to inherit it."""
        return self._descriptor

    @property
    def blocks(self) -> int:
        """How many workers may count at a time."""
        return self._blocks

    @property
    def common(self) -> memoryview:
        """The bytes that every process may write to; at first they are zeros."""
        return self._view[(self._blocks + _RESERVED) * self._size + _NOTICE :]

    def claim(self) -> "Block":
        """The block of this process, the same one at every call; to be called after the fork."""
        with self._lock:
            if self._claimed is None or self._owner != os.getpid():
                self._number = self._lock_block()
                self._owner = os.getpid()
                self._claimed = Block(self, self._part(self._number), self._number)
            return self._claimed

    def reserve(self) -> "Block":
        """The block of the main process, which alone may call this."""
        return Block(self, self._part(self._blocks), self._blocks)

    def reserve_for_writer(self) -> "Block":
        """The block of the process that writes the payload log, which alone may call this."""
        return Block(self, self._part(self._blocks + 1), self._blocks + 1)

    def post(self, content: bytes) -> None:
        """Replace the notice; one that is too long is left out."""
        head = _NOTICE_HEAD.pack(zlib.crc32(content), len(content))
        if len(head) + len(content) > _NOTICE:
            return
        with self._lock, exclusive(self._descriptor, self._blocks, 1):
            self._notice[: len(head) + len(content)] = head + content

    def posted(self) -> bytes:
        """The last notice that was posted whole; empty before the first."""
        checksum, length = _NOTICE_HEAD.unpack_from(self._notice)
        start = _NOTICE_HEAD.size
        content = bytes(self._notice[start : start + min(length, _NOTICE - start)])
        if zlib.crc32(content) == checksum:
            self._posted = content
        return self._posted

    def read(self) -> dict[Key, list[float]]:
        """All series. Counters are summed over all blocks, gauges over the blocks of living processes."""
        # The main process lives as long as any other, and what it says of the writer is true until then.
        living = {*self.workers(), self._blocks, self._blocks + 1}
        totals: dict[bytes, list[float]] = {}
        for number in range(self._blocks + _RESERVED):
            # A series freed during this read may have been re-created later in the block; keep the last.
            latest = {key: (values, gauge) for key, values, gauge in _values(self._part(number))}
            for key, (values, gauge) in latest.items():
                if not gauge or number in living:
                    total = totals.get(key)
                    totals[key] = values if total is None else [*map(add, total, values)]
        return {_unpack(key): values for key, values in totals.items()}

    def find(self, matches: Callable[[Key], bool]) -> Iterator[tuple[Key, bytes]]:
        """The counters whose keys match, once for each block that has one; numbers as bytes of doubles."""
        for number in range(self._blocks + 1):
            # As in read(), the last one of a key counts.
            yield from dict(_matching(self._part(number), matches)).items()

    def workers(self) -> dict[int, int]:
        """Block -> id of the living process that has claimed it."""
        holders = {number: self._holder(number) for number in range(self._blocks)}
        if self._owner == os.getpid() and self._number is not None:
            # The kernel reports locks of other processes only.
            holders[self._number] = self._owner
        return {number: holder for number, holder in holders.items() if holder}

    def __getstate__(self) -> tuple[Any, int, int, str]:
        return reduction.DupFd(self._descriptor), self._blocks, self._size, self.token

    def __setstate__(self, state: tuple[Any, int, int, str]) -> None:
        descriptor, blocks, size, self.token = state
        self._map(descriptor.detach(), blocks, size)

    def _map(self, descriptor: int, blocks: int, size: int) -> None:
        self._descriptor, self._blocks, self._size = descriptor, blocks, size
        # Closing any descriptor of the file would release the lock of this process, so all stay open: this
        # one and the copy inside mmap.
        self._view = memoryview(mmap.mmap(descriptor, (blocks + _RESERVED) * size + _NOTICE + COMMON))
        self._notice = self._view[(blocks + _RESERVED) * size : (blocks + _RESERVED) * size + _NOTICE]
        self._posted = b""
        self._lock = threading.Lock()
        weakref.finalize(self, os.close, descriptor).atexit = False

    def _lock_block(self) -> int | None:
        # A record lock on one byte: the kernel releases it when the process ends, even by SIGKILL.
        for number in range(self._blocks):
            try:
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
            except (BlockingIOError, PermissionError):
                continue
            return number
        logger.error("all blocks of counters are taken: what process %d does is not counted", os.getpid())
        return None

    def _holder(self, number: int) -> int:
        """Id of the other process that has locked a block; 0 where none has."""
        query = (fcntl.F_WRLCK, os.SEEK_SET, number, 1, 0) if _LINUX else (number, 1, 0, fcntl.F_WRLCK, 0)
        lock = _FLOCK.unpack(fcntl.fcntl(self._descriptor, fcntl.F_GETLK, _FLOCK.pack(*query)))
        kind, holder = (lock[0], lock[4]) if _LINUX else (lock[3], lock[2])
        return 0 if kind == fcntl.F_UNLCK else int(holder)

    def _part(self, number: int | None) -> memoryview:
        if number is None:
            return memoryview(mmap.mmap(-1, self._size))
        return self._view[number * self._size : (number + 1) * self._size]


class _Entry(NamedTuple):
    """The place of an entry, counted in words, and the fields of its head."""

    place: int
    generation: int
    key: bytes
    room: int
    size: int
    gauge: bool

    @property
    def start(self) -> int:
        return self.place + _HEAD + self.room

    @property
    def end(self) -> int:
        return self.start + self.size


class Block:
    """The numbers that this process alone writes."""

    def __init__(self, memory: Memory, part: memoryview, number: int | None) -> None:
        self.number = number
        self.token = memory.token
        # Keep a reference: if Memory is collected, its descriptor closes and the block's lock is released.
        self._memory = memory
        self._part = part
        self._words = part.cast("q")
        self._numbers: Numbers = part.cast("d")
        self._lock = threading.Lock()
        self._entries: dict[bytes, _Entry] = {}
        self._series: dict[bytes, Numbers] = {}
        # The keys of entries, as far as they have been read.
        self._keys: dict[bytes, Key] = {}
        # Entries of forgotten series. A thread that still holds the memory of one may write to it: the entry
        # is used again once the weak reference is dead.
        self._free: list[tuple[_Entry, weakref.ref[Numbers] | None]] = []
        self._full = False
        self._take_over()

    def series(self, key: Key, size: int, gauge: bool = False) -> Numbers:
        """The ``size`` numbers of a key, zeros at first; every call for a key returns the same memory.

        Add with ``series[i] += x``, where x is a value and no call. That needs no lock: CPython switches
        threads at calls and jumps only, and none lies between this read and this write.
        """
        packed = _pack(key)
        with self._lock:
            series = self._series.get(packed)
            if series is None:
                entry = self._entries.get(packed) or self._add(packed, size, gauge)
                series = self._numbers[entry.start : entry.end] if entry else self._unread(key, size)
                self._series[packed] = series
        if len(series) != size:
            raise ValueError(f"{key} has {len(series)} numbers, not {size}")
        return series

    def forget(self, key: Key) -> None:
        """End a series; another series of its size may get the memory once no thread holds it."""
        packed = _pack(key)
        with self._lock:
            view = self._series.pop(packed, None)
            entry = self._entries.pop(packed, None)
            self._keys.pop(packed, None)
            if entry is not None:
                self._words[entry.place] += 1
                self._free.append((entry, None if view is None else weakref.ref(view)))

    def post(self, content: bytes) -> None:
        """Replace the notice that all processes read."""
        self._memory.post(content)

    def keys(self) -> list[Key]:
        """Keys of the series that this process has in its block."""
        with self._lock:
            keys = self._read_keys()
            return [keys[packed] for packed in self._entries]

    def of_kind(self, kind: str) -> list[tuple[Key, Numbers]]:
        """Key and numbers of each series in this block whose key begins with this word."""
        numbers = self._numbers
        with self._lock:
            keys = self._read_keys()
            return [
                (key, numbers[entry.start : entry.end])
                for packed, entry in self._entries.items()
                if (key := keys[packed])[0] == kind
            ]

    def _read_keys(self) -> dict[bytes, Key]:
        """The key of each entry, unpacked once; the lock is held."""
        for packed in self._entries.keys() - self._keys.keys():
            self._keys[packed] = _unpack(packed)
        return self._keys

    def _take_over(self) -> None:
        """Go on with the counters of the process that had the block before; its gauges end with it."""
        for entry in _entries(self._part, self._words):
            if entry.gauge and entry.generation % 2:
                self._words[entry.place] += 1
            if entry.gauge or entry.generation % 2 == 0:
                self._free.append((entry, None))
                continue
            self._entries[entry.key] = entry

    def _add(self, packed: bytes, size: int, gauge: bool) -> _Entry | None:
        entry = self._reuse(packed, size, gauge) or self._append(packed, size, gauge)
        if entry is None:
            return None
        words, place = self._words, entry.place
        begin = (place + _HEAD) * _WORD
        self._part[begin : begin + len(packed)] = packed
        for offset, value in enumerate((len(packed), entry.room, size, int(gauge)), start=1):
            words[place + offset] = value
        self._clear(entry)
        # The generation is written last: it tells other processes that they may read the entry.
        words[place] = entry.generation
        words[0] = max(words[0], entry.end - 1)
        self._entries[packed] = entry
        return entry

    def _reuse(self, packed: bytes, size: int, gauge: bool) -> _Entry | None:
        for index, (entry, holder) in enumerate(self._free):
            unheld = holder is None or holder() is None
            if unheld and entry.size == size and len(packed) <= entry.room * _WORD:
                del self._free[index]
                generation = self._words[entry.place] + 1
                return entry._replace(generation=generation, key=packed, gauge=gauge)
        return None

    def _append(self, packed: bytes, size: int, gauge: bool) -> _Entry | None:
        room = -(-len(packed) // (_WORD * _ROOM)) * _ROOM
        entry = _Entry(self._words[0] + 1, 1, packed, room, size, gauge)
        return entry if entry.end <= len(self._words) else None

    def _clear(self, entry: _Entry) -> None:
        start = entry.start * _WORD
        self._part[start : entry.end * _WORD] = bytes(entry.size * _WORD)

    def _unread(self, key: Key, size: int) -> Numbers:
        """Memory that no other process reads, for a series for which the block has no room."""
        if not self._full:
            self._full = True
            logger.error("the memory for counters is full: %s and all later series are not counted", key[:4])
        return memoryview(bytearray(size * _WORD)).cast("d")


def _entries(part: memoryview, words: "memoryview[int]") -> Iterator[_Entry]:
    place = 1
    while place <= words[0]:
        generation, length, room, size, gauge = words[place : place + _HEAD].tolist()
        begin = (place + _HEAD) * _WORD
        entry = _Entry(place, generation, bytes(part[begin : begin + length]), room, size, gauge == 1)
        yield entry
        place = entry.end


def _values(part: memoryview) -> Iterator[tuple[bytes, list[float], bool]]:
    """(key, numbers, is it a gauge) of every entry in use."""
    words, numbers = part.cast("q"), part.cast("d")
    for entry in _entries(part, words):
        values = [*numbers[entry.start : entry.end]]
        # Skip an entry that was freed, or given to another series, while its numbers were read.
        if entry.generation % 2 and words[entry.place] == entry.generation:
            yield entry.key, values, entry.gauge


def _matching(part: memoryview, matches: Callable[[Key], bool]) -> Iterator[tuple[Key, bytes]]:
    """(key, bytes of its numbers) of every counter in use whose key matches."""
    words = part.cast("q")
    for entry in _entries(part, words):
        # The key is whole if the entry is still the same after it was read, and so are the numbers.
        if entry.gauge or entry.generation % 2 == 0 or words[entry.place] != entry.generation:
            continue
        key = _unpack(entry.key)
        if matches(key):
            content = bytes(part[entry.start * _WORD : entry.end * _WORD])
            if words[entry.place] == entry.generation:
                yield key, content


def _pack(key: Key) -> bytes:
    # As bytes: the name of a folder may hold bytes that are not UTF-8.
    return msgspec.msgpack.encode([part.encode("utf-8", "surrogatepass") for part in key])


def _unpack(packed: bytes) -> Key:
    parts = msgspec.msgpack.decode(packed, type=tuple[bytes, ...])
    return tuple(part.decode("utf-8", "surrogatepass") for part in parts)


def fresh_token() -> str:
    """A new token: see Memory."""
    return base64.b32encode(os.urandom(5)).decode().lower()


def _check_interpreter() -> None:
    # Python has this function since 3.13.
    has_gil = getattr(sys, "_is_gil_enabled", None)
    if has_gil is not None and not has_gil():
        raise ConfigError(
            "this Python runs without its global interpreter lock, which the counters rely on: "
            "set PYTHON_GIL=1, or use a build that is not free-threaded"
        )
