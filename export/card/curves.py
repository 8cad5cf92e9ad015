"""One class against all others: the areas under its curves, and the thresholds of which they are drawn."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from unpickled.export.card.intervals import Floats, area, share, short
from unpickled.export.reference import between
from unpickled.server.artifact.card import ClassCard, Threshold
from unpickled.server.artifact.reference import FEWEST

# The most thresholds of a class.
MOST = 40


class _Steps(NamedTuple):
    """The distinct scores from the highest to the lowest, and how many rows have at least that one."""

    scores: Floats
    rows: npt.NDArray[np.int64]
    inside: npt.NDArray[np.int64]

    @property
    def outside(self) -> npt.NDArray[np.int64]:
        return self.rows - self.inside


def make(name: str, scores: Floats, inside: npt.NDArray[np.bool_], drawn: bool) -> ClassCard:
    """The card of a class.

    Args:
        name: Its name.
        scores: Its score of each row (rows,).
        inside: Whether each row belongs to it (rows,).
        drawn: Whether it has thresholds.
    """
    rows = int(inside.sum())
    others = len(inside) - rows
    if min(rows, others) < FEWEST:
        return ClassCard(name=name, rows=rows)
    steps = _steps(scores, inside)
    return ClassCard(
        name=name,
        rows=rows,
        roc_auc=area(_area(steps), rows, others),
        # Each row of the class counts as one trial, as in Boyd, Eng and Page (2013).
        average_precision=share(_average_precision(steps) * rows, rows),
        thresholds=tuple(_thresholds(steps)) if drawn else (),
    )


def _steps(scores: Floats, inside: npt.NDArray[np.bool_]) -> _Steps:
    order = np.argsort(-scores, kind="stable")
    falling = scores[order]
    last = np.append(np.flatnonzero(falling[1:] != falling[:-1]), len(falling) - 1)
    return _Steps(falling[last], last + 1, np.cumsum(inside[order])[last])


def _area(steps: _Steps) -> float:
    found = np.concatenate([[0], steps.inside]) / steps.inside[-1]
    false_alarms = np.concatenate([[0], steps.outside]) / steps.outside[-1]
    return float(min(np.trapezoid(found, false_alarms), 1.0))


def _average_precision(steps: _Steps) -> float:
    gained = np.diff(steps.inside, prepend=0) / steps.inside[-1]
    return float(min((gained * steps.inside / steps.rows).sum(), 1.0))


def _thresholds(steps: _Steps) -> Iterator[Threshold]:
    """At most MOST points, about as far apart on the curves as in rows."""
    rows, inside, others = (int(counts[-1]) for counts in (steps.rows, steps.inside, steps.outside))
    along = (steps.inside / inside + steps.outside / others) / 2
    passed, gone = 0, 0.0
    while True:
        enough = np.searchsorted(steps.rows, passed + FEWEST), np.searchsorted(along, gone + 1 / MOST)
        at = int(max(enough))
        if at >= len(along) or rows - steps.rows[at] < FEWEST:
            return
        passed, gone, found = int(steps.rows[at]), float(along[at]), int(steps.inside[at])
        yield Threshold(
            score=-between(-steps.scores[at], -steps.scores[at + 1]),
            rows=short(passed / rows),
            precision=short(found / passed),
            recall=short(found / inside),
            false_alarms=short((passed - found) / others),
        )
