"""Counts of a classifier's answers whose truth is known.

    predicted   rows by the class answered, with and without truth
    confusion   rows by the true class, and by the class answered; the last true one is no class of the model
    truth       rows by the true class, in place of ``confusion`` where there are many classes
    right       those of them that were answered right
    answered    rows by the class answered
    losses      rows with probabilities; sum and sum of squares of their log loss, and of their Brier score
    bins        by the probability of the class answered: rows, sum of that probability, rows answered right
    each        by the probability of each class: rows, sum of that probability, rows of that class

A confusion matrix of 1,000 classes would take 8 MB, so that above MATRIX classes only the sums of its rows
and columns are counted, and above MOST classes those behind them together.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from unpickled.server.accuracy.layout import Floats, Layout
from unpickled.server.model.classification import Classification
from unpickled.server.model.outputs import Labels, Scores

# Most classes that get a confusion matrix, that are counted one by one, and that get bins of their own.
MATRIX, MOST, EACH = 30, 200, 10
BINS = 10
# The log loss of a truth that has the probability 0 is infinite: as in scikit-learn, no probability counts as
# less than this, and one row loses 36 at most.
LEAST = float(np.finfo(np.float64).eps)
OTHERS = "all other classes"

_Places = npt.NDArray[np.intp]


class ClassCounts:
    """Counts rows of one classifier.

    Attributes:
        layout: The arrays above.
        names: The names of the classes that are counted one by one, and perhaps OTHERS.
        kind: The kind of the scores.
        has_probabilities: Whether log loss, Brier score and calibration are counted.
    """

    def __init__(self, outputs: Classification) -> None:
        classes, names = outputs.classes, outputs.names
        # The kind of the scores is the name of their member.
        self.kind = outputs.members[-1].name
        self.has_probabilities = self.kind == "probabilities"
        self.names = names if len(names) <= MOST else (*names[:MOST], OTHERS)
        self.layout = Layout(_shapes(len(classes), len(self.names), self.has_probabilities))
        self._classes = len(classes)
        self._answered = {label: place for place, label in enumerate(classes)}
        # A truth may be a label, the name of a class, or a label that was written as text.
        self._known: dict[Any, int] = {
            **{str(label): place for label, place in self._answered.items()},
            **{name: place for place, name in enumerate(names)},
            **self._answered,
        }

    def knows(self, truth: Any) -> bool:
        """Whether a truth is a class of the model."""
        return truth in self._known

    def predicted(self, labels: Labels) -> Floats:
        """The counts of rows that were answered with these labels (rows,), and have no truth yet."""
        counts = np.zeros(self.layout.size)
        answers = self._cells(self.places_answered(labels))
        self.layout.views(counts)["predicted"][:] = np.bincount(answers, minlength=len(self.names))
        return counts

    def count(self, labels: Labels, scores: Scores, truths: Sequence[Any]) -> Floats:
        """The counts of rows with these answers and these truths (rows,)."""
        counts = np.zeros(self.layout.size)
        views = self.layout.views(counts)
        answered = self.places_answered(labels)
        true = self.places(truths)
        self._count_pairs(views, true, answered)
        if self.has_probabilities and len(true):
            probabilities = np.asarray(scores, np.float64).reshape(len(true), self._classes)
            finite = np.isfinite(probabilities).all(axis=1)
            _count_probabilities(views, probabilities[finite], true[finite], answered[finite])
        return counts

    def places(self, truths: Sequence[Any]) -> _Places:
        """The place of each truth among the classes (rows,); the one behind the last where it is none."""
        known, other = self._known, self._classes
        return np.fromiter((known.get(truth, other) for truth in truths), np.intp, len(truths))

    def places_answered(self, labels: Labels) -> _Places:
        """The place of each label among the classes (rows,)."""
        values = labels.tolist() if isinstance(labels, np.ndarray) else labels
        return np.fromiter((self._answered[label] for label in values), np.intp, len(values))

    def _cells(self, places: _Places) -> _Places:
        """Where places of classes are counted; that of no class is the last one of all."""
        lumped = np.minimum(places, len(self.names) - 1)
        return np.where(places == self._classes, len(self.names), lumped)

    def _count_pairs(self, views: dict[str, Floats], true: _Places, answered: _Places) -> None:
        cells, rows, columns = len(self.names), self._cells(true), self._cells(answered)
        if "confusion" in views:
            pairs = np.bincount(rows * cells + columns, minlength=(cells + 1) * cells)
            views["confusion"][:] = pairs.reshape(cells + 1, cells)
            return
        views["truth"][:] = np.bincount(rows, minlength=cells + 1)
        views["answered"][:] = np.bincount(columns, minlength=cells)
        views["right"][:] = np.bincount(columns[true == answered], minlength=cells)


def _shapes(classes: int, cells: int, has_probabilities: bool) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"predicted": (cells,)}
    if classes <= MATRIX:
        shapes["confusion"] = cells + 1, cells
    else:
        shapes |= {"truth": (cells + 1,), "right": (cells,), "answered": (cells,)}
    if has_probabilities:
        shapes |= {"losses": (5,), "bins": (BINS, 3)}
        if classes <= EACH:
            shapes["each"] = classes, BINS, 3
    return shapes


def losses(probabilities: Floats, true: _Places) -> tuple[Floats, Floats]:
    """Log loss and Brier score of rows (rows,), from their probabilities (rows, classes).

    ``true`` (rows,) are columns; the one behind the last stands for no class, which had the probability 0.
    The Brier score is the squared distance between the probabilities and the truth, added up over the
    classes; of two classes half of that, which is the squared difference of one probability.
    """
    rows, classes = probabilities.shape
    row = np.arange(rows)
    wide = np.concatenate([probabilities, np.zeros((rows, 1))], axis=1)
    log_loss = -np.log(np.clip(wide[row, true], LEAST, 1.0))
    wide[row, true] -= 1.0
    brier = (wide**2).sum(axis=1)
    return log_loss, brier / 2 if classes == 2 else brier


def _count_probabilities(
    views: dict[str, Floats], probabilities: Floats, true: _Places, answered: _Places
) -> None:
    log_loss, brier = losses(probabilities, true)
    views["losses"][:] = [
        len(true),
        log_loss.sum(),
        (log_loss**2).sum(),
        brier.sum(),
        (brier**2).sum(),
    ]
    confidence = probabilities[np.arange(len(true)), answered]
    views["bins"][:] = _binned(confidence, true == answered)
    for place, bins in enumerate(views.get("each", ())):
        bins[:] = _binned(probabilities[:, place], true == place)


def _binned(probabilities: Floats, happened: npt.NDArray[np.bool_]) -> Floats:
    """Rows, sum of probabilities and number of events in each tenth of probability (BINS, 3)."""
    places = np.clip((probabilities * BINS).astype(np.intp), 0, BINS - 1)
    weights = np.ones_like(probabilities), probabilities, happened.astype(np.float64)
    return np.stack([np.bincount(places, weight, minlength=BINS) for weight in weights], axis=1)
