"""Groups of nodes that several recipes of classifiers share."""

from collections.abc import Callable
from typing import Any

import numpy as np

from unpickled.export.graph import Array, ClassifierOutput, Columns, Graph

# (graph, fitted classifier, columns) -> the output of the nodes that it adds to the graph.
Recipe = Callable[[Graph, Any, Columns], ClassifierOutput]


def winner(graph: Graph, scores: str) -> str:
    """The index of each row's highest score, of the first one if several are equal."""
    return graph.add("ArgMax", scores, axis=1, keepdims=0)


def affine(graph: Graph, x: str, weights: Array, bias: Array) -> str:
    return graph.add("Gemm", x, graph.constant(weights), graph.constant(np.ascontiguousarray(bias)))


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
