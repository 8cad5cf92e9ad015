"""How far a graph's scores may lie from those of its pipeline."""

from collections.abc import Iterator
from typing import Any

from onnx import TensorProto
from sklearn.ensemble import AdaBoostRegressor, BaggingClassifier, VotingClassifier
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
from sklearn.pipeline import Pipeline

from unpickled.export import inside
from unpickled.export.boosters import catboost, lightgbm, xgboost
from unpickled.export.convert import Conversion
from unpickled.export.recipes import forests, outliers, regression_trees

# Largest difference: absolute for probabilities, for all others relative to max(1, |score|).
TOLERANCE = 1e-5
# The same for trees in double precision: the graph adds the very numbers that the library adds.
TREES_TOLERANCE = 1e-12
# XGBoost adds float32 numbers.
SINGLE_TREES_TOLERANCE = 1e-6

# Their scores are those of their members, or means or medians of these.
_AROUND = (
    Pipeline,
    AdaBoostRegressor,
    BaggingClassifier,
    VotingClassifier,
    FixedThresholdClassifier,
    TunedThresholdClassifierCV,
)


def tolerance(pipeline: Any, conversion: Conversion) -> float:
    """The largest difference allowed: a small one where trees alone answer."""
    answering = list(_answering(pipeline))
    if not all(map(_is_of_trees, answering)):
        return TOLERANCE
    if any(map(xgboost.is_xgboost, answering)):
        return SINGLE_TREES_TOLERANCE
    return TOLERANCE if _is_single(conversion) else TREES_TOLERANCE


def _answering(step: Any) -> Iterator[Any]:
    """The estimators whose scores are those of ``step``, or have these as their mean or median."""
    step = inside.unwrapped(step)
    parts = list(inside.parts(step)) if isinstance(step, _AROUND) else []
    if not parts:
        yield step
        return
    for part in parts:
        if part.answers:
            yield from _answering(part.estimator)


def _is_of_trees(step: Any) -> bool:
    recipes = (forests.RECIPES, outliers.FORESTS, regression_trees.REGRESSORS)
    of_scikit_learn = any(inside.kind(step) in kinds for kinds in recipes)
    boosted = lightgbm.is_lightgbm(step) or xgboost.is_xgboost(step) or catboost.is_model(step)
    return of_scikit_learn or boosted


def _is_single(conversion: Conversion) -> bool:
    """Whether a float32 leaves the graph."""
    outputs = conversion.model.graph.output
    return any(output.type.tensor_type.elem_type == TensorProto.FLOAT for output in outputs)
