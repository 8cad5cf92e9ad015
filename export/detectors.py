"""Outlier detectors: they answer with one of two classes, but are no classifiers in scikit-learn."""

from typing import Any

import numpy as np
from sklearn.base import is_outlier_detector

# The labels of every outlier detector, in the order of its scores, and their names.
LABELS, NAMES = (-1, 1), ("outlier", "inlier")
_KINDS = ("IsolationForest", "OneClassSVM", "SGDOneClassSVM", "LocalOutlierFactor", "EllipticEnvelope")


def classes(pipeline: Any) -> Any:
    """The labels that a fitted pipeline tells apart, in the order of its scores; None if it does not say."""
    return np.array(LABELS) if is_outlier_detector(pipeline) else getattr(pipeline, "classes_", None)


def is_named(word: str) -> bool:
    """Whether a word is an outlier detector's name, as its class or an option would spell it."""
    return word.replace("_", "").lower() in map(str.lower, _KINDS)
