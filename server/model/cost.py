"""The cost of a model: how long it takes for one row, and for each row of a batch."""

import math
from collections.abc import Callable
from time import perf_counter
from typing import Any, NamedTuple, Protocol

from unpickled.server.artifact.manifest import Manifest
from unpickled.server.message.answer import dumps
from unpickled.server.model.feeds import Feeds
from unpickled.server.model.row import RunRow
from unpickled.server.model.signature import Signature

# Seconds of a slice of a batch, and those of a run that is not measured a third time.
SLICE, _LONG = 5e-3, 5e-3
# A slice takes at least so many times the time of one row, of which it saves the most by then: a network that
# reads all its weights for one row reads them once for a slice. Beyond the longest, in seconds, it need not.
_RUNS, _LONGEST = 4, 0.25
# Rows of the batch with which a model is measured, and the least rows of a slice.
_ROWS, _LEAST_ROWS = 64, 64
# Seconds that such a batch may take; a slower model is measured with fewer rows, or with one.
_MOST = 0.1


class _Model(Protocol):
    manifest: Manifest
    signature: Signature
    run_row: RunRow | None

    def run(self, feeds: Feeds) -> Any: ...


class Measured(NamedTuple):
    """The cost of a model, as measured.

    Attributes:
        single: Seconds for a single row.
        each: Seconds for each further row of a batch.
        size: Bytes of one row in JSON.
        numbers: Numbers in an answer for each byte of a request, at most.
    """

    single: float
    each: float
    size: int
    numbers: float

    @property
    def slice_rows(self) -> int:
        """Rows of a batch that are run at a time: some milliseconds, or as many as make up for a run."""
        seconds = max(SLICE, min(_RUNS * self.single, _LONGEST))
        # A multiple: vectorized kernels then treat each row as they do in the whole batch, to the last bit.
        return max(1, math.ceil(seconds / self.each / _LEAST_ROWS)) * _LEAST_ROWS

    @property
    def sliced(self) -> float:
        """Seconds for each row of a batch that is run in slices."""
        return self.each + self.single / self.slice_rows


def measured(model: _Model) -> Measured:
    """Measure a model with its golden rows, which takes some milliseconds."""
    signature, run_row = model.signature, model.run_row
    rows = [signature.check_row(list(row), 0) for row in model.manifest.golden.rows]
    if run_row is None:
        single = _fastest(lambda: model.run(signature.feeds(rows[:1])))
    else:
        single = _fastest(lambda: run_row(rows[0]))  # type: ignore[arg-type]
    each, size = single, max(len(dumps(row)) for row in rows)
    if count := _ROWS if single <= _LONG else min(_ROWS, int(_MOST / single)):
        several = signature.feeds((rows * count)[:count])
        seconds = _fastest(lambda: model.run(several))
        # Noise must not make rows cost nothing.
        each = max(seconds - single, seconds / 10) / count
    # A value takes a digit, and a sign behind it.
    numbers = len(model.manifest.golden.scores[0]) / (2 * len(model.manifest.features))
    return Measured(single, each, size, numbers)


def _fastest(call: Callable[[], object]) -> float:
    """Seconds of the fastest of a few calls; of two calls that are long.

    One call would not do: where the machine is busy it may be interrupted, and a fast model pass for a slow
    one, whose requests wait for turns, and are refused where many come at once.
    """
    fastest = math.inf
    for count in range(3):
        started = perf_counter()
        call()
        fastest = min(fastest, perf_counter() - started)
        if count and fastest > _LONG:
            break
    return fastest
