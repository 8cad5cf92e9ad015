"""The truth of each day of report, beside the champion's answers: days that contradict the others are told.

Truth comes in batches: a file of labels, a run of a job, an afternoon's work. One that is wrong (labels are
flipped, rows shifted by one, grams taken for kilograms) has nothing to do with the rows, though the days
around it are fine. A world that changes looks alike, but it stays changed. The truth of a day is left out,
therefore, if the champion is right about it less often than on the fine days before and after, sharply and
beyond chance, and

- no more often than if the day's truths were dealt out to its rows at random, or
- on the newest day, of which nobody knows what follows, less often than that, beyond chance. A day later it
  is known: if the next one is as bad, the world has changed, and both days count.

A day that falls sharply and still has to do with its rows, as a holiday may, is told and counts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from unpickled.server.drift.chance import at_least, at_most, drawn_at_least
from unpickled.server.truth.store import Kept

# The fewest rows of a day that is compared, the least difference of two shares that is sharp, and the chance
# of a false alarm over all days.
FEWEST, SHARPLY, LEVEL = 30, 0.15, 0.001
# Truth has to do with its rows if dealing makes the champion right so often with less than this chance.
_RELATED = 0.05
# A number is right if it is no further from the truth than so many median errors.
_USUAL = 3.0
# How often the truths of a day are dealt out to its rows.
_DEALS = 20

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """The truths that were reported on one day.

    ``right`` is the share of their rows where the champion is right: where its label is the true one, or its
    numbers are no further from the true ones than usual. ``contradicting`` says how these truths contradict
    those of the other days, empty where they do not; ``left_out``: they do not count.
    """

    day: str
    rows: int
    right: float
    contradicting: str = ""
    left_out: bool = False


@dataclass(frozen=True, slots=True)
class Reported:
    """A truth, and the date on which it was reported, which makes no two of them differ."""

    truth: Any
    day: str = field(compare=False)


def dated(line: Kept) -> Kept:
    """The line with a Reported in place of its truth."""
    return line._replace(truth=Reported(line.truth, line.received[:10]))


@dataclass(frozen=True, slots=True)
class _Day:
    """The rows whose truth was reported on a day: how many, how many right, and how many right by dealing."""

    name: str
    rows: int
    right: int
    dealt: float

    @property
    def share(self) -> float:
        return self.right / self.rows

    @property
    def fine(self) -> bool:
        """Whether its truth has to do with its rows: the champion is right more often than by dealing."""
        return at_least(self.right, self.rows, self.dealt) < _RELATED

    def falls_below(self, other: "_Day", level: float) -> bool:
        """Whether the champion is right sharply less often than on another day, beyond chance."""
        wrong, wrong_there = self.rows - self.right, other.rows - other.right
        drawn = drawn_at_least(wrong, self.rows, wrong + wrong_there, self.rows + other.rows)
        return other.share - self.share >= SHARPLY and drawn < level

    def opposes(self, level: float) -> bool:
        """Whether the champion is right less often than by dealing, beyond chance."""
        return at_most(self.right, self.rows, self.dealt) < level


def batches(days: Array, truth: Array, answers: Array) -> tuple[Batch, ...]:
    """The truths of each day on which some were reported, the earliest first.

    Args:
        days: The date on which the truth of each row was reported (rows,).
        truth: The classes (rows,), or numbers in float64 (rows, targets).
        answers: Those that the champion gave, likewise.
    """
    count = _counter(truth, answers)
    every = [_day(name, days == name, count) for name in np.unique(days).tolist()]
    judged = [day for day in every if day.rows >= FEWEST]
    level = LEVEL / max(len(judged), 1)
    sentences = {day.name: _contradiction(judged, place, level) for place, day in enumerate(judged)}
    return tuple(_batch(day, *sentences.get(day.name, ("", False))) for day in every)


def _counter(truth: Array, answers: Array) -> Callable[[Mask, int], int]:
    """How many of some rows are right if each gets the truth of the row so many places further."""
    if truth.ndim == 1:
        return lambda rows, shift: int((answers[rows] == np.roll(truth[rows], shift)).sum())
    reach = _USUAL * np.median(np.abs(answers - truth), axis=0)

    def near(rows: Mask, shift: int) -> int:
        errors = np.abs(answers[rows] - np.roll(truth[rows], shift, axis=0))
        return int((errors <= reach).all(axis=1).sum())

    return near


def _day(name: str, rows: Mask, count: Callable[[Mask, int], int]) -> _Day:
    size = int(np.count_nonzero(rows))
    shifts = np.unique(np.linspace(1, max(size - 1, 1), _DEALS).astype(int)).tolist()
    dealt = sum(count(rows, shift) for shift in shifts) / (len(shifts) * size)
    return _Day(name, size, count(rows, 0), dealt)


def _contradiction(days: Sequence[_Day], place: int, level: float) -> tuple[str, bool]:
    """A clause about a day that contradicts the others, "" if it does not; whether its truth is left out."""
    day = days[place]
    before = next((each for each in reversed(days[:place]) if each.fine), None)
    after = next((each for each in days[place + 1 :] if each.fine), None)
    if before is None or not day.falls_below(before, level):
        return "", False
    falls = f"the champion is right in {day.share:.1%}, in {before.share:.1%} on {before.name}"
    if after is not None and day.falls_below(after, level):
        clause = f"{falls} and in {after.share:.1%} on {after.name}"
        return (f"{clause}, and in {day.dealt:.1%} if the truths are dealt out at random", not day.fine)
    if place == len(days) - 1 and before is days[place - 1] and day.opposes(level):
        return f"{falls}, and in {day.dealt:.1%} if the truths are dealt out at random", True
    return "", False


def _batch(day: _Day, contradicting: str, left_out: bool) -> Batch:
    return Batch(day=day.name, rows=day.rows, right=day.share, contradicting=contradicting, left_out=left_out)
