"""Pipelines that answer, or fill gaps, by other rows: where rounding errors decide which rows these are."""

import math
from typing import Any

from sklearn.impute import KNNImputer
from sklearn.impute._iterative import IterativeImputer
from sklearn.kernel_approximation import RBFSampler
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor, LocalOutlierFactor

from unpickled.export.inside import everything, innermost

# In multiples of the training range: the longest reach for neighbors, and for sums that rounding spoils.
NEIGHBORS_REACH, WAVES_REACH = 10.0, 1e6

_BY_NEIGHBORS = (KNeighborsClassifier, KNeighborsRegressor, LocalOutlierFactor)


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
