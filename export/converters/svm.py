"""Converters for kernel support vector machines."""

import numpy as np
from sklearn.svm import SVC, SVR, NuSVC, NuSVR, OneClassSVM

from unpickled.export.converters import regressors
from unpickled.export.converters.parts import Converter, affine, pair_votes, product, winner
from unpickled.export.errors import NoConverter, NoGraph
from unpickled.export.graph import Array, ClassifierOutput, Columns, Graph, RegressorOutput


def _svc(graph: Graph, model: SVC | NuSVC, columns: Columns) -> ClassifierOutput:
    if model.probability is True:
        raise NoConverter("libsvm couples its probabilities by an iteration that only SVMClassifier repeats")
    classes = len(model.classes_)
    if classes > 2 and model.decision_function_shape != "ovr":
        raise NoGraph(
            "its decision_function gives one score per pair of classes", "set decision_function_shape='ovr'"
        )
    products = kernel(graph, model, graph.matrix(columns))
    weights, offset = _pair_weights(model), np.asarray(model._intercept_, np.float64)
    if classes == 2:
        # libsvm's decision is the score of the first class, scikit-learn's that of the second.
        decision = affine(graph, products, weights * [1.0, -1.0], offset * [1.0, -1.0])
        return ClassifierOutput(2, winner=winner(graph, decision), decision=decision)
    return _many_class_svc(graph, affine(graph, products, weights, offset), classes)


def _svr(graph: Graph, model: SVR | NuSVR, columns: Columns) -> RegressorOutput:
    if not len(model.support_):
        return regressors.constant(graph, columns, model.intercept_)
    products = kernel(graph, model, graph.matrix(columns))
    return regressors.weighted_sums(graph, products, model.dual_coef_, model.intercept_)


def kernel(graph: Graph, model: SVC | NuSVC | SVR | NuSVR | OneClassSVM, x: str) -> str:
    """(rows, support vectors): the kernel of each row with each support vector."""
    points = np.asarray(model.support_vectors_, np.float64)
    gamma = model._gamma
    if model.kernel == "rbf":
        center = points.mean(axis=0)
        return _rbf(graph, graph.add("Sub", x, graph.constant(center)), points - center, gamma)
    if model.kernel == "linear":
        return product(graph, x, points.T)
    if model.kernel not in ("poly", "sigmoid"):
        raise NoGraph(f"kernel {model.kernel!r} has no graph", "use linear, rbf, poly or sigmoid")
    products = affine(graph, x, gamma * points.T, np.full(len(points), float(model.coef0)))
    if model.kernel == "sigmoid":
        return graph.add("Tanh", products)
    return graph.add("Pow", products, graph.constant(np.array(float(model.degree))))


def _rbf(graph: Graph, x: str, points: Array, gamma: float) -> str:
    lengths = (points.astype(np.float64) ** 2).sum(axis=1)
    axis = graph.constant(np.array([1], np.int64))
    length = graph.add("ReduceSum", graph.add("Mul", x, x), axis, keepdims=1)
    cross = graph.add("Gemm", x, graph.constant(2.0 * gamma * points.T), graph.constant(-gamma * lengths))
    return graph.add(
        "Exp", graph.add("Sub", cross, graph.add("Mul", length, graph.constant(np.array(gamma))))
    )


def _pair_weights(model: SVC | NuSVC) -> Array:
    """(support vectors, pairs): the dual coefficients of each pair of classes i < j."""
    counts = model._n_support
    owner = np.repeat(np.arange(len(counts)), counts)
    coefficients = np.asarray(model._dual_coef_, np.float64)
    pairs = [(i, j) for i in range(len(counts)) for j in range(i + 1, len(counts))]
    weights = np.zeros((len(owner), len(pairs)))
    for k, (i, j) in enumerate(pairs):
        weights[owner == i, k] = coefficients[j - 1, owner == i]
        weights[owner == j, k] = coefficients[i, owner == j]
    return weights


def _many_class_svc(graph: Graph, pairs: str, classes: int) -> ClassifierOutput:
    zero = graph.constant(np.array(0.0))
    lost = graph.cast(graph.add("Less", pairs, zero), "float64")
    votes, decision = pair_votes(graph, lost, pairs, classes)
    return ClassifierOutput(classes, winner=winner(graph, votes), decision=decision)


CONVERTERS: dict[type, Converter] = {SVC: _svc, NuSVC: _svc}
REGRESSORS: dict[type, regressors.Converter] = {SVR: _svr, NuSVR: _svr}
