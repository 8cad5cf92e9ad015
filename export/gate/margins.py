"""How far a pipeline's label is from another one, measured where the label is decided.

For most classifiers the best score wins, so it is the best score minus the second best. Others compare one
score with a threshold, or something that is no score at all: their margin is computed here, by scikit-learn.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import VotingClassifier
from sklearn.multiclass import OutputCodeClassifier
from sklearn.neighbors import NearestCentroid

from unpickled.export.cutoff import cutoff
from unpickled.export.inside import decider

Array = npt.NDArray[Any]


def ranking(pipeline: Any, rows: Any) -> Array:
    """(rows, classes): what decides the label where there are neither probabilities nor decision scores.

    The share of the votes for each class, minus the distance to each class, or what scikit-learn compares.
    """
    step, prepare = decider(pipeline)
    rows = prepare(rows)
    if isinstance(step, VotingClassifier):
        return _votes(step, rows)
    if isinstance(step, OutputCodeClassifier):
        return -_distances(_answers(step, rows), step.code_book_)
    if isinstance(step, NearestCentroid):
        return _centroids(step, rows)
    raise TypeError(f"{type(step).__name__} has neither probabilities nor decision scores")


def margins(pipeline: Any, rows: Any, scores: Array) -> Array:
    """(rows,): the distance of each label from the next; ``scores`` (rows, classes) are the pipeline's."""
    step, prepare = decider(pipeline)
    cut = cutoff(step)
    if cut is not None:
        response = np.asarray(getattr(pipeline, cut.method)(rows), np.float64)
        if cut.method == "predict_proba":
            response = response[:, cut.positive]
        elif not cut.positive:
            response = -response
        return np.abs(np.nan_to_num(response - cut.threshold))
    if isinstance(step, NearestCentroid):
        return _apart(_centroids(step, prepare(rows)))
    return gap(scores) if not isinstance(step, OutputCodeClassifier) else _apart(scores)


def gap(scores: Array) -> Array:
    """(rows,): the best score minus the second best."""
    ordered = np.sort(np.nan_to_num(scores), axis=1)
    return np.asarray(ordered[:, -1] - ordered[:, -2])


def _apart(ranking: Array) -> Array:
    """The gap between the two best of these negative distances, as a share of the second."""
    second = np.abs(np.sort(np.nan_to_num(ranking), axis=1)[:, -2])
    return np.asarray(gap(ranking) / np.maximum(second, np.finfo(float).tiny))


def _votes(step: VotingClassifier, rows: Any) -> Array:
    weights = step._weights_not_none or [1.0] * len(step.estimators_)
    shares = np.zeros((len(rows), len(step.classes_)))
    for member, weight in zip(step.estimators_, weights, strict=True):
        shares[np.arange(len(rows)), np.asarray(member.predict(rows), int)] += weight
    return np.asarray(shares / sum(weights))


def _answers(step: OutputCodeClassifier, rows: Any) -> Array:
    """(rows, members): the score of each member."""
    decides = [hasattr(member, "decision_function") for member in step.estimators_]
    return np.stack(
        [
            np.ravel(member.decision_function(rows)) if decided else member.predict_proba(rows)[:, 1]
            for member, decided in zip(step.estimators_, decides, strict=True)
        ],
        axis=1,
    ).astype(np.float64)


def _centroids(step: NearestCentroid, rows: Any) -> Array:
    """Minus the distance to each centroid, or its discriminant if the classes have priors."""
    classes = len(step.classes_)
    if not np.isclose(getattr(step, "class_prior_", 1 / classes), 1 / classes).all():
        return np.asarray(step._decision_function(rows))
    return -_distances(np.asarray(rows, np.float64), step.centroids_, step.metric)


def _distances(rows: Array, points: Array, metric: str = "euclidean") -> Array:
    apart = np.abs(rows[:, None, :] - points)
    return np.asarray(apart.sum(axis=2) if metric == "manhattan" else np.sqrt((apart**2).sum(axis=2)))
