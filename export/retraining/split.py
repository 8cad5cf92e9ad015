"""Which rows of the log are held out: the newest, as a model answers rows that come after it was trained."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unpickled.export.errors import DataError
from unpickled.server.quote import counted

# The fewest rows that are held out: fewer hardly show which of two versions is better.
LEAST = 100


@dataclass(frozen=True, slots=True)
class Split:
    """The rows of the log, parted by the time of their prediction.

    Attributes:
        start: The moment from which on rows are held out, in seconds since 1970.
        held_out: (rows,): whether a row is.
        seen: How many of these the champion was trained on: the log has too few newer ones.
    """

    start: float
    held_out: npt.NDArray[np.bool_]
    seen: int = 0


def split(times: npt.NDArray[np.float64], share: float, trained_until: float | None = None) -> Split:
    """Hold out a share of the rows, the newest, and LEAST at least; rows of one moment stay together.

    Args:
        times: When each row was predicted (rows,), in seconds since 1970.
        share: The share to hold out.
        trained_until: The time of the newest row of the log that the champion was trained on: where there are
            LEAST newer ones, only such are held out, so that both versions are measured on new rows.

    Raises:
        DataError: There are too few rows.
    """
    count = len(times)
    if count < 2 * LEAST:
        raise DataError(
            f"The log has {counted(count, 'row')} whose truth is known, and at least {2 * LEAST} are needed: "
            f"{LEAST} of them are held out, to compare both versions on, and the others are to be learned "
            "from. Report more truths, or name a longer --since."
        )
    held_out = min(max(round(share * count), LEAST), count - 1)
    start = float(np.sort(times)[count - held_out])
    if trained_until is not None and np.count_nonzero(times > trained_until) >= LEAST:
        start = max(start, float(times[times > trained_until].min()))
    newest = times >= start
    if newest.all():
        raise DataError(
            "All rows of the log whose truth is known were predicted at the same moment, so that none is "
            "older than those that are held out: wait for more."
        )
    seen = 0 if trained_until is None else int(np.count_nonzero(newest & (times <= trained_until)))
    return Split(start, newest, seen)
