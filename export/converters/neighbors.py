"""Converters for nearest neighbors: distances to all training rows, computed as in scikit-learn."""

from functools import partial
from typing import TypeAlias

import numpy as np
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor, LocalOutlierFactor

from unpickled.export.converters import regressors
from unpickled.export.converters.parts import Converter, by_feature, normalised, squared_distances, winner
from unpickled.export.errors import NoConverter, NoGraph
from unpickled.export.graph import Array, ClassifierOutput, Columns, Graph, RegressorOutput

# Distances are computed feature by feature up to this many features, and numbers in all.
_DIRECT = (32, 100_000)

_Neighbors: TypeAlias = KNeighborsClassifier | KNeighborsRegressor | LocalOutlierFactor


def _classifier(graph: Graph, model: KNeighborsClassifier, columns: Columns) -> ClassifierOutput:
    if model.effective_metric_ not in _METRICS:
        raise NoConverter("skl2onnx knows more distances")
    classes = len(model.classes_)
    total, _ = _totals(graph, model, columns, np.eye(classes)[model._y])
    return ClassifierOutput(
        classes, winner=winner(graph, total), probabilities=normalised(graph, total, classes)
    )


def _regressor(graph: Graph, model: KNeighborsRegressor, columns: Columns) -> RegressorOutput:
    targets = np.asarray(model._y, np.float64).reshape(len(model._y), -1)
    total, weight = _totals(graph, model, columns, targets)
    return RegressorOutput(graph.add("Div", total, weight), targets.shape[1])


def _totals(graph: Graph, model: _Neighbors, columns: Columns, answers: Array) -> tuple[str, str]:
    """The sum (rows, width) of the neighbors' answers, each times its weight, and the sum of the weights.

    ``answers`` are those of all training rows.
    """
    if callable(model.weights):
        raise NoGraph("weights= a function of your own has no graph", "use 'uniform' or 'distance'")
    nearest, distances = nearest_rows(graph, model, graph.matrix(columns), model.n_neighbors)
    votes, axis = graph.add("Gather", graph.constant(answers), nearest, axis=0), np.array([1], np.int64)
    if model.weights != "distance":
        count = graph.constant(np.array(float(model.n_neighbors)))
        return graph.add("ReduceSum", votes, graph.constant(axis), keepdims=0), count
    weights = _closeness(graph, distances)
    total = graph.add("Squeeze", graph.add("MatMul", weights, votes), graph.constant(axis))
    return total, graph.add("ReduceSum", weights, graph.constant(np.array([2], np.int64)), keepdims=0)


def nearest_rows(graph: Graph, model: _Neighbors, x: str, count: int) -> tuple[str, str]:
    """(rows, count): the places of the nearest training rows, and how far they are."""
    points, metric = np.asarray(model._fit_X, np.float64), model.effective_metric_
    if metric not in _METRICS:
        metrics = ", ".join(map(repr, _METRICS))
        raise NoGraph(f"metric={metric!r} has no graph", f"use one of {metrics}")
    k = graph.constant(np.array([count], np.int64))
    if metric != "euclidean":
        exponent = graph.constant(np.array(float(model.effective_metric_params_.get("p", 1.0))))
        apart = by_feature(graph, x, points, partial(_METRICS[metric], graph, exponent), _JOINS[metric])
        nearest_apart, nearest = graph.add_many("TopK", (apart, k), 2, axis=1, largest=0, sorted=1)
        root = graph.add("Reciprocal", exponent)
        return nearest, graph.add("Pow", nearest_apart, root) if metric == "minkowski" else nearest_apart
    direct = model._fit_method != "brute" and points.shape[1] <= _DIRECT[0] and points.size <= _DIRECT[1]
    if not direct and (points != points.round()).any():
        # Moving the center to 0 makes cancellation lose fewer digits; whole numbers lose none anyway.
        center = points.mean(axis=0)
        points = points - center
        x = graph.add("Sub", x, graph.constant(center))
    distances = squared_distances(graph, x, points) if direct else _expanded(graph, x, points)
    nearest = graph.add_many("TopK", (distances, k), 2, axis=1, largest=0, sorted=1)[1]
    return nearest, _euclidean(graph, x, points, nearest)


def _expanded(graph: Graph, x: str, points: Array) -> str:
    """(rows, points): squared distances minus |x|^2, which is the same for all points of a row."""
    return graph.add("Gemm", x, graph.constant(-2.0 * points.T), graph.constant((points**2).sum(axis=1)))


def _euclidean(graph: Graph, x: str, points: Array, nearest: str) -> str:
    """(rows, neighbors): the distance to each of the nearest points."""
    neighbors = graph.add("Gather", graph.constant(points), nearest, axis=0)
    away = graph.add("Sub", neighbors, graph.add("Unsqueeze", x, graph.constant(np.array([1], np.int64))))
    squares = graph.add(
        "ReduceSum", graph.add("Mul", away, away), graph.constant(np.array([2], np.int64)), keepdims=0
    )
    return graph.add("Sqrt", squares)


def _closeness(graph: Graph, distance: str) -> str:
    """(rows, 1, neighbors): inverse distances; or 1 at distance 0, and 0 for the others of such a row."""
    at_zero = graph.cast(graph.add("Equal", distance, graph.constant(np.array(0.0))), "float64")
    any_at_zero = graph.add("ReduceMax", at_zero, graph.constant(np.array([1], np.int64)), keepdims=1)
    hit = graph.add("Greater", any_at_zero, graph.constant(np.array(0.0)))
    weights = graph.add("Where", hit, at_zero, graph.add("Reciprocal", distance))
    return graph.add("Unsqueeze", weights, graph.constant(np.array([1], np.int64)))


def _length(graph: Graph, exponent: str, away: str) -> str:
    return graph.add("Abs", away)


def _power(graph: Graph, exponent: str, away: str) -> str:
    return graph.add("Pow", graph.add("Abs", away), exponent)


# The distance in one feature, as it is compared, and how those of all features are joined.
_METRICS = {"euclidean": _power, "manhattan": _length, "chebyshev": _length, "minkowski": _power}
_JOINS = {"manhattan": "Add", "chebyshev": "Max", "minkowski": "Add"}

CONVERTERS: dict[type, Converter] = {KNeighborsClassifier: _classifier}
REGRESSORS: dict[type, regressors.Converter] = {KNeighborsRegressor: _regressor}
