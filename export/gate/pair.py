"""A pipeline and its graph on the same rows: comparing their answers, and describing a difference."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.impute import KNNImputer
from sklearn.impute._iterative import IterativeImputer
from sklearn.kernel_approximation import RBFSampler
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor, LocalOutlierFactor

from unpickled.export.convert import Conversion
from unpickled.export.data.layout import Rows
from unpickled.export.gate import overflow
from unpickled.export.gate.exactness import tolerance
from unpickled.export.gate.margins import gap, margins, ranking
from unpickled.export.gate.parting import Parting, parting, row_in_words
from unpickled.export.inside import decides_by_probability, everything, innermost, split

Array = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]
Run = Callable[[dict[str, Array]], tuple[Array, Array]]
# Both answer alike; the pipeline refuses the rows or its scores are not finite; the answers differ.
Verdict = Literal["alike", "refused", "different"]

# Labels may differ if the pipeline's label is no further from another one than this (gate/margins.py).
TIE_GAP = 1e-6
# Fewer rows than these are asked about one by one.
FEW = 32
# In multiples of the training range: the longest reach for neighbors, and for sums that rounding spoils.
NEIGHBORS_REACH, WAVES_REACH = 10.0, 1e6

_BY_NEIGHBORS = (KNeighborsClassifier, KNeighborsRegressor, LocalOutlierFactor)

_NEIGHBORS = (
    "Training rows equally far from a row are taken as its neighbors in no defined order. Another scaler in "
    "front may tell them apart (unpickled train tries those it has); else take an estimator without "
    "neighbors, such as a forest; nothing was written."
)

_DONORS = (
    "KNNImputer takes training rows equally far from a row in no defined order, and weights='distance' "
    "divides by distances that are rounding errors: scale the features in front of it, or use SimpleImputer "
    "or IterativeImputer; nothing was written."
)


@dataclass(slots=True)
class Answers:
    """Answers to rows: ``labels`` (rows,) and ``scores``, float64 (rows, classes) or (rows, targets).

    ``margins`` (rows,) say how far each label is from another one; only those of the pipeline count.
    """

    labels: Array
    scores: Array
    margins: Array | None = None


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

    ``tolerance`` is the largest difference allowed between their scores (gate/exactness.py).
    """

    pipeline: Any
    conversion: Conversion
    run: Run
    tolerance: float = field(init=False)

    def __post_init__(self) -> None:
        self.tolerance = tolerance(self.pipeline, self.conversion)

    def expected(self, rows: Rows) -> Answers:
        """The pipeline's answers; raises whatever it raises."""
        return answers_of(self.pipeline, self.conversion, rows)

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
        apart, size = _apart(expected.scores, served.scores), np.abs(np.nan_to_num(expected.scores))
        if self.conversion.outputs.kind == "prediction":
            apart = apart / np.maximum(1.0, size)
        elif self.conversion.outputs.kind == "scores":
            apart = apart / np.maximum(1.0, size.max(axis=1, keepdims=True))
        return np.asarray(apart.max(axis=1))

    def wrong(self, expected: Answers, served: Answers) -> Bools:
        """(rows,): whether the scores are too far apart, or the labels differ without a tie."""
        if not _same_shape(expected, served):
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
        if not _same_shape(expected, served):
            return [Trial(_verdict(part, np.ones(len(part), dtype=bool))) for part in _parted(finite, size)]
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

    def complaint(self, kind: str, frame: pd.DataFrame, expected: Answers, served: Answers) -> str:
        """A message about rows with different answers, for the person who trained the pipeline."""
        wrong = self.wrong(expected, served)
        head = (
            f"{self.title()} has a graph that does not compute the same: {int(wrong.sum())} of {len(frame)} "
        )
        head += f"{kind_in_words(kind)} rows differ"
        if not _same_shape(expected, served):
            return f"{head}, in the shape of the answer. {self.advice(kind)}"
        difference = self.difference(expected, served)
        worst = int(np.argmax(np.where(wrong, difference, -1.0)))
        labels = int((wrong & labels_differ(expected, served)).sum())
        place = parting(self.pipeline, self.conversion.layout, frame[wrong])
        kind = self.conversion.outputs.kind
        in_label = "" if kind == "prediction" else f", {labels} of them in the label"
        return (
            f"{head}{in_label}, the {kind} by up to "
            f"{difference[wrong].max():.3g} (allowed: {self.tolerance:g}). "
            f"For example {row_in_words(frame, worst)}: "
            f"the pipeline says {self._answer_in_words(expected, worst)}, "
            f"the graph {self._answer_in_words(served, worst)}. "
            f"{place.sentence + ' ' if place else ''}{self.advice(kind, place)}"
        )

    def _answer_in_words(self, answers: Answers, row: int) -> str:
        if self.conversion.outputs.kind == "prediction":
            return ", ".join(f"{number:.17g}" for number in answers.scores[row])
        scores = ", ".join(f"{score:.6g}" for score in answers.scores[row])
        return f"{answers.labels[row]!s} ({scores})"

    def title(self) -> str:
        """The pipeline in words: its steps, or its class if it has none."""
        steps = getattr(self.pipeline, "steps", None)
        if steps is None:
            return type(self.pipeline).__name__
        return "The pipeline " + " -> ".join(f"{name!r} ({type(step).__name__})" for name, step in steps)

    def advice(self, kind: str = "", place: Parting | None = None) -> str:
        """A remedy for a difference in rows of this kind, which may be known to begin at a step."""
        if place and place.step and "KNNImputer" in place.step:
            return _DONORS
        if place and place.step:
            return f"Replace {place.step} with another transformer; nothing was written."
        if self.conversion.foreign and kind != "ties":
            suspects = ", ".join(self.conversion.foreign)
            return (
                f"Replace {suspects}, which skl2onnx converted, with another estimator; nothing was written."
            )
        if has_neighbors(self.pipeline):
            return _NEIGHBORS
        return _DONORS if has_donors(self.pipeline) else "Try another last step; nothing was written."


def answers_of(pipeline: Any, conversion: Conversion, rows: Rows) -> Answers:
    """The pipeline's answers, with scores in the graph's shape; raises whatever the pipeline raises."""
    if conversion.outputs.kind == "prediction":
        return predictions(pipeline.predict(rows))
    if decides_by_probability(pipeline):
        scores = np.asarray(pipeline.predict_proba(rows), dtype=np.float64)
        labels = pipeline.classes_.take(np.argmax(scores, axis=1))
        return Answers(labels, scores, margins(pipeline, rows, scores))
    last, prepared = split(pipeline, rows)
    labels = np.ravel(last.predict(prepared))
    method = "predict_proba" if conversion.outputs.kind == "probabilities" else "decision_function"
    if hasattr(last, method):
        scores = np.asarray(getattr(last, method)(prepared), dtype=np.float64)
    else:
        scores = ranking(pipeline, rows)
    if scores.ndim == 1:
        scores = np.stack([-scores, scores], axis=1)
    return Answers(labels, scores, margins(pipeline, rows, scores))


def predictions(numbers: Array) -> Answers:
    """A regressor's answers, (rows,) or (rows, targets): numbers have no labels that could differ."""
    rows = len(numbers)
    scores = np.asarray(numbers, dtype=np.float64).reshape(rows, -1)
    return Answers(np.zeros(rows, np.int64), scores, np.full(rows, np.inf))


def has_neighbors(step: Any) -> bool:
    """Whether an estimator answers by the nearest training rows, or one inside it that computes answers."""
    return any(isinstance(leaf, _BY_NEIGHBORS) for leaf in innermost(step))


def has_donors(pipeline: Any) -> bool:
    """Whether training rows inside it give their values to rows that lack them."""
    return any(isinstance(step, KNNImputer) for step in everything(pipeline))


def borrows(pipeline: Any) -> bool:
    """Whether it fills in a missing value by what the other columns of the row hold."""
    return has_donors(pipeline) or any(isinstance(step, IterativeImputer) for step in everything(pipeline))


def reach(pipeline: Any) -> float:
    """How far beyond training a number may lie at most, in multiples of its range.

    Further out, rounding errors decide which neighbors are nearest, or move a wave by a whole period.
    """
    if has_neighbors(pipeline) or has_donors(pipeline):
        return NEIGHBORS_REACH
    waves = any(isinstance(step, (RBFSampler, IterativeImputer)) for step in everything(pipeline))
    return WAVES_REACH if waves else math.inf


def labels_differ(expected: Answers, served: Answers) -> Bools:
    """(rows,): whether the labels differ. Booleans and whole floats equal their integers."""
    text = expected.labels.dtype.kind in "OU" and served.labels.dtype.kind in "OU"
    kind: Any = str if text else np.float64
    return np.asarray(expected.labels.astype(kind) != served.labels.astype(kind))


def kind_in_words(kind: str) -> str:
    """A kind of rows as an adjective: "tied", "near threshold"."""
    return {"ties": "tied"}.get(kind, kind.replace("_", " "))


def _same_shape(expected: Answers, served: Answers) -> bool:
    return expected.scores.shape == served.scores.shape and expected.labels.shape == served.labels.shape


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
    return [
        Trial("refused" if not whole else "different" if differ else "alike", rows, worst, ties)
        for whole, differ, rows, worst, ties in parts
    ]


def _verdict(finite: Bools, wrong: Bools) -> Verdict:
    if not finite.all():
        return "refused"
    return "different" if wrong.any() else "alike"


def _apart(expected: Array, served: Array) -> Array:
    """|expected - served|, infinite where only one of them is NaN."""
    apart = np.abs(expected - served)
    apart[np.isnan(expected) | np.isnan(served)] = np.inf
    apart[(expected == served) | (np.isnan(expected) & np.isnan(served))] = 0.0
    return np.asarray(apart)
