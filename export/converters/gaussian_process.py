"""Converters for Gaussian processes: kernels with all training rows, the mean of a process and its spread."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.linalg import solve_triangular
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process._gpc import COEFS, LAMBDAS, _BinaryGaussianProcessClassifierLaplace
from sklearn.gaussian_process.kernels import (
    RBF,
    ConstantKernel,
    DotProduct,
    Exponentiation,
    Matern,
    Product,
    RationalQuadratic,
    Sum,
    WhiteKernel,
)

from unpickled.export.converters import curves, members, regressors
from unpickled.export.converters.parts import Converter, product, squared_distances, two_sided
from unpickled.export.errors import NoGraph
from unpickled.export.graph import Array, ClassifierOutput, Columns, Graph, OptionalColumns, RegressorOutput

# The kernel of each row of x with each point (rows, points), and of each row with itself (rows, 1); a number
# stands for a kernel that is the same everywhere.
_Kernel = tuple[str | float, str | float]
_Write = Callable[[Graph, Any, str, Array], _Kernel]


def _process(
    graph: Graph, model: GaussianProcessClassifier, columns: OptionalColumns, classify: members.Classify
) -> ClassifierOutput:
    if model.n_classes_ > 2 and model.multi_class == "one_vs_one":
        raise NoGraph("multi_class='one_vs_one' gives no probabilities", "use multi_class='one_vs_rest'")
    return classify(model.base_estimator_, columns)


def _latent(
    graph: Graph, model: _BinaryGaussianProcessClassifierLaplace, columns: Columns
) -> ClassifierOutput:
    """The second class wins if the latent mean is above 0; its probability depends on the spread too."""
    row, itself = _with_training_rows(graph, model, columns)
    residual = np.asarray(model.y_train_ - model.pi_, np.float64)[:, None]
    mean = product(graph, row, residual)
    solved = solve_triangular(model.L_, np.diag(model.W_sr_), lower=True)
    explained = product(graph, row, solved.T)
    axis = graph.constant(np.array([1], np.int64))
    reduction = graph.add("ReduceSum", graph.add("Mul", explained, explained), axis, keepdims=1)
    spread = graph.add("Sub", _tensor(graph, itself), reduction)
    probability = two_sided(graph, graph.add("Concat", mean, _likely(graph, mean, spread), axis=1))
    chosen = members.above(graph, members.column(graph, mean, 0), 0.0)
    return ClassifierOutput(2, winner=chosen, probabilities=probability)


def _regressor(graph: Graph, model: GaussianProcessRegressor, columns: Columns) -> RegressorOutput:
    """The mean of the process, in the units of the targets, which it may have normalised."""
    row, _ = _with_training_rows(graph, model, columns)
    weights = np.asarray(model.alpha_, np.float64).reshape(len(model.X_train_), -1)
    return regressors.weighted_sums(graph, row, (weights * model._y_train_std).T, model._y_train_mean)


def _with_training_rows(graph: Graph, model: Any, columns: Columns) -> tuple[str, str | float]:
    """The kernel of each row with each training row (rows, training rows), and with itself (rows, 1)."""
    points = np.asarray(model.X_train_, np.float64)
    row, itself = _kernel(graph, model.kernel_, graph.matrix(columns), points)
    if isinstance(row, float):
        raise NoGraph("its kernel does not look at the rows", "add RBF() or another kernel to it")
    return row, itself


def _likely(graph: Graph, mean: str, spread: str) -> str:
    """(rows, 1): the logistic function of a normal variable on average, by scikit-learn's five functions."""
    slopes, shares = LAMBDAS.ravel().astype(np.float64), COEFS.ravel().astype(np.float64)
    wider = graph.add("Mul", spread, graph.constant(2.0 * slopes**2))
    root = graph.add("Sqrt", graph.add("Add", wider, graph.constant(np.array(1.0))))
    scaled = graph.add("Div", graph.add("Mul", mean, graph.constant(slopes)), root)
    total = graph.add("MatMul", curves.erf(graph, scaled), graph.constant(0.5 * shares[:, None]))
    return graph.add("Add", total, graph.constant(np.array(0.5 * shares.sum())))


def _tensor(graph: Graph, kernel: str | float) -> str:
    return graph.constant(np.array(kernel)) if isinstance(kernel, float) else kernel


def _kernel(graph: Graph, kernel: Any, x: str, points: Array) -> _Kernel:
    if type(kernel) not in _KERNELS:
        kinds = ", ".join(sorted(kind.__name__ for kind in _KERNELS))
        raise NoGraph(f"its kernel {type(kernel).__name__} has no graph", f"use one of {kinds}")
    return _KERNELS[type(kernel)](graph, kernel, x, points)


def _combined(op: str, combine: Callable[[float, float], float]) -> _Write:
    def write(graph: Graph, kernel: Any, x: str, points: Array) -> _Kernel:
        first, second = (_kernel(graph, k, x, points) for k in (kernel.k1, kernel.k2))

        def both(a: str | float, b: str | float) -> str | float:
            if isinstance(a, float) and isinstance(b, float):
                return combine(a, b)
            return graph.add(op, _tensor(graph, a), _tensor(graph, b))

        return both(first[0], second[0]), both(first[1], second[1])

    return write


def _power(graph: Graph, kernel: Exponentiation, x: str, points: Array) -> _Kernel:
    exponent = float(kernel.exponent)

    def raised(base: str | float) -> str | float:
        if isinstance(base, float):
            return float(base**exponent)
        return graph.add("Pow", base, graph.constant(np.array(exponent)))

    row, itself = _kernel(graph, kernel.kernel, x, points)
    return raised(row), raised(itself)


def _constant(graph: Graph, kernel: ConstantKernel, x: str, points: Array) -> _Kernel:
    return float(kernel.constant_value), float(kernel.constant_value)


def _white(graph: Graph, kernel: WhiteKernel, x: str, points: Array) -> _Kernel:
    return 0.0, float(kernel.noise_level)


def _dot(graph: Graph, kernel: DotProduct, x: str, points: Array) -> _Kernel:
    offset = graph.constant(np.array(float(kernel.sigma_0) ** 2))
    row = product(graph, x, points.T)
    axis = graph.constant(np.array([1], np.int64))
    itself = graph.add("ReduceSum", graph.add("Mul", x, x), axis, keepdims=1)
    return graph.add("Add", row, offset), graph.add("Add", itself, offset)


def _squares(graph: Graph, kernel: Any, x: str, points: Array) -> str:
    """(rows, points): squared distances in units of the length scale, which may be one per column."""
    scale = np.broadcast_to(np.squeeze(np.asarray(kernel.length_scale, np.float64)), points.shape[1])
    return squared_distances(graph, graph.add("Div", x, graph.constant(scale)), points / scale)


def _decay(graph: Graph, exponents: str) -> str:
    return graph.add("Exp", graph.add("Neg", exponents))


def _rbf(graph: Graph, kernel: RBF, x: str, points: Array) -> _Kernel:
    half = graph.add("Mul", _squares(graph, kernel, x, points), graph.constant(np.array(0.5)))
    return _decay(graph, half), 1.0


def _matern(graph: Graph, kernel: Matern, x: str, points: Array) -> _Kernel:
    if kernel.nu == math.inf:
        return _rbf(graph, kernel, x, points)
    if kernel.nu not in (0.5, 1.5, 2.5):
        raise NoGraph(f"nu={kernel.nu} of its Matern kernel has no graph", "use 0.5, 1.5 or 2.5")
    distance = graph.add("Sqrt", _squares(graph, kernel, x, points))
    if kernel.nu == 0.5:
        return _decay(graph, distance), 1.0
    scaled = graph.add("Mul", distance, graph.constant(np.array(math.sqrt(2.0 * kernel.nu))))
    factor = graph.add("Add", scaled, graph.constant(np.array(1.0)))
    if kernel.nu == 2.5:
        square = graph.add("Div", graph.add("Mul", scaled, scaled), graph.constant(np.array(3.0)))
        factor = graph.add("Add", factor, square)
    return graph.add("Mul", factor, _decay(graph, scaled)), 1.0


def _rational(graph: Graph, kernel: RationalQuadratic, x: str, points: Array) -> _Kernel:
    unit = 2.0 * kernel.alpha * kernel.length_scale**2
    part = graph.add("Div", squared_distances(graph, x, points), graph.constant(np.array(float(unit))))
    base = graph.add("Add", part, graph.constant(np.array(1.0)))
    return graph.add("Pow", base, graph.constant(np.array(-float(kernel.alpha)))), 1.0


_KERNELS: dict[type, _Write] = {
    Sum: _combined("Add", lambda a, b: a + b),
    Product: _combined("Mul", lambda a, b: a * b),
    Exponentiation: _power,
    ConstantKernel: _constant,
    WhiteKernel: _white,
    DotProduct: _dot,
    RBF: _rbf,
    Matern: _matern,
    RationalQuadratic: _rational,
}

# The process of two classes, which scikit-learn keeps inside the one that users see.
LATENT: dict[type, Converter] = {_BinaryGaussianProcessClassifierLaplace: _latent}
CONVERTERS: dict[type, members.Converter] = {GaussianProcessClassifier: _process}
REGRESSORS: dict[type, regressors.Converter] = {GaussianProcessRegressor: _regressor}
