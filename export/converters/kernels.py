"""Converters for kernels: those to training rows, and those approximated by random or fixed features."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.decomposition import KernelPCA
from sklearn.kernel_approximation import (
    AdditiveChi2Sampler,
    Nystroem,
    PolynomialCountSketch,
    RBFSampler,
    SkewedChi2Sampler,
)
from sklearn.kernel_ridge import KernelRidge

from unpickled.export.converters import regressors
from unpickled.export.converters.distances import differences, squared
from unpickled.export.converters.numbers import Converter, rounded, scalar, total
from unpickled.export.converters.parts import product
from unpickled.export.errors import NoGraph
from unpickled.export.graph import Array, Columns, Graph, RegressorOutput, Tensor

# (graph, rows, points, gamma, coef0, degree) -> float64 (rows, points).
Kernel = Callable[[Graph, str, Array, float, float, float], str]


def _products(graph: Graph, x: str, points: Array, gamma: float, coef0: float) -> str:
    offsets = graph.constant(np.full(len(points), float(coef0)))
    return graph.add("Gemm", x, graph.constant(np.ascontiguousarray(gamma * points.T)), offsets)


def _linear(graph: Graph, x: str, points: Array, gamma: float, coef0: float, degree: float) -> str:
    return product(graph, x, points.T)


def _polynomial(graph: Graph, x: str, points: Array, gamma: float, coef0: float, degree: float) -> str:
    return graph.add("Pow", _products(graph, x, points, gamma, coef0), scalar(graph, float(degree)))


def _sigmoid(graph: Graph, x: str, points: Array, gamma: float, coef0: float, degree: float) -> str:
    return graph.add("Tanh", _products(graph, x, points, gamma, coef0))


def _rbf(graph: Graph, x: str, points: Array, gamma: float, coef0: float, degree: float) -> str:
    return graph.add("Exp", graph.add("Mul", squared(graph, x, points), scalar(graph, -gamma)))


def _laplacian(graph: Graph, x: str, points: Array, gamma: float, coef0: float, degree: float) -> str:
    away = total(graph, graph.add("Abs", differences(graph, x, points)), axis=2, keepdims=0)
    return graph.add("Exp", graph.add("Mul", away, scalar(graph, -gamma)))


def _cosine(graph: Graph, x: str, points: Array, gamma: float, coef0: float, degree: float) -> str:
    lengths = np.sqrt((points**2).sum(axis=1, keepdims=True))
    points = points / np.where(lengths == 0.0, 1.0, lengths)
    length = graph.add("Sqrt", total(graph, graph.add("Mul", x, x), axis=1))
    none = graph.add("Equal", length, scalar(graph, 0.0))
    divisor = graph.add("Where", none, scalar(graph, 1.0), length)
    return graph.add("MatMul", graph.add("Div", x, divisor), graph.constant(np.ascontiguousarray(points.T)))


_KERNELS: dict[str, Kernel] = {
    "linear": _linear,
    "poly": _polynomial,
    "polynomial": _polynomial,
    "sigmoid": _sigmoid,
    "rbf": _rbf,
    "laplacian": _laplacian,
    "cosine": _cosine,
}


def _kernel(graph: Graph, columns: Columns, points: Array, name: Any, parameters: dict[str, Any]) -> str:
    if not isinstance(name, str) or name not in _KERNELS:
        kernel = repr(name) if isinstance(name, str) else " a function of your own"
        raise NoGraph(f"kernel={kernel} has no graph", f"use one of {', '.join(_KERNELS)}")
    gamma = parameters.get("gamma")
    return _KERNELS[name](
        graph,
        graph.matrix(columns),
        np.asarray(points, np.float64),
        1.0 / len(columns) if gamma is None else float(gamma),
        float(parameters.get("coef0", 1.0)),
        float(parameters.get("degree", 3)),
    )


def _nystroem(graph: Graph, sampler: Nystroem, columns: Columns) -> Columns:
    chosen = {name: getattr(sampler, name) for name in ("gamma", "coef0", "degree")}
    parameters = dict(sampler.kernel_params or {})
    parameters.update((name, value) for name, value in chosen.items() if value is not None)
    kernel = _kernel(graph, columns, sampler.components_, sampler.kernel, parameters)
    weights = np.ascontiguousarray(np.asarray(sampler.normalization_, np.float64).T)
    return rounded(graph, graph.add("MatMul", kernel, graph.constant(weights)), columns, weights.shape[1])


def _ridge(graph: Graph, model: KernelRidge, columns: Columns) -> RegressorOutput:
    parameters = {"gamma": model.gamma, "degree": model.degree, "coef0": model.coef0}
    kernel = _kernel(graph, columns, model.X_fit_, model.kernel, parameters)
    return regressors.weighted_sums(graph, kernel, np.asarray(model.dual_coef_).T, 0.0)


def _kernel_pca(graph: Graph, analysis: KernelPCA, columns: Columns) -> Columns:
    """The centered kernel times the scaled eigenvectors; the centering goes into weights and offsets."""
    parameters = {"gamma": analysis.gamma_, "degree": analysis.degree, "coef0": analysis.coef0}
    kernel = _kernel(graph, columns, analysis.X_fit_, analysis.kernel, parameters)
    values = np.asarray(analysis.eigenvalues_, np.float64)
    scale = np.where(values == 0.0, 0.0, 1.0 / np.sqrt(np.where(values == 0.0, 1.0, values)))
    vectors = np.asarray(analysis.eigenvectors_, np.float64) * scale
    center = analysis._centerer
    offsets = (center.K_fit_all_ - center.K_fit_rows_) @ vectors
    weights = vectors - vectors.mean(axis=0)
    product = graph.add("Gemm", kernel, graph.constant(weights), graph.constant(offsets))
    return rounded(graph, product, columns, len(values))


def _waves(graph: Graph, sampler: RBFSampler | SkewedChi2Sampler, columns: Columns) -> Columns:
    """Cosines of random projections, of logarithms if the kernel is the skewed one."""
    x = graph.matrix(columns)
    if isinstance(sampler, SkewedChi2Sampler):
        x = graph.add("Log", graph.add("Add", x, scalar(graph, float(sampler.skewedness))))
    weights = np.ascontiguousarray(sampler.random_weights_, np.float64)
    offsets = graph.constant(np.asarray(sampler.random_offset_, np.float64))
    angles = graph.add("Gemm", x, graph.constant(weights), offsets)
    height = scalar(graph, math.sqrt(2.0 / sampler.n_components))
    return rounded(graph, graph.add("Mul", graph.add("Cos", angles), height), columns, sampler.n_components)


# The interval of samples for each number of steps, as scikit-learn chooses it.
_INTERVALS = {1: 0.8, 2: 0.5, 3: 0.4}


def _additive(graph: Graph, sampler: AdditiveChi2Sampler, columns: Columns) -> Columns:
    """The square root of each number, then its waves over the logarithm, step by step."""
    x, zero = graph.matrix(columns), scalar(graph, 0.0)
    interval = sampler.sample_interval or _INTERVALS[sampler.sample_steps]
    pieces = [graph.add("Sqrt", graph.add("Mul", x, scalar(graph, interval)))]
    nothing = graph.add("Equal", x, zero)
    log = graph.add(
        "Mul", graph.add("Log", graph.add("Where", nothing, scalar(graph, 1.0), x)), scalar(graph, interval)
    )
    for step in range(1, sampler.sample_steps):
        damped = scalar(graph, 2.0 * interval / math.cosh(math.pi * step * interval))
        height = graph.add("Sqrt", graph.add("Mul", x, damped))
        angle = graph.add("Mul", log, scalar(graph, float(step)))
        pieces += [graph.add("Mul", height, graph.add(wave, angle)) for wave in ("Cos", "Sin")]
    joined = pieces[0] if len(pieces) == 1 else graph.add("Concat", *pieces, axis=1)
    return rounded(graph, joined, columns, len(pieces) * len(columns))


def _sketch(graph: Graph, sketcher: PolynomialCountSketch, columns: Columns) -> Columns:
    """The product of the Fourier transforms of the sketches, transformed back; each is a matrix here."""
    count, places = sketcher.n_components, np.arange(sketcher.n_components)
    turn = np.exp(-2j * np.pi * (np.outer(places, places) % count) / count)
    x, real, imaginary = graph.matrix(columns), "", ""
    for index, bit in zip(sketcher.indexHash_, sketcher.bitHash_, strict=True):
        spectrum = np.asarray(bit, np.float64)[:, None] * turn[index]
        rows = math.sqrt(sketcher.gamma) * spectrum[: len(columns)]
        offset = math.sqrt(sketcher.coef0) * spectrum[len(columns) :].sum(axis=0)
        a, b = (
            graph.add("Gemm", x, *map(graph.constant, map(np.ascontiguousarray, part)))
            for part in ((rows.real, offset.real), (rows.imag, offset.imag))
        )
        real, imaginary = _multiplied(graph, (real, imaginary), (a, b)) if real else (a, b)
    cosines, sines = (np.ascontiguousarray(part / count) for part in (turn.real, turn.imag))
    back = graph.add(
        "Add",
        graph.add("MatMul", real, graph.constant(cosines)),
        graph.add("MatMul", imaginary, graph.constant(sines)),
    )
    return Tensor(back, "float64", count).columns()


def _multiplied(graph: Graph, first: tuple[str, str], second: tuple[str, str]) -> tuple[str, str]:
    """The product of two complex numbers, each as its real and its imaginary part."""
    (a, b), (c, d) = first, second
    real = graph.add("Sub", graph.add("Mul", a, c), graph.add("Mul", b, d))
    return real, graph.add("Add", graph.add("Mul", a, d), graph.add("Mul", b, c))


CONVERTERS: dict[type, Converter] = {
    Nystroem: _nystroem,
    KernelPCA: _kernel_pca,
    RBFSampler: _waves,
    SkewedChi2Sampler: _waves,
    AdditiveChi2Sampler: _additive,
    PolynomialCountSketch: _sketch,
}
ROUNDING = tuple(CONVERTERS)
REGRESSORS: dict[type, regressors.Converter] = {KernelRidge: _ridge}
