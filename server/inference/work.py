"""The work of a request: an estimate from what the model was measured to cost, and from earlier requests."""

import math
from typing import NamedTuple

from unpickled.server.model.cost import Measured

# A request that takes at most this many seconds need not wait for a turn.
_BRIEF = 250e-6
# The same for a single row.
_BRIEF_ROW = 100e-6
# Bytes of the longest body that may go without a turn, and the most numbers in its answer: a longer answer
# counts in the memory budget, and is sent in parts.
_MOST_BYTES, _MOST_NUMBERS = 9999, 10_000
# Seconds to read and write one byte of JSON.
_BYTE = 30e-9
# Weight of the last request in what is learnt; the first ones weigh more.
_WEIGHT = 0.1


class Work(NamedTuple):
    """The work of one request.

    model: its name.
    seconds: estimated time of one processor.
    single: whether it is a single row; these have a lane of their own.
    deadline: time.perf_counter() at which its answer is too late.
    started, read: time.perf_counter() at which it was first seen, and its body was there; 0 for streams.
    peer: address of its client; "" for a stream, and over HTTP/2.
    """

    model: str
    seconds: float
    single: bool
    deadline: float = math.inf
    started: float = 0.0
    read: float = 0.0
    peer: str = ""


class Cost:
    """The cost of requests to one model in one protocol, by the length of their bodies.

    Attributes:
        brief: Bytes of the longest body that is brief: its request need not wait for a turn.
    """

    def __init__(self, measured: Measured) -> None:
        self._single = measured.single + measured.size * _BYTE
        self._per_byte = measured.sliced / measured.size + _BYTE
        # Single rows with the names of their features, and some spaces.
        self._longest_row = 4 * measured.size + 100
        self.brief = self._longest_brief(measured.numbers)
        # Single rows and batches of which something was learnt, and the measurement at load.
        self._rows = self._batches = 1

    def is_single(self, length: int) -> bool:
        """Whether a body of so many bytes is taken for a single row."""
        return length <= self._longest_row

    def seconds(self, length: int) -> float:
        """The estimated time of one processor, in seconds."""
        return self._single if self.is_single(length) else self._single + length * self._per_byte

    def learn(self, length: int, seconds: float) -> None:
        """Note what a request really took. Threads may lose one another's notes, which does no harm."""
        if self.is_single(length):
            self._rows += 1
            self._single += max(_WEIGHT, 1 / self._rows) * (seconds - self._single)
        else:
            self._batches += 1
            each = max(0.0, seconds - self._single) / length
            self._per_byte += max(_WEIGHT, 1 / self._batches) * (each - self._per_byte)

    def _longest_brief(self, numbers: float) -> int:
        if self._single > _BRIEF_ROW:
            return 0
        batch = int((_BRIEF - self._single) / self._per_byte)
        # A body as long as a row with long numbers may be several rows with short ones.
        row = min(self._longest_row, 4 * batch)
        return min(max(batch, row), int(_MOST_NUMBERS / numbers), _MOST_BYTES)
