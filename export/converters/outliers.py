"""Converters for outlier detectors. A score of 0 is an inlier's, but of OneClassSVM an outlier's."""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.covariance import EllipticEnvelope
from sklearn.ensemble import IsolationForest
from sklearn.ensemble._iforest import _average_path_length
from sklearn.linear_model import SGDOneClassSVM
from sklearn.neighbors import LocalOutlierFactor
from sklearn.svm import OneClassSVM

from unpickled.export.converters import neighbors, svm
from unpickled.export.converters.ensemble import ensemble
from unpickled.export.converters.parts import Converter, product
from unpickled.export.converters.regressors import weighted_sums
from unpickled.export.errors import NoGraph
from unpickled.export.graph import Array, ClassifierOutput, Columns, Graph
from unpickled.export.ordered import bisect, floats, keys
from unpickled.export.trees import isolating

# LocalOutlierFactor adds it to a mean distance, which may be 0.
_LEAST = 1e-10


def _isolation_forest(
    graph: Graph, model: IsolationForest, columns: Columns, exact: bool
) -> ClassifierOutput:
    """The label is decided by the depth: a power is rounded here otherwise than in NumPy."""
    depth = ensemble(graph, columns, isolating(model))
    scale = float(len(model.estimators_) * _average_path_length([model._max_samples])[0])

    def decision(depths: Array) -> Array:
        share = depths / scale if scale else np.ones_like(depths)
        return np.asarray(-(2**-share) - model.offset_)

    if scale:
        share = graph.add("Div", depth, graph.constant(np.array(scale)))
    else:
        nothing = graph.add("Mul", depth, graph.constant(np.array(0.0)))
        share = graph.add("Add", nothing, graph.constant(np.array(1.0)))
    power = graph.add("Pow", graph.constant(np.array(2.0)), graph.add("Neg", share))
    score = _below(graph, power, model.offset_)
    inlier = graph.add("Greater", depth, graph.constant(np.array(_last_outlier(decision))))
    return _judged(graph, score, inlier)


def _last_outlier(decision: Callable[[Array], Array]) -> float:
    """The largest depth whose score is below 0."""
    with np.errstate(over="ignore", under="ignore"):
        last, _ = bisect(lambda places: decision(floats(places)) < 0, keys([-np.inf]), keys([np.inf]))
    return float(floats(last)[0])


def _one_class_svm(graph: Graph, model: OneClassSVM, columns: Columns) -> ClassifierOutput:
    products = svm.kernel(graph, model, graph.matrix(columns))
    score = weighted_sums(graph, products, model.dual_coef_, model.intercept_).prediction
    return _judged(graph, score, graph.add("Greater", score, graph.constant(np.array(0.0))))


def _sgd(graph: Graph, model: SGDOneClassSVM, columns: Columns) -> ClassifierOutput:
    return _signed(graph, weighted_sums(graph, graph.matrix(columns), model.coef_, -model.offset_).prediction)


def _elliptic_envelope(graph: Graph, model: EllipticEnvelope, columns: Columns) -> ClassifierOutput:
    """Minus the squared Mahalanobis distance, against that of the envelope."""
    location = graph.constant(np.asarray(model.location_, np.float64))
    away = graph.add("Sub", graph.matrix(columns), location)
    weighted = product(graph, away, np.asarray(model.get_precision(), np.float64))
    axis = graph.constant(np.array([1], np.int64))
    squares = graph.add("ReduceSum", graph.add("Mul", weighted, away), axis, keepdims=1)
    distance = graph.add("Sqrt", squares)
    return _signed(graph, _below(graph, graph.add("Mul", distance, distance), model.offset_))


def _local_outlier_factor(graph: Graph, model: LocalOutlierFactor, columns: Columns) -> ClassifierOutput:
    """How much denser the training rows are around the neighbors than around the row."""
    if not model.novelty:
        raise NoGraph(
            "with novelty=False it judges its training rows alone and has no predict",
            "fit it with LocalOutlierFactor(novelty=True)",
        )
    count = model.n_neighbors_
    nearest, distances = neighbors.nearest_rows(graph, model, graph.matrix(columns), count)
    axis = graph.constant(np.array([1], np.int64))
    reaches = np.asarray(model._distances_fit_X_[:, count - 1], np.float64)
    reach = graph.add("Gather", graph.constant(reaches), nearest)
    mean = graph.add("ReduceMean", graph.add("Max", distances, reach), axis, keepdims=1)
    density = graph.add("Reciprocal", graph.add("Add", mean, graph.constant(np.array(_LEAST))))
    around = graph.add("Gather", graph.constant(np.asarray(model._lrd, np.float64)), nearest)
    factor = graph.add("ReduceMean", graph.add("Div", around, density), axis, keepdims=1)
    return _signed(graph, _below(graph, factor, model.offset_))


def _below(graph: Graph, strangeness: str, offset: float) -> str:
    """-strangeness - offset, rounded as in scikit-learn."""
    return graph.add("Sub", graph.add("Neg", strangeness), graph.constant(np.array(float(offset))))


def _signed(graph: Graph, score: str) -> ClassifierOutput:
    """The answers for a score (rows, 1) whose sign decides; 0 is an inlier's."""
    return _judged(graph, score, graph.add("GreaterOrEqual", score, graph.constant(np.array(0.0))))


def _judged(graph: Graph, score: str, inlier: str) -> ClassifierOutput:
    """The answers for a score and a verdict, bool (rows, 1)."""
    winner = graph.add("Squeeze", graph.cast(inlier, "int64"), graph.constant(np.array([1], np.int64)))
    decision = graph.add("Mul", score, graph.constant(np.array([[-1.0, 1.0]])))
    return ClassifierOutput(2, winner=winner, decision=decision)


CONVERTERS: dict[type, Converter] = {
    OneClassSVM: _one_class_svm,
    SGDOneClassSVM: _sgd,
    EllipticEnvelope: _elliptic_envelope,
    LocalOutlierFactor: _local_outlier_factor,
}
# The last argument is that of forests (forests.py).
FORESTS: dict[type, Callable[[Graph, Any, Columns, bool], ClassifierOutput]] = {
    IsolationForest: _isolation_forest
}
