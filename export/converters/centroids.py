"""The converter for the nearest centroid, and for the classifier that does not look at the row at all."""

from typing import Any

import numpy as np
from sklearn.dummy import DummyClassifier
from sklearn.neighbors import NearestCentroid

from unpickled.export.converters.members import height
from unpickled.export.converters.parts import Converter, away, nearest, winner
from unpickled.export.errors import NoGraph
from unpickled.export.graph import ClassifierOutput, Columns, Graph


def _centroid(graph: Graph, model: NearestCentroid, columns: Columns) -> ClassifierOutput:
    if model.metric not in ("euclidean", "manhattan"):
        raise NoGraph(f"metric={model.metric!r} has no graph", "use metric='euclidean' or 'manhattan'")
    x, classes = graph.matrix(columns), len(model.classes_)
    centroids = np.asarray(model.centroids_, np.float64)
    fair = not hasattr(model, "class_prior_") or np.isclose(model.class_prior_, 1 / classes).all()
    chosen, ranking = _nearest(graph, x, centroids, model.metric)
    if fair and not hasattr(model, "predict_proba"):
        return ClassifierOutput(classes, winner=chosen, ranking=ranking)
    scores = _discriminant(graph, model, x, centroids)
    chosen = chosen if fair else winner(graph, scores)
    if model.metric == "manhattan":
        return ClassifierOutput(classes, winner=chosen, ranking=scores)
    decision = scores
    if classes == 2:
        difference = graph.constant(np.array([[1.0, -1.0], [-1.0, 1.0]]))
        decision = graph.add("MatMul", scores, difference)
    probabilities = graph.add("Softmax", scores, axis=1)
    return ClassifierOutput(classes, winner=chosen, probabilities=probabilities, decision=decision)


def _nearest(graph: Graph, x: str, points: Any, metric: str) -> tuple[str, str]:
    """The index of the nearest point, and minus the distances to all of them."""
    if metric == "euclidean":
        return nearest(graph, x, points)
    distances = graph.add("Neg", _manhattan(graph, x, points))
    return winner(graph, distances), distances


def _manhattan(graph: Graph, x: str, points: Any) -> str:
    lengths = graph.add("Abs", away(graph, x, points))
    return graph.add("ReduceSum", lengths, graph.constant(np.array([2], np.int64)), keepdims=0)


def _discriminant(graph: Graph, model: NearestCentroid, x: str, centroids: Any) -> str:
    """(rows, classes): minus the squared distance in units of the spread within classes, plus the prior."""
    spread = np.where(model.within_class_std_dev_ != 0, model.within_class_std_dev_, 1.0)
    scaled = graph.add("Div", x, graph.constant(spread.astype(np.float64)))
    points = centroids / spread
    axis = graph.constant(np.array([2], np.int64))
    if model.metric == "manhattan":
        length = _manhattan(graph, scaled, points)
        squares = graph.add("Mul", length, length)
    else:
        apart = away(graph, scaled, points)
        squares = graph.add("ReduceSum", graph.add("Mul", apart, apart), axis, keepdims=0)
    with np.errstate(divide="ignore"):
        prior = 2.0 * np.log(np.asarray(model.class_prior_, np.float64))
    return graph.add("Sub", graph.constant(prior), squares)


def _dummy(graph: Graph, model: DummyClassifier, columns: Columns) -> ClassifierOutput:
    if model.strategy not in ("prior", "most_frequent", "constant"):
        raise NoGraph(
            f"strategy={model.strategy!r} draws its answers at random", "use strategy='prior' or 'constant'"
        )
    prior = np.asarray(model.class_prior_, np.float64)
    best = int(prior.argmax())
    if model.strategy == "constant":
        best = int(np.flatnonzero(model.classes_ == np.ravel(model.constant)[0])[0])
    chances = prior if model.strategy == "prior" else np.eye(len(prior))[best]
    rows = height(graph, columns)
    shape = graph.add("Concat", rows, graph.constant(np.array([len(prior)], np.int64)), axis=0)
    return ClassifierOutput(
        len(prior),
        winner=graph.add("Expand", graph.constant(np.array([best], np.int64)), rows),
        probabilities=graph.add("Expand", graph.constant(chances), shape),
    )


CONVERTERS: dict[type, Converter] = {NearestCentroid: _centroid, DummyClassifier: _dummy}
