"""A pipeline and its graph on the same rows: asking both, and the verdict on their answers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd

from unpickled.export.convert import Conversion
from unpickled.export.data.layout import Rows
from unpickled.export.gate import overflow
from unpickled.export.gate.answers import AnswerKind, Answers, Array, Bools, kind_of, labels_differ
from unpickled.export.gate.exactness import tolerance
from unpickled.export.gate.margins import gap

Run = Callable[[dict[str, Array]], tuple[Array, Array]]
# Both answer alike; the pipeline refuses the rows or its scores are not finite; the answers differ.
Verdict = Literal["alike", "refused", "different"]

# Labels may differ if the pipeline's label is no further from another one than this (gate/margins.py).
TIE_GAP = 1e-6
# Fewer rows than these are asked about one by one.
FEW = 32


@dataclass(frozen=True, slots=True)
class Trial:
    """The worst verdict on some rows, and what the report says of them if they were answered alike."""

    verdict: Verdict
    rows: int = 0
    difference: float = 0.0
    ties: int = 0


@dataclass(slots=True)
class Pair:
    """A pipeline and its graph; ``run`` runs the graph on feeds and returns (labels, scores).

    ``tolerance`` is the largest difference allowed between their scores (gate/exactness.py), and ``kind`` the
    kind of their answers.
    """

    pipeline: Any
    conversion: Conversion
    run: Run
    tolerance: float = field(init=False)
    kind: AnswerKind = field(init=False)

    def __post_init__(self) -> None:
        self.tolerance = tolerance(self.pipeline, self.conversion)
        self.kind = kind_of(self.conversion.outputs)

    def expected(self, rows: Rows) -> Answers:
        """The pipeline's answers; raises whatever it raises."""
        return self.kind.asked(self.pipeline, rows)

    def served(self, frame: pd.DataFrame) -> Answers:
        """The graph's answers."""
        return self.answered(self.feeds(frame))

    def feeds(self, frame: pd.DataFrame) -> dict[str, Array]:
        """The graph's input tensors for the rows of a frame."""
        return self.conversion.layout.feeds(frame, self.conversion.inputs)

    def answered(self, feeds: dict[str, Array]) -> Answers:
        """The graph's answers to these tensors."""
        labels, scores = self.run(feeds)
        return Answers(np.asarray(labels), np.asarray(scores, dtype=np.float64))

    def difference(self, expected: Answers, served: Answers) -> Array:
        """(rows,): the largest difference between the scores of each row, as ``tolerance`` measures it."""
        return self.kind.difference(expected, served)

    def wrong(self, expected: Answers, served: Answers) -> Bools:
        """(rows,): whether the scores are too far apart, or the labels differ without a tie."""
        if not expected.resembles(served):
            return np.ones(len(expected.labels), dtype=bool)
        apart = gap(expected.scores) if expected.margins is None else expected.margins
        wrong_label = labels_differ(expected, served) & (apart > TIE_GAP)
        return np.asarray(wrong_label | (self.difference(expected, served) > self.tolerance))

    def trials(self, frame: pd.DataFrame, size: int) -> list[Trial]:
        """The worst verdict on each ``size`` consecutive rows, with the differences between the answers."""
        if not len(frame):
            return []
        try:
            expected = self.expected(self.conversion.layout.rows(frame))
        except MemoryError:
            raise
        except Exception:
            return self._refused(frame, size)
        try:
            served = self.served(frame)
            wrong = self.wrong(expected, served)
        except MemoryError:
            raise
        except Exception:
            return self._halves(frame, size) or [Trial("different")]
        finite: Bools = np.asarray(np.isfinite(expected.scores).all(axis=1))
        if not expected.resembles(served):
            return [Trial(_verdict(bool(part.all()), True)) for part in _parted(finite, size)]
        return _trials(
            size, finite, wrong, self.difference(expected, served), labels_differ(expected, served)
        )

    def verdicts(self, frame: pd.DataFrame, size: int) -> list[Verdict]:
        """The worst verdict on each ``size`` consecutive rows."""
        return [trial.verdict for trial in self.trials(frame, size)]

    def _refused(self, frame: pd.DataFrame, size: int) -> list[Trial]:
        """The verdicts on rows of which the pipeline refuses at least one.

        To ask it about each would take minutes in a wide table. So rows that numbers overflow in on their
        way to a classifier are taken as refused, once the pipeline has refused the first and the last. A few
        are asked about one by one, apart from the others, which are then answered at once.
        """
        if len(frame) <= size:
            return [Trial("refused")]
        suspects = overflow.suspects(self.pipeline, self.conversion.layout.rows(frame))
        suspected = np.array([part.any() for part in _parted(suspects, size)])
        count = int(suspected.sum())
        if not count or (count >= FEW and not self._both_refused(frame, size, np.flatnonzero(suspected))):
            return self._halves(frame, size)
        parts = [frame.iloc[at * size : (at + 1) * size] for at in np.flatnonzero(suspected)]
        alone = [self.trials(part, size)[0] if count < FEW else Trial("refused") for part in parts]
        of_each = {True: iter(alone), False: iter(self.trials(frame[~np.repeat(suspected, size)], size))}
        return [next(of_each[suspect]) for suspect in suspected.tolist()]

    def _both_refused(self, frame: pd.DataFrame, size: int, suspected: Array) -> bool:
        ends = (frame.iloc[index * size : (index + 1) * size] for index in (suspected[0], suspected[-1]))
        return all(trial.verdict == "refused" for end in ends for trial in self.trials(end, size))

    def _halves(self, frame: pd.DataFrame, size: int) -> list[Trial]:
        """The verdicts on the two halves of the rows; none if there is nothing to halve."""
        half = len(frame) // size // 2 * size
        return self.trials(frame.iloc[:half], size) + self.trials(frame.iloc[half:], size) if half else []


def _parted(column: Array, size: int) -> list[Array]:
    """The column (rows,) in parts of ``size`` rows."""
    return [column[start : start + size] for start in range(0, len(column), size)]


def _trials(size: int, finite: Bools, wrong: Bools, difference: Array, other_label: Bools) -> list[Trial]:
    """The trial of each ``size`` rows."""
    starts = np.arange(0, len(finite), size)
    parts = zip(
        np.logical_and.reduceat(finite, starts).tolist(),
        np.logical_or.reduceat(wrong, starts).tolist(),
        np.diff(starts, append=len(finite)).tolist(),
        np.maximum.reduceat(difference, starts).tolist(),
        np.add.reduceat(other_label.astype(np.int64), starts).tolist(),
        strict=True,
    )
    return [Trial(_verdict(whole, differ), rows, worst, ties) for whole, differ, rows, worst, ties in parts]


def _verdict(finite: bool, wrong: bool) -> Verdict:
    """The verdict on rows whose scores are all finite, or whose answers differ somewhere."""
    if not finite:
        return "refused"
    return "different" if wrong else "alike"
