"""The numbers that a regressor predicts, counted between the deciles of its predictions in training.

    ("predicted", model, version, target, *bounds)      buckets, one above the last bound too; the sum

All routes of a version share these series. If a version predicts as it did in training, each bucket gets
about a tenth of the rows.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence

import numpy as np

from unpickled.server.inference.prediction import Prediction
from unpickled.server.model.outputs import Outputs, Scores
from unpickled.server.observe.counters import Block, Key, Numbers
from unpickled.server.observe.tally import Tally

PREDICTED = "predicted"

# The bounds of a histogram, then its counts with the one above the last bound, then the sum of all values.
Histogram = tuple[Sequence[float], Sequence[float]]


# The series of a target, and the bounds of its buckets.
_Target = tuple[Numbers, tuple[float, ...]]


class ValueTally(Tally):
    """A tally that counts predicted numbers too.

    It is a class of its own so that classifiers pay nothing for it.
    """

    __slots__ = ("_only", "_targets")

    def __init__(self, block: Block, model: str, version: int, route: str, outputs: Outputs) -> None:
        super().__init__(block, model, version, route, outputs)
        key = (PREDICTED, model, str(version))
        self._targets: list[_Target] = [
            (block.series((*key, target, *map(str, bounds)), len(bounds) + 2), bounds)
            for target, bounds in outputs.measured.items()
        ]
        self._only = self._targets[0] if len(self._targets) == 1 else None

    def answered(self, started: float, read: float, prediction: Prediction) -> float:
        ended = Tally.answered(self, started, read, prediction)
        scores = prediction.scores
        if len(scores) > 1:
            self._count_table(scores)
        elif self._only is not None:
            # Without a loop, which would take as long as all else here.
            counts, bounds = self._only
            value = scores[0][0]
            counts[bisect_left(bounds, value)] += 1.0
            counts[-1] += value
        else:
            for (counts, bounds), value in zip(self._targets, scores[0], strict=True):
                counts[bisect_left(bounds, value)] += 1.0
                counts[-1] += value
        return ended

    def _count_table(self, scores: Scores) -> None:
        for (counts, bounds), column in zip(self._targets, np.asarray(scores, np.float64).T, strict=True):
            numbers = np.bincount(np.searchsorted(bounds, column), minlength=len(bounds) + 1).tolist()
            total = float(column.sum())
            for place, number in enumerate(numbers):
                counts[place] += number
            counts[-1] += total


def tally_of(block: Block, model: str, version: int, route: str, outputs: Outputs) -> Tally:
    """The tally for models with these outputs."""
    kind = ValueTally if outputs.measured else Tally
    return kind(block, model, version, route, outputs)


def histograms(series: Sequence[tuple[Key, Sequence[float]]]) -> Mapping[tuple[str, ...], Histogram]:
    """(model, version, target) -> its histogram; of a version that was replaced in place, the later one."""
    return {
        (model, version, target): (tuple(map(float, bounds)), numbers)
        for (model, version, target, *bounds), numbers in series
    }
