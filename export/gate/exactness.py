"""How far a graph's scores may lie from those of its pipeline."""

from typing import Any

from onnx import TensorProto
from sklearn.ensemble import (
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.linear_model import LinearRegression, LogisticRegression, LogisticRegressionCV, Ridge, RidgeCV
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
from sklearn.multioutput import MultiOutputRegressor, RegressorChain
from sklearn.pipeline import Pipeline

from unpickled.export import inside
from unpickled.export.boosters.registry import library
from unpickled.export.convert import Conversion
from unpickled.export.converters.splitting import splits

# Largest difference: absolute for probabilities, relative to max(1, |score|) for scores, and for predicted
# numbers relative to their sizes (model/sizes.py).
TOLERANCE = 1e-5
# The same for trees in double precision: the graph adds the very numbers that the library adds.
TREES_TOLERANCE = 1e-12
# The same for a library that adds float32 numbers, as XGBoost does.
SINGLE_TREES_TOLERANCE = 1e-6
# The same where a product of matrices adds up the answers of trees in double precision.
STACKED_TOLERANCE = 1e-10
# How far two results of the same arithmetic lie apart, as a share of the numbers in it.
ROUNDING, SINGLE_ROUNDING = 1e-12, 1e-6

# Their scores are those of their members, or means or medians of these.
_AROUND = (
    Pipeline,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    MultiOutputRegressor,
    RegressorChain,
    VotingClassifier,
    VotingRegressor,
    FixedThresholdClassifier,
    TunedThresholdClassifierCV,
)
_STACKS = (StackingClassifier, StackingRegressor)
# As the last step of a stack they add up the answers of its members, each times a number.
_SUMS = (LinearRegression, LogisticRegression, LogisticRegressionCV, Ridge, RidgeCV)


def tolerance(pipeline: Any, conversion: Conversion) -> float:
    """The largest difference allowed: a small one where trees alone answer."""
    bound = _bound(pipeline)
    return TOLERANCE if bound < SINGLE_TREES_TOLERANCE and _narrows(conversion) else bound


def rounding(pipeline: Any, conversion: Conversion) -> float:
    """How far rounding may part two answers, as a share of the numbers that are added up to them."""
    narrow = conversion.layout.dtype == "float32" or _narrows(conversion) or bool(conversion.foreign)
    is_single = narrow or any(map(_is_single, inside.innermost(pipeline)))
    return SINGLE_ROUNDING if is_single else ROUNDING


def _bound(step: Any) -> float:
    """The largest difference that is allowed for an estimator, if its answers leave the graph as they are."""
    step = inside.unwrapped(step)
    if isinstance(step, _STACKS):
        return _bound_of_stack(step)
    bounds = [_bound(part.estimator) for part in inside.parts(step) if part.answers]
    if bounds:
        return max(bounds) if isinstance(step, _AROUND) else TOLERANCE
    if not splits(step):
        return TOLERANCE
    return SINGLE_TREES_TOLERANCE if _is_single(step) else TREES_TOLERANCE


def _bound_of_stack(step: StackingClassifier | StackingRegressor) -> float:
    """That of a stack: the columns that it may pass on to its last step have no such bound."""
    *members, final = inside.parts(step)
    exact = all(_bound(member.estimator) == TREES_TOLERANCE for member in members) and not step.passthrough
    return STACKED_TOLERANCE if exact and type(final.estimator) in _SUMS else TOLERANCE


def _is_single(step: Any) -> bool:
    booster = library(step)
    return booster is not None and booster.single


def _narrows(conversion: Conversion) -> bool:
    """Whether a float32 leaves the graph."""
    outputs = conversion.model.graph.output
    return any(output.type.tensor_type.elem_type == TensorProto.FLOAT for output in outputs)
