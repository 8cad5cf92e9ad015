"""The recipes for estimators of other boosting libraries, which no module imports."""

from typing import Any

from unpickled.export.boosters import catboost as catboost_models
from unpickled.export.graph import ClassifierOutput, Columns, Graph
from unpickled.export.recipes import catboost


def is_classifier(step: Any) -> bool:
    """Whether it is a classifier of such a library with a recipe."""
    return catboost_models.is_classifier(step)


def is_regressor(step: Any) -> bool:
    """Whether it is a regressor of such a library with a recipe."""
    return catboost_models.is_regressor(step)


def classify(graph: Graph, step: Any, columns: Columns) -> ClassifierOutput:
    """Write such a classifier."""
    return catboost.classifier(graph, step, columns)


def regress(graph: Graph, step: Any, columns: Columns) -> str:
    """Write such a regressor; the name of its predictions (rows, targets)."""
    return catboost.regressor(graph, step, columns)
