"""Compares a version with its shadow on the rows that both have answered, and whose truth is known.

    rows, only_version, only_shadow     of classifiers: rows, and those that one of the two answered right
    loss                                rows with probabilities, sum and sum of squares of differences of log
    loss
    errors                              of each target: rows, sum and sum of squares of differences of |error|

The rows are the same, so their differences tell far more than two separate figures: what is hard for both
cancels out. As those of a scoreboard, such counts are added up.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from unpickled.server.accuracy import intervals
from unpickled.server.accuracy.classes import ClassCounts, losses
from unpickled.server.accuracy.figures import estimate
from unpickled.server.accuracy.intervals import Interval
from unpickled.server.accuracy.layout import Floats, Layout
from unpickled.server.accuracy.report import Estimate, Pair
from unpickled.server.accuracy.targets import TargetCounts
from unpickled.server.model.classification import Classification
from unpickled.server.model.outputs import Labels, Outputs, Scores
from unpickled.server.model.regression import Regression

_ROWS, _ONLY_VERSION, _ONLY_SHADOW = range(3)


class Sums(NamedTuple):
    """Some numbers: how many, their sum, and the sum of their squares."""

    rows: float = 0.0
    total: float = 0.0
    squares: float = 0.0


class Compared(NamedTuple):
    """The counts of a pair, by their names.

    rows, only_version, only_shadow: those of classifiers.
    loss: the differences of log loss, the shadow's minus the version's.
    errors: the differences of |error| of each target, likewise.
    """

    rows: int
    only_version: int
    only_shadow: int
    loss: Sums
    errors: dict[str, Sums]


class Pairing:
    """Counts rows that two versions have answered.

    Attributes:
        size: How many numbers the counts are.
        comparable: Whether both are classifiers, or predict the same targets.
    """

    def __init__(self, version: Outputs, shadow: Outputs) -> None:
        self._version, self._shadow = version, shadow
        self._targets = version.targets if isinstance(version, Regression) else ()
        if isinstance(shadow, Regression):
            self.comparable = bool(self._targets) and shadow.targets == self._targets
        else:
            self.comparable = not self._targets
        self._boards = [_board(outputs) for outputs in (version, shadow)]
        self._layout = Layout({"right": (3,), "loss": (3,), "errors": (len(self._targets), 3)})
        self.size = self._layout.size

    def count(
        self,
        version: tuple[Labels, Scores],
        shadow: tuple[Labels, Scores],
        truths: Sequence[Any],
    ) -> Floats:
        """The counts (size,) of rows with these answers of the two and these truths (Scoreboard.count)."""
        counts = np.zeros(self.size)
        if not len(truths) or not self.comparable:
            return counts
        views = self._layout.views(counts)
        if self._targets:
            self._count_errors(views["errors"], version[1], shadow[1], truths)
        else:
            self._count_right(views, version, shadow, truths)
        return counts

    def _count_right(
        self,
        views: dict[str, Floats],
        version: tuple[Labels, Scores],
        shadow: tuple[Labels, Scores],
        truths: Sequence[Any],
    ) -> None:
        right, loss = [], []
        for board, (labels, scores) in zip(self._boards, (version, shadow), strict=True):
            assert isinstance(board, ClassCounts)
            true, answered = board.places(truths), board.places_answered(labels)
            right.append(true == answered)
            if board.has_probabilities:
                loss.append(losses(np.asarray(scores, np.float64).reshape(len(true), -1), true)[0])
        views["right"][:] = [
            len(truths),
            float(np.count_nonzero(right[0] & ~right[1])),
            float(np.count_nonzero(right[1] & ~right[0])),
        ]
        if len(loss) == 2:
            differences = loss[1] - loss[0]
            # As in a scoreboard: a probability that is no number would spoil the sums for good.
            views["loss"][:] = _sums(differences[np.isfinite(differences)])

    def _count_errors(self, errors: Floats, version: Scores, shadow: Scores, truths: Sequence[Any]) -> None:
        shape = len(truths), len(self._targets)
        board = self._boards[0]
        assert isinstance(board, TargetCounts)
        true, ours, theirs = (
            np.asarray(numbers, np.float64).reshape(shape) for numbers in (truths, version, shadow)
        )
        with np.errstate(over="ignore", invalid="ignore"):
            before, after = np.abs(ours - true), np.abs(theirs - true)
        # As in a scoreboard: an absurd truth is in no sum.
        near = (before <= board.limits) & (after <= board.limits)
        for place, sums in enumerate(errors):
            some = near[:, place]
            sums[:] = _sums(after[some, place] - before[some, place])

    def read(self, counts: Floats) -> Compared:
        """Counts (size,) by their names."""
        views = self._layout.views(counts)
        rows, *only = (round(count) for count in views["right"].tolist())
        errors = {
            name: Sums(*sums) for name, sums in zip(self._targets, views["errors"].tolist(), strict=True)
        }
        return Compared(rows, only[0], only[1], Sums(*views["loss"].tolist()), errors)

    def report(self, version: int, shadow: int, counts: Floats) -> Pair:
        """The report about two versions with these numbers, from their counts."""
        if not self.comparable:
            note = "they answer in different ways, and are not compared"
            return Pair(version=version, shadow=shadow, rows=0, note=note)
        views = self._layout.views(counts)
        rows, *only = (round(count) for count in views["right"].tolist())
        if not self._targets:
            accuracy = estimate(difference(only[1], only[0], rows))
            return Pair(
                version=version,
                shadow=shadow,
                rows=rows,
                accuracy=accuracy,
                log_loss=estimate(_mean(views["loss"])),
                only_version=only[0],
                only_shadow=only[1],
                note=_verdict(accuracy, "more often right", 1),
            )
        mae = {
            name: figure
            for name, sums in zip(self._targets, views["errors"], strict=True)
            if (figure := estimate(_mean(sums))) is not None
        }
        first = next(iter(mae.values()), None)
        note = _verdict(first, "closer to the truth", -1) if len(self._targets) == 1 else ""
        rows = round(float(views["errors"][:, 0].max(initial=0.0)))
        return Pair(version=version, shadow=shadow, rows=rows, mae=mae, note=note)


def difference(gained: int, lost: int, rows: int) -> Interval | None:
    """The difference of two shares of the same rows, by Bonett and Price; None without rows.

    Example:
        >>> tuple(round(end, 3) for end in difference(10, 2, 100))
        (0.08, 0.008, 0.149)
    """
    if not rows:
        return None
    up, down = (gained + 1) / (rows + 2), (lost + 1) / (rows + 2)
    reach = intervals.SURE * math.sqrt((up + down - (up - down) ** 2) / (rows + 2))
    return Interval((gained - lost) / rows, max(up - down - reach, -1.0), min(up - down + reach, 1.0))


def _board(outputs: Outputs) -> ClassCounts | TargetCounts:
    if isinstance(outputs, Regression):
        return TargetCounts(outputs)
    assert isinstance(outputs, Classification)
    return ClassCounts(outputs)


def _sums(differences: Floats) -> list[float]:
    return [float(len(differences)), float(differences.sum()), float((differences**2).sum())]


def _mean(sums: Floats) -> Interval | None:
    rows, total, squares = sums.tolist()
    return intervals.mean(total, squares, rows)


def _verdict(figure: Estimate | None, word: str, better: int) -> str:
    """Which of the two is better; ``better`` is the sign of a difference that speaks for the shadow."""
    if figure is None or figure.lowest is None or figure.highest is None:
        return "no row tells which is better"
    if figure.lowest <= 0 <= figure.highest:
        return "these rows do not tell which is better"
    return f"the {'shadow' if figure.value * better > 0 else 'version'} is {word}"
