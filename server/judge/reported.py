"""The days of report whose truth contradicts the champion's other days: a judge leaves it out.

Labels that are flipped for a day turn the gain of a challenger around. These days are found as a retraining
finds them (truth/batches.py), by the champion's answers alone: whether the challenger gains or loses by them
plays no part, or else the statistics would not hold.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from unpickled.server.accuracy.classes import ClassCounts
from unpickled.server.lifecycle.versions import Served
from unpickled.server.model.classification import Classification
from unpickled.server.model.outputs import Outputs
from unpickled.server.payloads import reading
from unpickled.server.truth import store
from unpickled.server.truth.batches import Batch, batches, dated
from unpickled.server.truth.lookup import Lookup
from unpickled.server.truth.values import truths_of

# Seconds before the first row of the challenger from which on days are compared: it may begin on a wrong one.
_BEFORE = 7 * 86_400

Array = npt.NDArray[Any]


class _Rows(NamedTuple):
    """Rows with truth: the day on which it was reported, truth and answer, as truth/batches.py takes them."""

    days: Array
    truth: Array
    answers: Array


def left_out(folder: Path, champion: Served, since: float) -> tuple[Batch, ...]:
    """The days whose truth does not count.

    Args:
        folder: That of the payload log.
        champion: The version whose answers are compared with the truth.
        since: When the challenger answered its first row, in seconds since 1970.

    Raises:
        ServingError: A file of the log cannot be read.
    """
    start = since - _BEFORE
    lookup = Lookup(map(dated, store.read(folder, champion.name, datetime.fromtimestamp(start, UTC))))
    read = reading.read(folder, champion.name, start, columns=(), files=(champion.sha256,))
    parts = [_rows(batch.at(batch.answered), lookup, champion.model.outputs) for batch in read]
    parts = [part for part in parts if len(part.days)]
    if not parts:
        return ()
    found = batches(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    return tuple(day for day in found if day.left_out)


def _rows(batch: reading.Batch, lookup: Lookup, outputs: Outputs) -> _Rows:
    """The rows of a batch with a truth that the version could have answered."""
    found = lookup.find(batch.column("prediction_id").tolist())
    truths = truths_of(outputs)
    kept = [truths.comparable(each.truth) for each in found.truths]
    fits = np.array([truth is not None for truth in kept], np.bool_)
    batch = batch.at(found.mask).at(fits)
    days = np.array([each.day for each, fit in zip(found.truths, fits, strict=True) if fit], np.str_)
    fitting = [truth for truth in kept if truth is not None]
    if isinstance(outputs, Classification):
        board = ClassCounts(outputs)
        return _Rows(days, board.places(fitting), board.places_answered(batch.column("label")))
    return _Rows(days, np.array(fitting, np.float64).reshape(batch.scores.shape), batch.scores)
