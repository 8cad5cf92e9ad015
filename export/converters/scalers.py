"""Converters for scalers: each repeats the arithmetic of NumPy, operation by operation."""

from typing import Any

import numpy as np
from sklearn.preprocessing import (
    Binarizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    RobustScaler,
    StandardScaler,
)

from unpickled.export.converters.numbers import Converter, clipped, in_place, number_type, scalar, total
from unpickled.export.graph import Array, Columns, Graph, Tensor
from unpickled.export.releases import STANDARD_ROUNDS, clips


def _scale(graph: Graph, columns: Columns, steps: list[tuple[str, Array | None]]) -> Columns:
    dtype = number_type(columns)
    x = graph.matrix(columns, dtype)
    for op, constant in steps:
        if constant is not None:
            x = in_place(graph, op, x, dtype, np.asarray(constant))
    return Tensor(x, dtype, len(columns)).columns()


def _standard(graph: Graph, scaler: StandardScaler, columns: Columns) -> Columns:
    dtype = number_type(columns) if STANDARD_ROUNDS else "float64"
    mean = scaler.mean_.astype(dtype) if scaler.with_mean else None
    scale = scaler.scale_.astype(dtype) if scaler.with_std else None
    return _scale(graph, columns, [("Sub", mean), ("Div", scale)])


def _robust(graph: Graph, scaler: RobustScaler, columns: Columns) -> Columns:
    center = scaler.center_ if scaler.with_centering else None
    scale = scaler.scale_ if scaler.with_scaling else None
    return _scale(graph, columns, [("Sub", center), ("Div", scale)])


def _min_max(graph: Graph, scaler: MinMaxScaler, columns: Columns) -> Columns:
    scaled = _scale(graph, columns, [("Mul", scaler.scale_), ("Add", scaler.min_)])
    return _clip(graph, scaled, *scaler.feature_range) if scaler.clip else scaled


def _max_abs(graph: Graph, scaler: MaxAbsScaler, columns: Columns) -> Columns:
    scaled = _scale(graph, columns, [("Div", scaler.scale_)])
    return _clip(graph, scaled, -1.0, 1.0) if clips(scaler) else scaled


def _clip(graph: Graph, columns: Columns, low: float, high: float) -> Columns:
    dtype = columns[0].dtype
    bounds = (scalar(graph, bound, dtype) for bound in (low, high))
    return Tensor(clipped(graph, graph.matrix(columns, dtype), *bounds), dtype, len(columns)).columns()


def _normalise(graph: Graph, normalizer: Normalizer, columns: Columns) -> Columns:
    dtype = number_type(columns)
    x = graph.matrix(columns, dtype)
    if normalizer.norm == "l2":
        norm = graph.add("Sqrt", total(graph, graph.add("Mul", x, x), axis=1))
    else:
        op = "ReduceMax" if normalizer.norm == "max" else "ReduceSum"
        norm = graph.add(op, graph.add("Abs", x), graph.constant(np.array([1], np.int64)))
    # scikit-learn does not change rows whose norm is about zero.
    tiny = graph.add("Less", norm, graph.constant(np.array(10 * np.finfo(dtype).eps, dtype)))
    divisor = graph.add("Where", tiny, graph.constant(np.array(1.0, dtype)), norm)
    return Tensor(graph.add("Div", x, divisor), dtype, len(columns)).columns()


def _binarize(graph: Graph, binarizer: Binarizer, columns: Columns) -> Columns:
    dtype = number_type(columns)
    threshold = np.asarray(binarizer.threshold)
    # NumPy rounds a plain number to the precision of the columns, but not one that has a precision itself.
    wide = isinstance(binarizer.threshold, np.float64)
    limit = graph.constant(threshold.astype("float64" if wide else dtype))
    above = graph.add("Greater", graph.matrix(columns, "float64" if wide else dtype), limit)
    return Tensor(graph.cast(above, dtype), dtype, len(columns)).columns()


def rounds(transformer: Any) -> bool:
    """Whether its converter may differ in the last digit: NumPy's order of a sum depends on the layout."""
    return isinstance(transformer, Normalizer) and transformer.norm != "max"


def jumps(transformer: Any) -> bool:
    """Whether it is one whose answer jumps at a threshold."""
    return isinstance(transformer, Binarizer)


CONVERTERS: dict[type, Converter] = {
    StandardScaler: _standard,
    RobustScaler: _robust,
    MinMaxScaler: _min_max,
    MaxAbsScaler: _max_abs,
    Normalizer: _normalise,
    Binarizer: _binarize,
}
