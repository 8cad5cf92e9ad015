"""Converters for linear regressors, those with a logarithmic link too, in float64 as in scikit-learn."""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.cross_decomposition import CCA, PLSCanonical, PLSRegression
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import (
    ARDRegression,
    BayesianRidge,
    ElasticNet,
    ElasticNetCV,
    GammaRegressor,
    HuberRegressor,
    Lars,
    LarsCV,
    Lasso,
    LassoCV,
    LassoLars,
    LassoLarsCV,
    LassoLarsIC,
    LinearRegression,
    MultiTaskElasticNet,
    MultiTaskElasticNetCV,
    MultiTaskLasso,
    MultiTaskLassoCV,
    OrthogonalMatchingPursuit,
    OrthogonalMatchingPursuitCV,
    PassiveAggressiveRegressor,
    PoissonRegressor,
    QuantileRegressor,
    Ridge,
    RidgeCV,
    SGDRegressor,
    TheilSenRegressor,
    TweedieRegressor,
)
from sklearn.svm import LinearSVR

from unpickled.export.converters.members import height
from unpickled.export.converters.parts import affine
from unpickled.export.graph import Array, Columns, Graph, RegressorOutput

# (graph, fitted regressor, columns) -> the output of the nodes that it adds to the graph.
Converter = Callable[[Graph, Any, Columns], RegressorOutput]


def weighted_sums(graph: Graph, x: str, coef: Any, intercept: Any) -> RegressorOutput:
    """One sum for each line of ``coef`` (targets, columns), or for a single line, in one node."""
    dense = coef.toarray() if hasattr(coef, "toarray") else coef
    lines: Array = np.atleast_2d(np.asarray(dense, np.float64))
    offsets = np.broadcast_to(np.asarray(intercept, np.float64).ravel(), len(lines))
    return RegressorOutput(affine(graph, x, np.ascontiguousarray(lines.T), offsets), len(lines))


def constant(graph: Graph, columns: Columns, numbers: Any) -> RegressorOutput:
    """The same numbers, one for each target, for every row."""
    line = np.asarray(numbers, np.float64).reshape(1, -1)
    width = graph.constant(np.array([line.size], np.int64))
    shape = graph.add("Concat", height(graph, columns), width, axis=0)
    return RegressorOutput(graph.add("Expand", graph.constant(line), shape), line.size)


def _linear(graph: Graph, model: Any, columns: Columns) -> RegressorOutput:
    return weighted_sums(graph, graph.matrix(columns), model.coef_, model.intercept_)


def _exponential(graph: Graph, model: Any, columns: Columns) -> RegressorOutput:
    output = _linear(graph, model, columns)
    return RegressorOutput(graph.add("Exp", output.prediction), output.targets)


def _tweedie(graph: Graph, model: TweedieRegressor, columns: Columns) -> RegressorOutput:
    is_exponential = model.link == "log" or (model.link == "auto" and model.power > 0)
    return (_exponential if is_exponential else _linear)(graph, model, columns)


def _partial_least_squares(graph: Graph, model: Any, columns: Columns) -> RegressorOutput:
    """The sums of the columns without their means, whose scale is in the coefficients."""
    means = graph.constant(np.asarray(model._x_mean, np.float64))
    return weighted_sums(graph, graph.add("Sub", graph.matrix(columns), means), model.coef_, model.intercept_)


def _dummy(graph: Graph, model: DummyRegressor, columns: Columns) -> RegressorOutput:
    return constant(graph, columns, model.constant_)


_LINEAR: tuple[type, ...] = (
    ARDRegression,
    BayesianRidge,
    ElasticNet,
    ElasticNetCV,
    HuberRegressor,
    Lars,
    LarsCV,
    Lasso,
    LassoCV,
    LassoLars,
    LassoLarsCV,
    LassoLarsIC,
    LinearRegression,
    LinearSVR,
    MultiTaskElasticNet,
    MultiTaskElasticNetCV,
    MultiTaskLasso,
    MultiTaskLassoCV,
    OrthogonalMatchingPursuit,
    OrthogonalMatchingPursuitCV,
    PassiveAggressiveRegressor,
    QuantileRegressor,
    Ridge,
    RidgeCV,
    SGDRegressor,
    TheilSenRegressor,
)
CONVERTERS: dict[type, Converter] = {
    **dict.fromkeys(_LINEAR, _linear),
    GammaRegressor: _exponential,
    PoissonRegressor: _exponential,
    TweedieRegressor: _tweedie,
    CCA: _partial_least_squares,
    PLSCanonical: _partial_least_squares,
    PLSRegression: _partial_least_squares,
    DummyRegressor: _dummy,
}
