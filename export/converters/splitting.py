"""The estimators that split numbers at thresholds: a last digit decides which way a row goes."""

from typing import Any

from unpickled.export import inside
from unpickled.export.boosters.registry import library
from unpickled.export.converters import forests, outliers, regression_trees

# The classes of scikit-learn that do.
TREES = forests.CONVERTERS.keys() | outliers.FORESTS.keys() | regression_trees.REGRESSORS.keys()


def splits(step: Any) -> bool:
    """Whether an estimator answers by trees, its own or those of a boosting library."""
    return inside.kind(step) in TREES or library(step) is not None
