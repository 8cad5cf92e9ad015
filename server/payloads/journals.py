"""The journals that a server has open, and the way of rows from its rings into them.

    <folder>/<model>/.open/<token>-<time>.journal

A frame leaves its ring only when it is in a journal, and each journal knows the last frame of each ring that
it has. So a writer may be killed at any moment: its successor reads the frames that are still in the rings,
and leaves out those that a journal has.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from unpickled.server.config import Log
from unpickled.server.observe.counters import Block
from unpickled.server.observe.logged import WRITTEN
from unpickled.server.payloads.journal import NEW, SUFFIX, Journal, Unreadable
from unpickled.server.payloads.ring import Frame, Ring, Rings
from unpickled.server.payloads.rows import Hasher
from unpickled.server.payloads.schema import Schema, key_id
from unpickled.server.payloads.stream import Stream

logger = logging.getLogger("unpickled")

OPEN = ".open"
# A journal that cannot be read, or not all of it, keeps its content under this ending.
DAMAGED = ".damaged"
# Bytes that are taken out of one ring at a time.
_PORTION = 4 * 1024 * 1024
# Seconds after which bytes of a ring that make no frame are given up.
_LONGEST = 5.0


class _Taken(NamedTuple):
    """Frames of one ring, and its tail once they are taken."""

    number: int
    frames: list[Frame]
    end: int


class Journals:
    """The open journals of one server.

    Args:
        log: The folder, and the sizes and the age that a journal may reach.
        token: That of the server's claim.
        rings: Where the rows come from.
        block: Counts the rows that are in journals.
        key: The key of hashes; None where nothing is hashed.
        finish: Called with each journal that is complete.
    """

    def __init__(
        self,
        log: Log,
        token: str,
        rings: Rings,
        block: Block,
        key: bytes | None,
        finish: Callable[[Path], None],
    ) -> None:
        self._log = log
        self._folder = Path(log.log_folder)
        self._token = token
        self._rings = rings
        self._tubes = [rings.ring(number) for number in range(rings.places)]
        self._block = block
        self._key = key
        self._finish = finish
        self._open: dict[int, Journal] = {}
        self._schemas: dict[int, Schema] = {}
        self._hashers: dict[int, Hasher] = {}
        # Ring -> time.monotonic() since which its first frame cannot be read.
        self._unreadable: dict[int, float] = {}
        self._last = 0
        self._resume()

    def write(self) -> int:
        """Move what is in the rings into journals; how many bytes.

        Raises OSError; then the frames are still in the rings, and those that a journal has are known.
        """
        taken = [each for number, ring in enumerate(self._tubes) if (each := self._taken(number, ring))]
        entries: defaultdict[int, list[tuple[int, Frame]]] = defaultdict(list)
        for number, frames, _ in taken:
            for frame in frames:
                entries[Stream.of(frame).schema].append((number, frame))
        length = sum(self._append(schema, some) for schema, some in entries.items())
        for each in taken:
            self._count(each)
            self._tubes[each.number].release(each.end)
        return length

    def rotate(self, everything: bool = False) -> None:
        """Complete the journals that are large or old enough."""
        now = time.time()
        for number, journal in [*self._open.items()]:
            if (everything or self._is_full(journal, now)) and self._is_there(number):
                del self._open[number]
                journal.close()
                self._finish(journal.path)

    @property
    def waiting(self) -> int:
        """Bytes in the rings."""
        return sum(ring.waiting for ring in self._tubes)

    def _taken(self, number: int, ring: Ring) -> _Taken | None:
        if not ring.waiting:
            return None
        frames, length = [], 0
        for frame in ring.frames():
            frames.append(frame)
            length += len(frame.payload)
            if length >= _PORTION:
                break
        if frames:
            self._unreadable.pop(number, None)
            return _Taken(number, frames, frames[-1].end)
        since = self._unreadable.setdefault(number, time.monotonic())
        if time.monotonic() - since > _LONGEST:
            del self._unreadable[number]
            logger.error("the ring of worker %d is damaged: %d bytes are not logged", number, ring.skip())
        return None

    def _append(self, number: int, entries: list[tuple[int, Frame]]) -> int:
        journal = self._open[number] if self._is_there(number) else self._begin(number)
        entries = [(ring, frame) for ring, frame in entries if not journal.has(ring, frame.end)]
        if self._schema(number).key_id:
            hasher = self._hasher(number)
            entries = [
                (ring, frame._replace(payload=hasher.hashed(frame.payload))) for ring, frame in entries
            ]
        return journal.append(entries)

    def _is_there(self, number: int) -> bool:
        """Whether there is an open journal of a schema; one that somebody has removed is given up."""
        journal = self._open.get(number)
        if journal is None or not journal.is_removed:
            return journal is not None
        logger.error("%s was removed while it was open: its %d rows are lost", journal.path, journal.rows)
        del self._open[number]
        journal.close()
        return False

    def _begin(self, number: int) -> Journal:
        now = time.time()
        # Microseconds, and never the same ones twice, whatever the clock does.
        self._last = max(self._last + 1, int(now * 1e6))
        schema = self._schema(number)
        path = self._folder / schema.model / OPEN / f"{self._token}-{self._last}{SUFFIX}"
        journal = self._open[number] = Journal.begin(path, schema, now)
        return journal

    def _count(self, taken: _Taken) -> None:
        """Count the rows of frames: by the worker's total, so that a frame that is read twice counts once."""
        for frame in taken.frames:
            stream = Stream.of(frame)
            schema = self._schema(stream.schema)
            key = WRITTEN, schema.model, str(schema.version), stream.kind, str(taken.number)
            self._block.series(key, 1)[0] = float(frame.total)

    def _is_full(self, journal: Journal, now: float) -> bool:
        log, age = self._log, now - journal.begun
        return (
            journal.rows >= log.log_rotate_rows
            or journal.length >= log.log_rotate_bytes
            # A clock that was set back makes no journal last for ever.
            or not 0 <= age < 60 * log.log_rotate_minutes
        )

    def _schema(self, number: int) -> Schema:
        if number not in self._schemas:
            self._schemas[number] = Schema.read(self._rings.schema(number))
        return self._schemas[number]

    def _hasher(self, number: int) -> Hasher:
        if number not in self._hashers:
            schema = self._schema(number)
            if self._key is None or schema.key_id != key_id(self._key):
                raise OSError(0, "the key of hashes is another one than at the start of the server")
            self._hashers[number] = Hasher(schema, self._key)
        return self._hashers[number]

    def _resume(self) -> None:
        """Go on with the journals of the writer before this one."""
        # The newest of a schema is open; only it may have frames that are in the rings as well.
        for path in reversed([*of_server(self._folder, self._token)]):
            try:
                journal = Journal.resume(path)
            except Unreadable as error:
                put_aside(path, error)
                continue
            number = self._rings.number(journal.schema.text())
            if number is None or number in self._open:
                journal.close()
                self._finish(path)
            elif journal.is_damaged:
                journal.close()
                self._begin(number).follow(journal)
                self._finish(path)
            else:
                self._open[number] = journal
        remove_unbegun(self._folder, self._token)


def of_server(folder: Path, token: str) -> Iterator[Path]:
    """The journals of one server, the oldest first."""
    yield from sorted(folder.glob(f"*/{OPEN}/{token}-*{SUFFIX}"))


def remove_unbegun(folder: Path, token: str) -> None:
    """Remove what a writer was just beginning when it was killed."""
    for path in folder.glob(f"*/{OPEN}/{token}-*{NEW}"):
        with suppress(OSError):
            path.unlink()


def put_aside(path: Path, error: Exception) -> None:
    """Keep what no part can be made of under another name."""
    logger.error("a journal of the payload log is put aside: %s", error)
    with suppress(OSError):
        path.rename(path.with_suffix(DAMAGED))


def keep_damaged(path: Path, unreadable: int) -> None:
    """Keep a finished journal of which so many bytes are not in its parts. Raises OSError."""
    damaged = path.with_suffix(DAMAGED)
    path.rename(damaged)
    logger.error("%d bytes of a journal cannot be read: the others are finished; see %s", unreadable, damaged)
