"""Requests that end workers, in memory that the processes of a server share.

While no worker has crashed, nothing is noted. After a crash workers note, for some minutes, which requests
they run. A request that was under way at two crashes more, and was answered at no time between, is refused
for an hour.

    memory  | watched until | changes | entry ... | note ...
    entry   | digest | refused until | answered            of a request that was under way at a crash
    note    | digest                                       of a request under way; zeros where there is none
"""

import struct
import time
from collections import deque

from unpickled.server.shared import Shared

# Bytes of the digest of a request.
DIGEST = 16
# Seconds after a crash in which requests are noted, and in which one is refused.
_WATCHED, _REFUSED = 600.0, 3600.0
# A request that was under way at so many crashes is refused; if others were so too, at one crash more.
_CRASHES = 2

_HEAD = struct.Struct("=dQ")
_ENTRY = struct.Struct(f"={DIGEST}sdQ")
_ENTRIES = 256
_NOTES = _HEAD.size + _ENTRIES * _ENTRY.size
_NONE = bytes(DIGEST)
_ANSWERED = DIGEST + 8


class Quarantine(Shared):
    """The suspects of all ``workers``, each of which runs at most ``threads`` requests at once."""

    def __init__(self, workers: int, threads: int) -> None:
        super().__init__(_NOTES + workers * threads * DIGEST)
        self.threads = threads
        # The main process alone counts: digest -> crashes, in the order in which they were first seen.
        self._crashes: dict[bytes, int] = {}
        self._until: dict[bytes, float] = {}

    def __getstate__(self) -> tuple[object, int]:
        return super().__getstate__(), self.threads

    def __setstate__(self, state: tuple[object, int]) -> None:
        shared, self.threads = state
        super().__setstate__(shared)

    @property
    def watched(self) -> bool:
        """Whether workers should note their requests now."""
        return time.monotonic() < self._head()[0]

    @property
    def changes(self) -> int:
        """How often the entries have changed."""
        return self._head()[1]

    def entries(self) -> dict[bytes, tuple[int, float]]:
        """Digest -> place of its entry, and the time.monotonic() until which the request is refused."""
        entries = {}
        for index in range(_ENTRIES):
            place = _HEAD.size + index * _ENTRY.size
            digest, until, _ = _ENTRY.unpack_from(self._memory, place)
            if digest != _NONE:
                entries[digest] = place, until
        return entries

    def answered(self, place: int) -> None:
        """Note that the request with this entry has been answered: it is harmless."""
        struct.pack_into("=Q", self._memory, place + _ANSWERED, 1)

    def note(self, place: int, digest: bytes = _NONE) -> None:
        """Note that the request with this digest is under way; by default, that none is."""
        self._memory[place : place + DIGEST] = digest

    def places(self, slot: int) -> deque[int]:
        """The places of the notes of the worker at ``slot``."""
        first = _NOTES + slot * self.threads * DIGEST
        return deque(range(first, first + self.threads * DIGEST, DIGEST))

    def crashed(self, slot: int) -> list[bytes]:
        """Take note of a crash; the digests of the requests that are refused from now on."""
        now = time.monotonic()
        self._exonerate()
        under_way = self._under_way(slot)
        for digest in under_way:
            self._crashes[digest] = self._crashes.get(digest, 0) + 1
        free = [digest for digest in under_way if self._until.get(digest, 0.0) < now]
        often = [digest for digest in free if self._crashes[digest] >= _CRASHES]
        refused = [digest for digest in often if len(often) == 1 or self._crashes[digest] > _CRASHES]
        self._until = {digest: until for digest, until in self._until.items() if until > now}
        self._until |= dict.fromkeys(refused, now + _REFUSED)
        self._publish(max(now + _WATCHED, *self._until.values(), 0.0))
        return refused

    def _under_way(self, slot: int) -> set[bytes]:
        """The requests that a worker which has ended had under way."""
        digests = set()
        for place in self.places(slot):
            digests.add(self._memory[place : place + DIGEST])
            self.note(place)
        return digests - {_NONE}

    def _exonerate(self) -> None:
        for digest, (place, _) in self.entries().items():
            if _ENTRY.unpack_from(self._memory, place)[2]:
                self._crashes.pop(digest, None)

    def _publish(self, watched: float) -> None:
        """Write the entries, those that are refused and the newest others."""
        others = [digest for digest in self._crashes if digest not in self._until]
        kept = [*self._until, *others[::-1]][:_ENTRIES]
        self._crashes = {digest: count for digest, count in self._crashes.items() if digest in kept}
        content = b"".join(_ENTRY.pack(digest, self._until.get(digest, 0.0), 0) for digest in kept)
        self._memory[_HEAD.size : _NOTES] = content.ljust(_NOTES - _HEAD.size, b"\0")
        _HEAD.pack_into(self._memory, 0, watched, self.changes + 1)

    def _head(self) -> tuple[float, int]:
        watched, changes = _HEAD.unpack_from(self._memory)
        return watched, changes


class Notes:
    """The notes of one worker, and the requests that it refuses.

    Args:
        quarantine: The memory of all workers.
        slot: The part of the memory that this worker writes.
    """

    def __init__(self, quarantine: Quarantine, slot: int) -> None:
        self._quarantine = quarantine
        self._places = quarantine.places(slot)
        self._changes = -1
        self._entries: dict[bytes, tuple[int, float]] = {}

    def wanted(self) -> bool:
        """Whether requests should be noted now; looks for changes among those that are refused."""
        changes = self._quarantine.changes
        if changes != self._changes:
            self._entries, self._changes = self._quarantine.entries(), changes
        return self._quarantine.watched

    def refuses(self, digest: bytes) -> bool:
        """Whether the request with this digest is refused now."""
        entry = self._entries.get(digest)
        return entry is not None and entry[1] > time.monotonic()

    def enter(self) -> int | None:
        """A place for the note of one request; None where all are taken."""
        try:
            return self._places.popleft()
        except IndexError:
            return None

    def write(self, place: int, digest: bytes) -> None:
        """Note that the request with this digest is under way."""
        self._quarantine.note(place, digest)

    def leave(self, place: int, digest: bytes, harmless: bool) -> None:
        """Note that the request is over, and whether it has been run without harm."""
        self._quarantine.note(place)
        self._places.append(place)
        entry = self._entries.get(digest)
        if harmless and entry is not None:
            self._quarantine.answered(entry[0])
