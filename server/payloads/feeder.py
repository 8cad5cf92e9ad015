"""The payload log in a worker: the consumer that puts predicted rows into the worker's ring.

A row is put once the head of the ring has moved. So the successor of a worker that died finds in the ring
what was put, and counts as LOST the rows that were answered and got nowhere: see observe/logged.py.
"""

import time
import weakref
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from unpickled.server.config import Log
from unpickled.server.lifecycle.versions import Served
from unpickled.server.model.session import Model
from unpickled.server.observe import ids
from unpickled.server.observe.counters import Block, Key, Memory, Numbers
from unpickled.server.observe.logged import DROPPED, LOGGED, LOGGED_SHADOW, LOST, PUT, SIZE, UNCHOSEN, WRITTEN
from unpickled.server.observe.lot import Lot
from unpickled.server.observe.source import DROPPED_ROWS, TAKEN
from unpickled.server.observe.source import SIZE as TAKEN_SIZE
from unpickled.server.observe.tally import Answered
from unpickled.server.payloads.ring import Ring, Rings
from unpickled.server.payloads.rows import Packer, Raw
from unpickled.server.payloads.schema import Schema, schema_of
from unpickled.server.payloads.stream import Stream

# Seconds for which rows wait for room in the ring at most, where they are to wait; and between two looks.
_LONGEST, _LOOK = 10.0, 0.01
# 2 ** 32 over the golden ratio: the multiples of it fill the numbers below 2 ** 32 evenly.
_STEP, _SPAN = 0x9E3779B1, 2**32


class _Channel(NamedTuple):
    """How the rows of one version on one route go into the ring; without a stream, there is no room."""

    stream: Stream | None
    packer: Packer
    counts: Numbers


class Feeder:
    """Puts a share of all rows into the ring of this worker.

    Whether a row is chosen follows from its number alone: so a shadow's answer is logged beside that of the
    client, and the share is kept to closely among any rows that follow one another.

    Args:
        log: The share and the columns, and whether rows wait for room in the ring.
        rings: One of them is this worker's.
        key: The key of hashes, which the writer makes; None where nothing is hashed.
        memory: The counters, which tell what became of the rows of an earlier worker.
        block: The worker's part of them.
    """

    name = "the payload log"

    def __init__(self, log: Log, rings: Rings, key: bytes | None, memory: Memory, block: Block) -> None:
        self._log = log
        self._key = key
        self._rings = rings
        self._ring = (
            None if block.number is None or block.number >= rings.places else rings.ring(block.number)
        )
        self._block = block
        self._prefix = ids.prefix(block)
        self._below = round(log.log_share * _SPAN)
        self._waits = log.log_when_full == "wait"
        # Whether the last rows waited in vain: then the next ones do not.
        self._stuck = False
        self._channels: weakref.WeakKeyDictionary[Model, dict[tuple[str, int, int | None], _Channel]] = (
            weakref.WeakKeyDictionary()
        )
        _settle(rings, self._ring, memory, block)

    def consume(self, lot: Lot) -> None:
        """Put rows into the ring; those that do not fit are dropped and counted."""
        channel = self._channel(lot)
        rows = list(zip(lot.numbers, lot.times, lot.labels, lot.scores, lot.rows, strict=True))
        if self._below < _SPAN:
            below, last = self._below, _SPAN - 1
            rows = [row for row in rows if row[0] * _STEP & last < below]
            channel.counts[UNCHOSEN] += len(lot) - len(rows)
        if rows:
            self._take(channel, rows)

    def rest(self) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        """The rows in the ring are the writer's."""

    def _take(self, channel: _Channel, rows: Sequence[Raw]) -> None:
        """Put some rows; those of them that cannot be encoded are lost, which fails the consumer."""
        try:
            payload = channel.packer.pack(rows)
        except Exception:
            self._halve(channel, rows)
        else:
            self._put(channel, rows, payload)

    def _halve(self, channel: _Channel, rows: Sequence[Raw]) -> None:
        """Put each half of some rows by itself, of which one at least cannot be encoded."""
        if len(rows) == 1:
            channel.counts[LOST] += 1.0
            raise ValueError(f"row {rows[0][0]} cannot be logged")
        middle = len(rows) // 2
        try:
            self._take(channel, rows[:middle])
        finally:
            self._take(channel, rows[middle:])

    def _put(self, channel: _Channel, rows: Sequence[Raw], payload: bytes) -> None:
        if self._ring is not None and not self._ring.holds(len(payload)) and len(rows) > 1:
            middle = len(rows) // 2
            for part in (rows[:middle], rows[middle:]):
                self._put(channel, part, channel.packer.pack(part))
            return
        counts, count = channel.counts, len(rows)
        total = int(counts[PUT]) + count
        if self._fits(channel.stream, count, total, payload):
            counts[PUT] = float(total)
        else:
            counts[DROPPED] += count

    def _fits(self, stream: Stream | None, rows: int, total: int, payload: bytes) -> bool:
        """Put a frame into the ring, perhaps after a while; whether it is there."""
        if stream is None or self._ring is None:
            return False
        number = stream.number
        waits = self._waits and not self._stuck and self._ring.holds(len(payload))
        until = time.monotonic() + _LONGEST if waits else 0.0
        while not self._ring.put(rows, number, total, payload):
            if time.monotonic() >= until:
                self._stuck = True
                return False
            time.sleep(_LOOK)
        self._stuck = False
        return True

    def _channel(self, lot: Lot) -> _Channel:
        """The channel for some rows; they are lost where there can be none."""
        served, source, shadow = lot.answering, lot.source, lot.shadow
        channels = self._channels.get(served.model)
        if channels is None:
            channels = self._channels[served.model] = {}
        key = source.route, source.served.version, None if shadow is None else shadow.version
        if key not in channels:
            kind = LOGGED if shadow is None else LOGGED_SHADOW
            counts = self._block.series((kind, served.name, str(served.version)), SIZE)
            try:
                channels[key] = self._new_channel(served, *key, counts)
            except Exception:
                counts[LOST] += len(lot)
                raise
        return channels[key]

    def _new_channel(
        self, served: Served, route: str, version: int, shadow: int | None, counts: Numbers
    ) -> _Channel:
        schema = schema_of(served, self._log, self._key)
        number = self._rings.number(schema.text())
        stream = None if number is None else Stream(number, shadow is not None)
        width = len(served.model.manifest.features)
        return _Channel(stream, Packer(schema, width, self._prefix, route, version, shadow), counts)


def _settle(rings: Rings, ring: Ring | None, memory: Memory, block: Block) -> None:
    """Count the rows of the worker that had the block before as it would have, had it lived on."""
    answered = _answered(block)
    if not answered:
        return
    # First the ring: what is taken out of it meanwhile has been counted before.
    put = _in_ring(rings, ring)
    for key, total in _written(memory, block).items():
        put[key] = max(total, put[key])
    for key, total in put.items():
        counts = block.series(key, SIZE)
        counts[PUT] = max(counts[PUT], total)
    for (model, version), rows in answered.items():
        counts = block.series((LOGGED, model, version), SIZE)
        dropped = block.series((TAKEN, model, version), TAKEN_SIZE)[DROPPED_ROWS]
        counts[LOST] += max(0.0, rows - dropped - sum(counts))


def _answered(block: Block) -> Mapping[tuple[str, str], float]:
    """(model, version) -> the rows that were answered."""
    answered: defaultdict[tuple[str, str], float] = defaultdict(float)
    for key in block.keys():  # noqa: SIM118 - a method of blocks
        if key[0] == "answered":
            counts = block.series(key, Answered.size(len(key) - 4))
            answered[key[1], key[2]] += sum(Answered.of(counts).classes)
    return answered


def _in_ring(rings: Rings, ring: Ring | None) -> defaultdict[Key, float]:
    """(kind, model, version) -> rows that were put into a ring, of those that wait there."""
    totals: defaultdict[Key, float] = defaultdict(float)
    for frame in () if ring is None else ring.frames():
        stream = Stream.of(frame)
        schema = Schema.read(rings.schema(stream.schema))
        totals[stream.kind, schema.model, str(schema.version)] = float(frame.total)
    return totals


def _written(memory: Memory, block: Block) -> dict[Key, float]:
    """The same of those that the writer has taken."""
    return {
        (kind, model, version): numbers[0]
        for (name, *rest), numbers in memory.read().items()
        if name == WRITTEN
        for model, version, kind, ring in [rest]
        if ring == str(block.number)
    }
