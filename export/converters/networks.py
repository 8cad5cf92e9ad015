"""Converters for neural networks, layer by layer."""

import numpy as np
from sklearn.neural_network import MLPClassifier, MLPRegressor

from unpickled.export.converters import parts, regressors
from unpickled.export.converters.parts import affine, soft
from unpickled.export.graph import Array, ClassifierOutput, Columns, Graph, RegressorOutput

# The operator of each activation; None where the numbers stay as they are.
_ACTIVATIONS = {"identity": None, "relu": "Relu", "tanh": "Tanh", "logistic": "Sigmoid", "exp": "Exp"}


def _hidden(graph: Graph, model: MLPClassifier | MLPRegressor, columns: Columns) -> tuple[str, Array, Array]:
    """The numbers that reach the last layer, and its weights and biases."""
    x = graph.matrix(columns)
    *layers, last = zip(model.coefs_, model.intercepts_, strict=True)
    for weights, bias in layers:
        x = affine(graph, x, weights.astype(np.float64), bias.astype(np.float64))
        x = _activated(graph, model.activation, x)
    weights, bias = last
    return x, weights.astype(np.float64), bias.astype(np.float64)


def _activated(graph: Graph, activation: str, x: str) -> str:
    operator = _ACTIVATIONS[activation]
    return graph.add(operator, x) if operator else x


def _classifier(graph: Graph, model: MLPClassifier, columns: Columns) -> ClassifierOutput:
    x, weights, bias = _hidden(graph, model, columns)
    if len(bias) == 1:
        weights, bias = np.hstack([np.zeros_like(weights), weights]), np.append(0.0, bias)
    return soft(graph, affine(graph, x, weights, bias), len(model.classes_))


def _regressor(graph: Graph, model: MLPRegressor, columns: Columns) -> RegressorOutput:
    x, weights, bias = _hidden(graph, model, columns)
    prediction = _activated(graph, model.out_activation_, affine(graph, x, weights, bias))
    return RegressorOutput(prediction, len(bias))


CONVERTERS: dict[type, parts.Converter] = {MLPClassifier: _classifier}
REGRESSORS: dict[type, regressors.Converter] = {MLPRegressor: _regressor}
