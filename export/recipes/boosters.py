"""The recipes for estimators of other boosting libraries, which no module imports."""

from typing import Any

from unpickled.export.boosters import catboost as catboost_models
from unpickled.export.boosters import lightgbm as lightgbm_models
from unpickled.export.boosters import xgboost as xgboost_models
from unpickled.export.graph import ClassifierOutput, Columns, Graph, RegressorOutput
from unpickled.export.inside import leaves
from unpickled.export.recipes import catboost, lightgbm, xgboost

_LIBRARIES = (catboost_models, lightgbm_models, xgboost_models)
# The classes with a recipe, for the documentation.
NAMES = (
    "CatBoostClassifier",
    "CatBoostRegressor",
    "LGBMClassifier",
    "LGBMRegressor",
    "XGBClassifier",
    "XGBRFClassifier",
    "XGBRFRegressor",
    "XGBRegressor",
)


def is_classifier(step: Any) -> bool:
    """Whether it is a classifier of such a library with a recipe."""
    return any(library.is_classifier(step) for library in _LIBRARIES)


def is_regressor(step: Any) -> bool:
    """Whether it is a regressor of such a library with a recipe."""
    return any(library.is_regressor(step) for library in _LIBRARIES)


def sparse(pipeline: Any, rows: Any) -> set[int]:
    """The ids of estimators inside that get these rows as a sparse matrix, and take its gaps for missing."""
    models = ((step, prepare) for step, prepare in leaves(pipeline) if xgboost_models.is_xgboost(step))
    return {id(step) for step, prepare in models if hasattr(prepare(rows), "tocoo")}


def classify(graph: Graph, step: Any, columns: Columns, exact: bool) -> ClassifierOutput:
    """Write such a classifier; ``exact`` if others compute with its scores."""
    if xgboost_models.is_classifier(step):
        return xgboost.classifier(graph, step, columns, exact)
    if catboost_models.is_classifier(step):
        return catboost.classifier(graph, step, columns)
    return lightgbm.classifier(graph, step, columns)


def regress(graph: Graph, step: Any, columns: Columns) -> RegressorOutput:
    """Write such a regressor."""
    if xgboost_models.is_regressor(step):
        return xgboost.regressor(graph, step, columns)
    if catboost_models.is_regressor(step):
        return catboost.regressor(graph, step, columns)
    return lightgbm.regressor(graph, step, columns)
