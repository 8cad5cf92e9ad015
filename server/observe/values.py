"""The numbers that a regressor predicts, counted between the deciles of its predictions in training.

    ("predicted", model, version, target, *bounds)      buckets; the sums of the numbers in them

All routes of a version share these series. If a version predicts as it did in training, each bucket between
the bounds gets about a tenth of the rows. The first and the last bucket have what lies too far out to be
added up: a single number such as 1e300 would spoil a sum for good. In the sum it counts as if it were at the
limit.
"""

import sys
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


# The series of a target, the second half of it, and all bounds of its buckets, the limits too.
_Target = tuple[Numbers, Numbers, tuple[float, ...]]
# Looked up once: this saves a twentieth of what a number costs.
_answered = Tally.answered
# How far out the limits lie, in multiples of the range of the bounds, or of the largest one.
FAR = 1000.0


class ValueTally(Tally):
    """A tally that counts predicted numbers too.

    It is a class of its own so that classifiers pay nothing for it.
    """

    __slots__ = ("_only", "_targets")

    def __init__(self, block: Block, model: str, version: int, route: str, outputs: Outputs) -> None:
        super().__init__(block, model, version, route, outputs)
        key = (PREDICTED, model, str(version))
        self._targets: list[_Target] = [
            _target(block, (*key, target, *map(str, bounds)), limited(bounds))
            for target, bounds in outputs.measured.items()
        ]
        self._only = self._targets[0] if len(self._targets) == 1 else None

    def answered(self, started: float, read: float, prediction: Prediction, waited: float = 0.0) -> float:
        ended = _answered(self, started, read, prediction, waited)
        scores = prediction.scores
        if len(scores) > 1:
            self._count_table(scores)
        elif self._only is not None:
            # Without a loop, which would take as long as all else here.
            counts, sums, bounds = self._only
            value = scores[0][0]
            place = bisect_left(bounds, value)
            counts[place] += 1.0
            sums[place] += value
        else:
            for (counts, sums, bounds), value in zip(self._targets, scores[0], strict=True):
                place = bisect_left(bounds, value)
                counts[place] += 1.0
                sums[place] += value
        return ended

    def _count_table(self, scores: Scores) -> None:
        columns = np.asarray(scores, np.float64).T
        for (counts, sums, bounds), column in zip(self._targets, columns, strict=True):
            places = np.searchsorted(bounds, column)
            numbers = np.bincount(places, minlength=len(bounds) + 1).tolist()
            totals = np.bincount(places, weights=column, minlength=len(bounds) + 1).tolist()
            for place, (number, total) in enumerate(zip(numbers, totals, strict=True)):
                counts[place] += number
                sums[place] += total


def _target(block: Block, key: Key, bounds: tuple[float, ...]) -> _Target:
    room = len(bounds) + 1
    series = block.series(key, 2 * room)
    return series, series[room:], bounds


def limited(bounds: Sequence[float]) -> tuple[float, ...]:
    """The bounds, with the limit below them in front and the limit above them at the end."""
    if not bounds:
        return (-sys.float_info.max, sys.float_info.max)
    reach = FAR * (max(bounds[-1] - bounds[0], abs(bounds[0]), abs(bounds[-1])) or 1.0)
    most = sys.float_info.max
    return (max(bounds[0] - reach, -most), *bounds, min(bounds[-1] + reach, most))


def tally_of(block: Block, model: str, version: int, route: str, outputs: Outputs) -> Tally:
    """The tally for models with these outputs."""
    kind = ValueTally if outputs.measured else Tally
    return kind(block, model, version, route, outputs)


def histograms(series: Sequence[tuple[Key, Sequence[float]]]) -> Mapping[tuple[str, ...], Histogram]:
    """(model, version, target) -> its histogram; of a version that was replaced in place, the later one."""
    return {
        (model, version, target): _histogram(tuple(map(float, bounds)), numbers)
        for (model, version, target, *bounds), numbers in series
    }


def _histogram(bounds: tuple[float, ...], numbers: Sequence[float]) -> Histogram:
    low, *_, high = limited(bounds)
    room = len(numbers) // 2
    below, *counts, above = numbers[:room]
    total = sum(numbers[room + 1 : -1]) + below * low + above * high
    counts[0] += below
    counts[-1] += above
    return bounds, [*counts, total]
