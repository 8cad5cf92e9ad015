"""The work of a request: an estimate from what the model was measured to cost, and from earlier requests."""

import math
from collections.abc import Callable
from time import perf_counter
from typing import NamedTuple

from unpickled.server.message.answer import dumps
from unpickled.server.model.session import Model

# A request that takes at most this many seconds need not wait for a turn.
_BRIEF = 250e-6
# The same for a single row.
_BRIEF_ROW = 100e-6
# Longest body that may go without a turn: four digits.
_MOST_DIGITS = 4
# Seconds of a run that is not measured again, and those of a slice of a batch.
_LONG, SLICE = 5e-3, 5e-3
# Rows of the batch with which a model is measured, and rows that every slice has.
_ROWS, _LEAST_ROWS = 64, 64
# Seconds to read and write one byte of JSON.
_BYTE = 30e-9
# Weight of the last request in what is learnt.
_WEIGHT = 0.1


class Work(NamedTuple):
    """The work of one request.

    model: its name.
    seconds: estimated time of one processor.
    single: whether it is a single row, which goes before batches.
    deadline: time.perf_counter() at which its answer is too late.
    started, read: time.perf_counter() at which it was first seen, and its body was there; 0 for streams.
    """

    model: str
    seconds: float
    single: bool
    deadline: float = math.inf
    started: float = 0.0
    read: float = 0.0


class Measured(NamedTuple):
    """The cost of a model: seconds for a single row, and for each of a batch; bytes of one row in JSON."""

    single: float
    each: float
    size: int

    @property
    def slice_rows(self) -> int:
        """Rows of a batch that are run at a time."""
        # A multiple: vectorized kernels then treat each row as they do in the whole batch, to the last bit.
        return max(1, int(SLICE / self.each / _LEAST_ROWS)) * _LEAST_ROWS


def measured(model: Model) -> Measured:
    """Measure a model with its golden rows, which takes some milliseconds."""
    signature, run_row = model.signature, model.run_row
    rows = [signature.check_row(list(row), 0) for row in model.manifest.golden.rows]
    several = signature.feeds((rows * _ROWS)[:_ROWS])
    if run_row is None:
        single = _fastest(lambda: model.run(signature.feeds(rows[:1])))
    else:
        single = _fastest(lambda: run_row(rows[0]))  # type: ignore[arg-type]
    each = single if single > _LONG else _fastest(lambda: model.run(several)) / _ROWS
    return Measured(single, each, max(len(dumps(row)) for row in rows))


class Cost:
    """The cost of requests to one model in one protocol, by the length of their bodies.

    Attributes:
        digits: A body whose length has at most so many digits is brief: it need not wait for a turn.
    """

    def __init__(self, measured: Measured) -> None:
        self._single = measured.single + measured.size * _BYTE
        self._per_byte = measured.each / measured.size + _BYTE
        # Single rows with the names of their features, and some spaces.
        self._longest_row = 4 * measured.size + 100
        self.digits = self._brief_digits()

    def is_single(self, length: int) -> bool:
        """Whether a body of so many bytes is taken for a single row."""
        return length <= self._longest_row

    def seconds(self, length: int) -> float:
        """The estimated time of one processor, in seconds."""
        return self._single if self.is_single(length) else self._single + length * self._per_byte

    def learn(self, length: int, seconds: float) -> None:
        """Note what a request really took. Threads may lose one another's notes, which does no harm."""
        if self.is_single(length):
            self._single += _WEIGHT * (seconds - self._single)
        else:
            self._per_byte += _WEIGHT * (max(0.0, seconds - self._single) / length - self._per_byte)

    def _brief_digits(self) -> int:
        if self._single > _BRIEF_ROW:
            return 0
        brief = [digits for digits in range(2, _MOST_DIGITS + 1) if self.seconds(10**digits - 1) <= _BRIEF]
        return max(brief, default=0)


def _fastest(call: Callable[[], object]) -> float:
    """Seconds of the fastest of a few calls; of one call that is long."""
    fastest = math.inf
    for _ in range(3):
        started = perf_counter()
        call()
        fastest = min(fastest, perf_counter() - started)
        if fastest > _LONG:
            break
    return fastest
