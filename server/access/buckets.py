"""Rate limits: a bucket of tokens for each caller, which all processes of a server share.

A bucket is one number in shared memory: the time at which it is full again. A request moves it on by the
time in which one token arrives, and is refused where that would lie further ahead than an empty bucket does
(the generic cell rate algorithm). A time in the past is a full bucket, so such a place may go to another
caller: no bucket has to be forgotten by anybody.

    words | tag | time | tag | time | ...     a caller may use the SET places that its tag leads to

Processes write without a lock. If two of them write to a bucket at the same moment, one request is not
counted: the limit then lets one more through.
"""

import math
from hashlib import blake2b

# Places that a tag may have: one look-up reads as many numbers.
_SET = 8


class Bucket:
    """The tokens of one caller: ``rate`` a second, ``burst`` at most."""

    __slots__ = ("_interval", "_place", "_slack", "_tag", "_tags", "_times", "burst", "rate")

    def __init__(self, words: memoryview, tag: int, rate: float, burst: int) -> None:
        self._tags, self._times = words.cast("Q"), words.cast("d")
        self._tag = tag
        self._place = 2 * _SET * (tag % (len(self._tags) // (2 * _SET)))
        self.rate, self.burst = rate, burst
        self._interval = 1.0 / rate
        self._slack = self._interval * (burst - 1)

    def take(self, now: float) -> float:
        """Take a token at ``now``, in seconds of time.monotonic(), a clock for all processes.

        Returns:
            0, or the seconds until there is a token again.
        """
        place, times = self._place, self._times
        if self._tags[place] != self._tag:
            place = self._claim(now)
        full = times[place + 1]
        if full < now:
            full = now
        wait = full - now - self._slack
        if wait > 1e-9:
            return wait
        times[place + 1] = full + self._interval
        return 0.0

    def _claim(self, now: float) -> int:
        """The place of this bucket: the one it has, or else one that is free, or else the fullest one."""
        tags, times = self._tags, self._times
        first = self._place - self._place % (2 * _SET)
        places = range(first, first + 2 * _SET, 2)
        place = next((place for place in places if tags[place] == self._tag), -1)
        if place < 0:
            place = min(places, key=lambda place: times[place + 1])
            tags[place] = self._tag
            times[place + 1] = now
        self._place = place
        return place


class Buckets:
    """The buckets of a server in its shared memory, ``content``: 16 bytes for each."""

    def __init__(self, content: memoryview) -> None:
        self._words = content

    def of(self, name: str, rate: float, burst: int | None) -> Bucket:
        """The bucket of a caller; by default it holds the tokens of one second."""
        tag = int.from_bytes(blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()) or 1
        return Bucket(self._words, tag, rate, burst or max(1, math.ceil(rate)))
