"""Converters for CatBoost: its trees on the columns as it sees them, its bias last, and its links."""

import math
from typing import Any

import numpy as np

from unpickled.export.boosters import catboost
from unpickled.export.boosters.boosted import Boosted
from unpickled.export.converters import catboost_columns
from unpickled.export.converters.ensemble import ensemble
from unpickled.export.converters.members import above, column
from unpickled.export.converters.parts import winner
from unpickled.export.errors import NoGraph
from unpickled.export.graph import ClassifierOutput, Columns, Graph, RegressorOutput


def classifier(graph: Graph, model: Any, columns: Columns, exact: bool) -> ClassifierOutput:
    """The probabilities in float64 in any case; the winner has the highest sum, the first of equal ones."""
    boosted, raw = _sums(graph, model, columns)
    if boosted.link == "logistic":
        return _two_classes(graph, model, boosted, raw)
    scores = _biased(graph, boosted, raw)
    softmax = boosted.link == "softmax"
    probabilities = graph.add("Softmax", scores, axis=1) if softmax else graph.add("Sigmoid", scores)
    return ClassifierOutput(
        len(boosted.base), winner=winner(graph, scores), probabilities=probabilities, decision=scores
    )


def regressor(graph: Graph, model: Any, columns: Columns) -> RegressorOutput:
    """The predictions: the sums, or their exponential."""
    boosted, raw = _sums(graph, model, columns)
    scores = _biased(graph, boosted, raw)
    prediction = graph.add("Exp", scores) if boosted.link == "exp" else scores
    return RegressorOutput(prediction, len(boosted.base))


def _two_classes(graph: Graph, model: Any, boosted: Boosted, raw: str) -> ClassifierOutput:
    """The logistic functions of -s and s; the second class wins above a threshold, as a rule where s > 0."""
    bias = boosted.base * [-1.0, 1.0]
    scores = graph.add("Gemm", raw, graph.constant(np.array([[-1.0, 1.0]])), graph.constant(bias))
    threshold = catboost.threshold(model)
    if threshold is None:
        won = winner(graph, scores)
    else:
        won = above(graph, column(graph, scores, 1), _logit(threshold))
    return ClassifierOutput(2, winner=won, probabilities=graph.add("Sigmoid", scores), decision=scores)


def _logit(share: float) -> float:
    if not 0.0 < share < 1.0:
        raise NoGraph(
            f"its probability threshold is {share}", "call set_probability_threshold with one between 0 and 1"
        )
    return -math.log(1.0 / share - 1.0)


def _biased(graph: Graph, boosted: Boosted, raw: str) -> str:
    return graph.add("Add", raw, graph.constant(boosted.base)) if boosted.base.any() else raw


def _sums(graph: Graph, model: Any, columns: Columns) -> tuple[Boosted, str]:
    """The model, and the sums (rows, outputs) of the leaves that a row reaches."""
    read = catboost.read(model)
    trees, seen = catboost_columns.seen(graph, model, read, columns)
    return read.boosted, ensemble(graph, seen, trees)
