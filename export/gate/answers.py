"""The answers of a pipeline and of its graph: how the pipeline is asked, and how two answers differ.

    probabilities, scores   a label, and one score for each class
    prediction              one number for each target

An answer of another kind is another AnswerKind, and one line in ``kind_of``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from unpickled.export.convert import Conversion
from unpickled.export.data.layout import Rows
from unpickled.export.gate.margins import margins, ranking
from unpickled.export.inside import decides_by_probability, split
from unpickled.server.artifact.manifest import Outputs
from unpickled.server.model.sizes import sizes

Array = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]


@dataclass(slots=True)
class Answers:
    """Answers to rows: ``labels`` (rows,) and ``scores``, float64 (rows, classes) or (rows, targets).

    ``margins`` (rows,) say how far each label is from another one; only those of the pipeline count.
    """

    labels: Array
    scores: Array
    margins: Array | None = None

    def resembles(self, other: "Answers") -> bool:
        """Whether both have one shape."""
        return self.scores.shape == other.scores.shape and self.labels.shape == other.labels.shape


@dataclass(frozen=True, slots=True)
class AnswerKind:
    """A kind of answers.

    Attributes:
        asked: (pipeline, rows) -> the pipeline's answers, with scores in the graph's shape; raises whatever
            the pipeline raises.
        sizes: (finite scores (rows, width)) -> (rows, width) or (rows, 1): the sizes that differences are
            measured by.
        noun: The word for the scores.
        labelled: Whether answers have labels, which may differ.
    """

    asked: Callable[[Any, Rows], Answers]
    sizes: Callable[[Array], Array]
    noun: str
    labelled: bool = True

    def difference(self, expected: Answers, served: Answers) -> Array:
        """(rows,): the largest difference between the scores of each row."""
        apart = _apart(expected.scores, served.scores)
        return np.asarray((apart / self.sizes(np.nan_to_num(expected.scores))).max(axis=1))

    def in_words(self, answers: Answers, row: int) -> str:
        """The answer to a row, for a person."""
        if not self.labelled:
            return ", ".join(f"{number:.17g}" for number in answers.scores[row])
        scores = ", ".join(f"{score:.6g}" for score in answers.scores[row])
        return f"{answers.labels[row]!s} ({scores})"


def kind_of(outputs: Outputs) -> AnswerKind:
    """The kind of answers that a graph with these outputs gives."""
    match outputs.kind:
        case "prediction":
            return AnswerKind(_predicted, partial(sizes, spans=outputs.spans), outputs.kind, labelled=False)
        case "scores":
            return AnswerKind(partial(_classified, method="decision_function"), _of_row, outputs.kind)
        case "probabilities":
            return AnswerKind(partial(_classified, method="predict_proba"), _of_one, outputs.kind)


def answers_of(pipeline: Any, conversion: Conversion, rows: Rows) -> Answers:
    """The pipeline's answers, with scores in the graph's shape; raises whatever the pipeline raises."""
    return kind_of(conversion.outputs).asked(pipeline, rows)


def predictions(numbers: Array) -> Answers:
    """A regressor's answers, (rows,) or (rows, targets): numbers have no labels that could differ."""
    rows = len(numbers)
    scores = np.asarray(numbers, dtype=np.float64).reshape(rows, -1)
    return Answers(np.zeros(rows, np.int64), scores, np.full(rows, np.inf))


def labels_differ(expected: Answers, served: Answers) -> Bools:
    """(rows,): whether the labels differ. Booleans and whole floats equal their integers."""
    text = expected.labels.dtype.kind in "OU" and served.labels.dtype.kind in "OU"
    kind: Any = str if text else np.float64
    return np.asarray(expected.labels.astype(kind) != served.labels.astype(kind))


def _predicted(pipeline: Any, rows: Rows) -> Answers:
    return predictions(pipeline.predict(rows))


def _classified(pipeline: Any, rows: Rows, method: str) -> Answers:
    if decides_by_probability(pipeline):
        scores = np.asarray(pipeline.predict_proba(rows), dtype=np.float64)
        labels = pipeline.classes_.take(np.argmax(scores, axis=1))
        return Answers(labels, scores, margins(pipeline, rows, scores))
    last, prepared = split(pipeline, rows)
    labels = np.ravel(last.predict(prepared))
    if hasattr(last, method):
        scores = np.asarray(getattr(last, method)(prepared), dtype=np.float64)
    else:
        scores = ranking(pipeline, rows)
    if scores.ndim == 1:
        scores = np.stack([-scores, scores], axis=1)
    return Answers(labels, scores, margins(pipeline, rows, scores))


def _of_row(scores: Array) -> Array:
    """The scores of a row are measured by the largest of them."""
    return np.asarray(np.maximum(1.0, np.abs(scores).max(axis=1, keepdims=True)))


def _of_one(scores: Array) -> Array:
    """Probabilities are shares of 1."""
    return np.ones((len(scores), 1))


def _apart(expected: Array, served: Array) -> Array:
    """|expected - served|, infinite where only one of them is NaN."""
    apart = np.abs(expected - served)
    apart[np.isnan(expected) | np.isnan(served)] = np.inf
    apart[(expected == served) | (np.isnan(expected) & np.isnan(served))] = 0.0
    return np.asarray(apart)
