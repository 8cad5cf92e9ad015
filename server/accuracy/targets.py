"""Counts of a regressor's answers whose truth is known.

    predicted   rows answered, with and without truth
    errors      of each target: rows; rows whose error is FAR out; sums of error, |error|, error^2 and error^4

An error is prediction - truth. A single truth of 1e300 would spoil these sums for good. An error that is
further out than FAR times the range of the target's usual predictions is therefore in none of them: its row
is counted apart.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from unpickled.server.accuracy.layout import Floats, Layout
from unpickled.server.model.outputs import Labels, Scores
from unpickled.server.model.regression import Regression
from unpickled.server.observe.values import FAR

ROWS, FAR_ROWS, ERROR, ABSOLUTE, SQUARES, FOURTHS = range(6)
# The limit of errors where a file does not tell the usual range; its fourth power can still be added up.
_MOST = 1e60


class TargetCounts:
    """Counts rows of one regressor.

    Attributes:
        layout: The arrays above.
        targets: The names of the targets.
        limits: The largest |error| of each target that is added up (targets,).
    """

    def __init__(self, outputs: Regression) -> None:
        self.targets = outputs.targets
        self.layout = Layout({"predicted": (1,), "errors": (len(self.targets), 6)})
        self.limits = np.array([_limit(outputs.measured[target]) for target in self.targets])

    def predicted(self, labels: Labels) -> Floats:
        """The counts of so many rows as there are labels, which have no truth yet."""
        counts = np.zeros(self.layout.size)
        counts[0] = len(labels)
        return counts

    def count(self, scores: Scores, truths: Sequence[Any]) -> Floats:
        """The counts of rows with these answers (rows, targets) and truths, (rows,) or (rows, targets).

        A truth that is None or NaN is unknown.
        """
        counts = np.zeros(self.layout.size)
        shape = len(truths), len(self.targets)
        # Truths of 1e308 may be that far from predictions: the difference is infinite, and FAR.
        with np.errstate(over="ignore", invalid="ignore"):
            true = np.asarray(truths, np.float64).reshape(shape)
            differences = np.asarray(scores, np.float64).reshape(shape) - true
        errors = self.layout.views(counts)["errors"]
        for target, error, limit in zip(errors, differences.T, self.limits, strict=True):
            target[:] = _sums(error[~np.isnan(error)], limit)
        return counts


def _sums(error: Floats, limit: float) -> list[float]:
    near = np.abs(error[np.abs(error) <= limit])
    total = float(error[np.abs(error) <= limit].sum())
    far = float(len(error) - len(near))
    squares = near**2
    return [float(len(error)), far, total, float(near.sum()), float(squares.sum()), float((squares**2).sum())]


def _limit(deciles: Sequence[float]) -> float:
    """FAR times the range of the deciles, or the largest of them, if that is more."""
    if not deciles:
        return _MOST
    usual = max(deciles[-1] - deciles[0], abs(deciles[0]), abs(deciles[-1]))
    return min(FAR * (usual or 1.0), _MOST)
