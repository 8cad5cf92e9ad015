"""The recipes for estimators of other boosting libraries, which no module imports."""

from typing import Any

from unpickled.export.boosters import lightgbm as lightgbm_models
from unpickled.export.graph import ClassifierOutput, Columns, Graph, RegressorOutput
from unpickled.export.recipes import lightgbm


def is_classifier(step: Any) -> bool:
    """Whether it is a classifier of such a library with a recipe."""
    return lightgbm_models.is_classifier(step)


def is_regressor(step: Any) -> bool:
    """Whether it is a regressor of such a library with a recipe."""
    return lightgbm_models.is_regressor(step)


def classify(graph: Graph, step: Any, columns: Columns) -> ClassifierOutput:
    """Write such a classifier."""
    return lightgbm.classifier(graph, step, columns)


def regress(graph: Graph, step: Any, columns: Columns) -> RegressorOutput:
    """Write such a regressor."""
    return lightgbm.regressor(graph, step, columns)
