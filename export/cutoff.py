"""The threshold of a classifier that has one of its own: which score it is compared with."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV

from unpickled.export.boosters.registry import library


@dataclass(frozen=True, slots=True)
class Cutoff:
    """Label ``positive``, the index of a class, is given where its score is ``threshold`` or more.

    The threshold of a boosting library has to be exceeded. ``method`` names the scores: probabilities, or
    decision scores, whose sign is that of the second class.
    """

    method: Literal["predict_proba", "decision_function"]
    positive: int
    threshold: float


def cutoff(step: Any) -> Cutoff | None:
    """The threshold of a fitted classifier; None if it gives the label of the best score."""
    own = library(step)
    if own is not None:
        exceeded = own.threshold(step)
        return None if exceeded is None else Cutoff("predict_proba", 1, exceeded)
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
