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

# Seconds of a slice of a batch, and those of a run that is not measured again.
SLICE, _LONG = 5e-3, 5e-3
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
    """The cost of a model: seconds for a single row, and for each of a batch; bytes of one row in JSON."""

    single: float
    each: float
    size: int

    @property
    def slice_rows(self) -> int:
        """Rows of a batch that are run at a time."""
        # A multiple: vectorized kernels then treat each row as they do in the whole batch, to the last bit.
        return max(1, int(SLICE / self.each / _LEAST_ROWS)) * _LEAST_ROWS


def measured(model: _Model) -> Measured:
    """Measure a model with its golden rows, which takes some milliseconds."""
    signature, run_row = model.signature, model.run_row
    rows = [signature.check_row(list(row), 0) for row in model.manifest.golden.rows]
    if run_row is None:
        single = _fastest(lambda: model.run(signature.feeds(rows[:1])))
    else:
        single = _fastest(lambda: run_row(rows[0]))  # type: ignore[arg-type]
    count = _ROWS if single <= _LONG else min(_ROWS, max(1, int(_MOST / single)))
    several = signature.feeds((rows * count)[:count])
    each = _fastest(lambda: model.run(several)) / count if count > 1 else single
    return Measured(single, each, max(len(dumps(row)) for row in rows))


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
