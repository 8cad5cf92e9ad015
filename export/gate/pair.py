"""A pipeline and its graph on the same rows: comparing their answers, and describing a difference."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer
from sklearn.kernel_approximation import RBFSampler
from sklearn.neighbors import KNeighborsClassifier

from unpickled.export.convert import Conversion
from unpickled.export.data.layout import Rows
from unpickled.export.inside import everything, innermost

Array = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]
Run = Callable[[dict[str, Array]], tuple[Array, Array]]
# Both answer alike; the pipeline refuses the rows or its scores are not finite; the answers differ.
Verdict = Literal["alike", "refused", "different"]

# Largest difference of scores: absolute for probabilities; for decision scores relative to max(1, |score|).
TOLERANCE = 1e-5
# Labels may differ if the pipeline's two best scores are no further apart than this.
TIE_GAP = 1e-6
# In multiples of the training range: the longest reach for neighbors, and for sums that rounding spoils.
NEIGHBORS_REACH, WAVES_REACH = 10.0, 1e6

_NEIGHBORS = (
    "Training rows equally far from a row are taken as its neighbors in no defined order: scale the "
    "features with StandardScaler, or try another n_neighbors or another classifier; nothing was written."
)

_DONORS = (
    "KNNImputer takes training rows equally far from a row in no defined order, and weights='distance' "
    "divides by distances that are rounding errors: scale the features in front of it, or use SimpleImputer "
    "or IterativeImputer; nothing was written."
)


@dataclass(slots=True)
class Answers:
    """Answers to rows: ``labels`` (rows,) and ``scores``, float64 (rows, classes)."""

    labels: Array
    scores: Array


@dataclass(slots=True)
class Pair:
    """A pipeline and its graph; ``run`` runs the graph on feeds and returns (labels, scores)."""

    pipeline: Any
    conversion: Conversion
    run: Run

    def expected(self, rows: Rows) -> Answers:
        """The pipeline's answers; raises whatever it raises."""
        return answers_of(self.pipeline, self.conversion, rows)

    def served(self, frame: pd.DataFrame) -> Answers:
        """The graph's answers."""
        labels, scores = self.run(self.conversion.layout.feeds(frame, self.conversion.inputs))
        return Answers(np.asarray(labels), np.asarray(scores, dtype=np.float64))

    def difference(self, expected: Answers, served: Answers) -> Array:
        """(rows,): the largest difference between the scores of each row, as TOLERANCE measures it."""
        apart = _apart(expected.scores, served.scores).max(axis=1)
        if self.conversion.outputs.kind == "scores":
            apart = apart / np.maximum(1.0, np.abs(np.nan_to_num(expected.scores)).max(axis=1))
        return np.asarray(apart)

    def wrong(self, expected: Answers, served: Answers) -> Bools:
        """(rows,): whether the scores are too far apart, or the labels differ without a tie."""
        if not _same_shape(expected, served):
            return np.ones(len(expected.labels), dtype=bool)
        wrong_label = labels_differ(expected, served) & (_gap(expected.scores) > TIE_GAP)
        return np.asarray(wrong_label | (self.difference(expected, served) > TOLERANCE))

    def verdicts(self, frame: pd.DataFrame, size: int) -> list[Verdict]:
        """The worst verdict on each ``size`` consecutive rows."""
        if not len(frame):
            return []
        try:
            expected = self.expected(self.conversion.layout.rows(frame))
        except Exception:
            # The pipeline refuses at least one row: halve the rows to find it.
            return self._halves(frame, size) or ["refused"]
        try:
            wrong = self.wrong(expected, self.served(frame))
        except Exception:
            return self._halves(frame, size) or ["different"]
        finite: Bools = np.asarray(np.isfinite(expected.scores).all(axis=1))
        starts = range(0, len(frame), size)
        return [_verdict(finite[start : start + size], wrong[start : start + size]) for start in starts]

    def _halves(self, frame: pd.DataFrame, size: int) -> list[Verdict]:
        """The verdicts on the two halves of the rows; none if there is nothing to halve."""
        half = len(frame) // size // 2 * size
        return self.verdicts(frame.iloc[:half], size) + self.verdicts(frame.iloc[half:], size) if half else []

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
        return (
            f"{head}, {labels} of them in the label, the {self.conversion.outputs.kind} by up to "
            f"{difference[wrong].max():.3g} (allowed: {TOLERANCE:g}). For example {_row(frame, worst)}: "
            f"the pipeline says {_answer_in_words(expected, worst)}, "
            f"the graph {_answer_in_words(served, worst)}. "
            f"{self.advice(kind)}"
        )

    def title(self) -> str:
        """The pipeline in words: its steps, or its class if it has none."""
        steps = getattr(self.pipeline, "steps", None)
        if steps is None:
            return type(self.pipeline).__name__
        return "The pipeline " + " -> ".join(f"{name!r} ({type(step).__name__})" for name, step in steps)

    def advice(self, kind: str = "") -> str:
        """A remedy for a difference in rows of this kind."""
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
    labels = np.asarray(pipeline.predict(rows))
    method = "predict_proba" if conversion.outputs.kind == "probabilities" else "decision_function"
    scores = np.asarray(getattr(pipeline, method)(rows), dtype=np.float64)
    if scores.ndim == 1:
        scores = np.stack([-scores, scores], axis=1)
    return Answers(labels, scores)


def has_neighbors(step: Any) -> bool:
    """Whether an estimator is a KNeighborsClassifier, or one inside it computes answers."""
    return any(isinstance(leaf, KNeighborsClassifier) for leaf in innermost(step))


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


def _gap(scores: Array) -> Array:
    """(rows,): the best score minus the second best."""
    ordered = np.sort(np.nan_to_num(scores), axis=1)
    return np.asarray(ordered[:, -1] - ordered[:, -2])


def _row(frame: pd.DataFrame, row: int) -> str:
    """The first features of a row in words."""
    values = [(name, frame[name].iloc[row]) for name in frame.columns[:6]]
    cells = [
        f"{name}={value:.17g}" if isinstance(value, float) else f"{name}={value!r}" for name, value in values
    ]
    return ", ".join(cells) + (", ..." if frame.shape[1] > 6 else "")


def _answer_in_words(answers: Answers, row: int) -> str:
    scores = ", ".join(f"{score:.6g}" for score in answers.scores[row])
    return f"{answers.labels[row]!s} ({scores})"
