"""The threshold of a classifier that has one of its own: which score it is compared with."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV


@dataclass(frozen=True, slots=True)
class Cutoff:
    """Label ``positive``, the index of a class, is given where its score is ``threshold`` or more.

    ``method`` names the scores: probabilities, or decision scores, whose sign is that of the second class.
    """

    method: Literal["predict_proba", "decision_function"]
    positive: int
    threshold: float


def cutoff(step: Any) -> Cutoff | None:
    """The threshold of a fitted classifier; None if it gives the label of the best score."""
    if hasattr(step, "get_probability_threshold"):
        return _of_catboost(step)
    if isinstance(step, TunedThresholdClassifierCV):
        pos_label, threshold = step._curve_scorer._get_pos_label(), step.best_threshold_
    elif isinstance(step, FixedThresholdClassifier):
        pos_label, threshold = step.pos_label, step.threshold
    else:
        return None
    method: Any = step.response_method
    if method == "auto":
        method = "predict_proba" if hasattr(step.estimator_, "predict_proba") else "decision_function"
    if threshold == "auto":
        threshold = 0.5 if method == "predict_proba" else 0.0
    positive = 1 if pos_label is None else int(np.flatnonzero(step.classes_ == pos_label)[0])
    return Cutoff(method, positive, float(threshold))


def _of_catboost(step: Any) -> Cutoff | None:
    """The threshold of a CatBoostClassifier of two classes, if it was moved; it has to be exceeded."""
    threshold = float(step.get_probability_threshold())
    return None if threshold == 0.5 or len(step.classes_) != 2 else Cutoff("predict_proba", 1, threshold)
