"""Groups of nodes that several converters of classifiers share."""

from collections.abc import Callable
from typing import Any

import numpy as np

from unpickled.export.graph import Array, ClassifierOutput, Columns, Graph

# (graph, fitted classifier, columns) -> the output of the nodes that it adds to the graph.
Converter = Callable[[Graph, Any, Columns], ClassifierOutput]


def winner(graph: Graph, scores: str) -> str:
    """The index of each row's highest score, of the first one if several are equal."""
    return graph.add("ArgMax", scores, axis=1, keepdims=0)


def affine(graph: Graph, x: str, weights: Array, bias: Array) -> str:
    return graph.add("Gemm", x, graph.constant(weights), graph.constant(np.ascontiguousarray(bias)))


def product(graph: Graph, x: str, weights: Array) -> str:
    """A product of matrices that stays apart from a number which x was multiplied or divided by.

    ONNX Runtime gives such a number to a MatMul behind it, rounded to float32, but to no Gemm.
    """
    return affine(graph, x, np.ascontiguousarray(weights), np.zeros(weights.shape[1]))


def soft(graph: Graph, decisions: str, classes: int) -> ClassifierOutput:
    """Softmax of the decisions as probabilities; for [0, d] that is the logistic function of d."""
    return ClassifierOutput(
        classes,
        winner=winner(graph, decisions),
        probabilities=graph.add("Softmax", decisions, axis=1),
        decision=decisions,
    )


def two_sided(graph: Graph, scores: str) -> str:
    """[1 - p, p], where p is column 1."""
    pick = graph.constant(np.array([[0.0, 0.0], [-1.0, 1.0]]))
    return graph.add("Gemm", scores, pick, graph.constant(np.array([1.0, 0.0])))


def far_sigmoid(graph: Graph, x: str) -> str:
    """1 / (1 + exp(-x)), exact far below 0 too, as scores need it that are divided by their sum.

    ONNX Runtime's Sigmoid is 0 below about -37.
    """
    zero, unit = (graph.constant(np.array(number)) for number in (0.0, 1.0))
    above = graph.add("Exp", graph.add("Min", x, zero))
    distant = graph.add("Exp", graph.add("Neg", graph.add("Abs", x)))
    return graph.add("Div", above, graph.add("Add", unit, distant))


def normalised(graph: Graph, scores: str, classes: int) -> str:
    """Rows divided by their sum; the uniform distribution where that is 0."""
    total = graph.add("ReduceSum", scores, graph.constant(np.array([1], np.int64)), keepdims=1)
    zero = graph.add("Equal", total, graph.constant(np.array(0.0)))
    shared = graph.add("Div", scores, total)
    return graph.add("Where", zero, graph.constant(np.array(1.0 / classes)), shared)


def away(graph: Graph, x: str, points: Array) -> str:
    """(rows, points, features): each row minus each of these points."""
    spread = graph.add("Unsqueeze", x, graph.constant(np.array([1], np.int64)))
    return graph.add("Sub", spread, graph.constant(points))


def nearest(graph: Graph, x: str, points: Array) -> tuple[str, str]:
    """The index of the nearest point, and minus the euclidean distances to all of them (rows, points).

    scikit-learn compares |x|^2 - 2xp + |p|^2, and so does the graph: where rows are equally far from two
    points, the rounding of just this sum decides. |x|^2 is a product of matrices as it is one there, too.
    """
    axis, last = (graph.constant(np.array([number], np.int64)) for number in (1, 2))
    row, upright = graph.add("Unsqueeze", x, axis), graph.add("Unsqueeze", x, last)
    length = graph.add("Squeeze", graph.add("MatMul", row, upright), last)
    cross = graph.add("MatMul", x, graph.constant(np.ascontiguousarray(-2.0 * points.T)))
    expanded = graph.add("Add", graph.add("Add", length, cross), graph.constant((points**2).sum(axis=1)))
    bounded = graph.add("Max", expanded, graph.constant(np.array(0.0)))
    apart = away(graph, x, points)
    squares = graph.add(
        "ReduceSum", graph.add("Mul", apart, apart), graph.constant(np.array([2], np.int64)), keepdims=0
    )
    distances = graph.add("Neg", graph.add("Sqrt", squares))
    return graph.add("ArgMin", bounded, axis=1, keepdims=0), distances


def pair_votes(graph: Graph, second: str, margins: str, classes: int) -> tuple[str, str]:
    """The votes for each class and its score (rows, classes), from one contest per pair of classes i < j.

    ``second`` is 1.0 (rows, pairs) where j wins; ``margins`` are the scores in favour of i. The score is the
    votes and, to tell equal votes apart, less than a third of a vote for the margins.
    """
    ordered = [(i, j) for i in range(classes) for j in range(i + 1, classes)]
    for_first, for_second = np.zeros((len(ordered), classes)), np.zeros((len(ordered), classes))
    for k, (i, j) in enumerate(ordered):
        for_first[k, i] = for_second[k, j] = 1.0
    start = graph.constant(for_first.sum(axis=0))
    votes = graph.add("Gemm", second, graph.constant(for_second - for_first), start)
    confidence = graph.add("MatMul", margins, graph.constant(for_first - for_second))
    bound = graph.add("Add", graph.add("Abs", confidence), graph.constant(np.array(1.0)))
    third = graph.add("Mul", bound, graph.constant(np.array(3.0)))
    return votes, graph.add("Add", votes, graph.add("Div", confidence, third))


def squared_distances(graph: Graph, x: str, points: Array) -> str:
    """(rows, points): squared distances, summed feature by feature as scikit-learn's trees do."""
    return by_feature(graph, x, points, lambda away: graph.add("Mul", away, away))


def by_feature(graph: Graph, x: str, points: Array, part: Callable[[str], str], join: str = "Add") -> str:
    """(rows, points): ``part`` of each row's differences from each point, joined feature by feature."""
    total = ""
    for index, coordinates in enumerate(points.T):
        value = graph.add("Gather", x, graph.constant(np.array([index], np.int64)), axis=1)
        measured = part(graph.add("Sub", value, graph.constant(coordinates[None, :])))
        total = graph.add(join, total, measured) if total else measured
    return total
