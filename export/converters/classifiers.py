"""Converters for linear classifiers and naive Bayes, in float64 as in scikit-learn."""

from typing import Any

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import (
    LogisticRegression,
    LogisticRegressionCV,
    PassiveAggressiveClassifier,
    Perceptron,
    RidgeClassifier,
    RidgeClassifierCV,
    SGDClassifier,
)
from sklearn.naive_bayes import CategoricalNB, GaussianNB
from sklearn.svm import LinearSVC

from unpickled.export.converters.parts import (
    Converter,
    affine,
    far_sigmoid,
    normalised,
    soft,
    two_sided,
    winner,
)
from unpickled.export.graph import ClassifierOutput, Columns, Graph
from unpickled.export.releases import coupling


def _decisions(graph: Graph, model: Any, columns: Columns, first: float = 0.0) -> str:
    """The decisions (rows, classes) of a linear model; for two classes [first * d, d] with decision d."""
    coef, intercept = np.atleast_2d(model.coef_).astype(np.float64), np.asarray(model.intercept_, np.float64)
    intercept = np.broadcast_to(intercept, len(coef))
    if len(coef) == 1:
        coef, intercept = np.vstack([first * coef, coef]), np.append(first * intercept, intercept)
    return affine(graph, graph.matrix(columns), coef.T, intercept)


def _softmax_model(graph: Graph, model: Any, columns: Columns) -> ClassifierOutput:
    decisions = _decisions(graph, model, columns)
    return soft(graph, decisions, len(model.classes_))


def _logistic(graph: Graph, model: LogisticRegression, columns: Columns) -> ClassifierOutput:
    kind, classes = coupling(model), len(model.classes_)
    if kind != "one against the rest":
        return soft(graph, _decisions(graph, model, columns, -1.0 if kind == "two-sided" else 0.0), classes)
    decisions = _decisions(graph, model, columns)
    probabilities = normalised(graph, far_sigmoid(graph, decisions), classes)
    return ClassifierOutput(
        classes, winner=winner(graph, decisions), probabilities=probabilities, decision=decisions
    )


def _scores_model(graph: Graph, model: Any, columns: Columns) -> ClassifierOutput:
    decisions = _decisions(graph, model, columns, first=-1.0)
    return ClassifierOutput(len(model.classes_), winner=winner(graph, decisions), decision=decisions)


def _sgd(graph: Graph, model: SGDClassifier, columns: Columns) -> ClassifierOutput:
    if model.loss not in ("log_loss", "modified_huber"):
        return _scores_model(graph, model, columns)
    if len(model.classes_) == 2 and model.loss == "log_loss":
        return _softmax_model(graph, model, columns)
    decisions = _decisions(graph, model, columns)
    scores = _huber(graph, decisions) if model.loss == "modified_huber" else far_sigmoid(graph, decisions)
    if len(model.classes_) == 2:
        probabilities = two_sided(graph, scores)
    else:
        probabilities = normalised(graph, scores, len(model.classes_))
    return ClassifierOutput(
        len(model.classes_), winner=winner(graph, decisions), probabilities=probabilities, decision=decisions
    )


def _huber(graph: Graph, decisions: str) -> str:
    low, high = (graph.constant(np.array(bound)) for bound in (-1.0, 1.0))
    clipped = graph.add("Clip", decisions, low, high)
    return graph.add("Div", graph.add("Add", clipped, high), graph.constant(np.array(2.0)))


def _gaussian(graph: Graph, model: GaussianNB, columns: Columns) -> ClassifierOutput:
    spread = graph.constant(np.array([-1, 1, len(columns)], np.int64))
    x = graph.add("Reshape", graph.matrix(columns), spread)
    theta, var, prior = (np.asarray(a, np.float64) for a in (model.theta_, model.var_, model.class_prior_))
    away = graph.add("Sub", x, graph.constant(theta))
    squared = graph.add("Div", graph.add("Mul", away, away), graph.constant(var))
    total = graph.add("ReduceSum", squared, graph.constant(np.array([2], np.int64)), keepdims=0)
    half = graph.add("Mul", total, graph.constant(np.array(-0.5)))
    offset = np.log(prior) - 0.5 * np.log(2.0 * np.pi * var).sum(axis=1)
    joint = graph.add("Add", half, graph.constant(offset))
    return ClassifierOutput(
        len(model.classes_), winner=winner(graph, joint), probabilities=graph.add("Softmax", joint, axis=1)
    )


def _categorical(graph: Graph, model: CategoricalNB, columns: Columns) -> ClassifierOutput:
    """The sum of the logarithms of each category: a number is its index, without the fraction."""
    total = ""
    for column, table in zip(columns, model.feature_log_prob_, strict=True):
        # The pipeline refuses what is no index, and so does the server.
        ends = [graph.constant(np.array(end)) for end in (0.0, table.shape[1] - 1.0)]
        place = graph.add("Clip", graph.matrix((column,)), *ends)
        flat = graph.add("Reshape", graph.cast(place, "int64"), graph.constant(np.array([-1], np.int64)))
        logarithms = graph.constant(np.ascontiguousarray(table.T))
        line = graph.add("Gather", logarithms, flat, axis=0)
        total = graph.add("Add", total, line) if total else line
    joint = graph.add("Add", total, graph.constant(np.asarray(model.class_log_prior_, np.float64)))
    return ClassifierOutput(
        len(model.classes_), winner=winner(graph, joint), probabilities=graph.add("Softmax", joint, axis=1)
    )


CONVERTERS: dict[type, Converter] = {
    LogisticRegression: _logistic,
    LogisticRegressionCV: _logistic,
    LinearDiscriminantAnalysis: _softmax_model,
    LinearSVC: _scores_model,
    RidgeClassifier: _scores_model,
    RidgeClassifierCV: _scores_model,
    Perceptron: _scores_model,
    PassiveAggressiveClassifier: _scores_model,
    SGDClassifier: _sgd,
    GaussianNB: _gaussian,
    CategoricalNB: _categorical,
}
