"""The converter for PowerTransformer: the curves of Yeo and Johnson, and of Box and Cox."""

import numpy as np
from sklearn.preprocessing import PowerTransformer, StandardScaler

from unpickled.export.converters import curves, scalers
from unpickled.export.converters.numbers import Converter, rounded, scalar
from unpickled.export.graph import Array, Columns, Graph

# Below this a power stands for the logarithm.
_NO_POWER = np.finfo(np.float64).eps


def _power(graph: Graph, transformer: PowerTransformer, columns: Columns) -> Columns:
    curve = _yeo_johnson if transformer.method == "yeo-johnson" else _box_cox
    x = curve(graph, graph.matrix(columns), np.asarray(transformer.lambdas_, np.float64))
    curved = rounded(graph, x, columns)
    return (
        scalers.CONVERTERS[StandardScaler](graph, transformer._scaler, curved)
        if transformer.standardize
        else curved
    )


def _yeo_johnson(graph: Graph, x: str, powers: Array) -> str:
    """Box and Cox's curve of 1 + x; for negative numbers that of 1 - x with another power, turned around."""
    log = curves.log1p(graph, graph.add("Abs", x))
    above = _of_logarithm(graph, log, powers)
    below = graph.add("Neg", _of_logarithm(graph, log, 2.0 - powers))
    return graph.add("Where", graph.add("Less", x, scalar(graph, 0.0)), below, above)


def _box_cox(graph: Graph, x: str, powers: Array) -> str:
    return _of_logarithm(graph, graph.add("Log", x), powers)


def _of_logarithm(graph: Graph, log: str, powers: Array) -> str:
    """(exp(power * log) - 1) / power, or the logarithm itself where the power is 0."""
    none = np.abs(powers) < _NO_POWER
    divisor = graph.constant(np.where(none, 1.0, powers))
    curve = graph.add("Div", curves.expm1(graph, graph.add("Mul", log, divisor)), divisor)
    return graph.add("Where", graph.constant(none), log, curve) if none.any() else curve


ROUNDING = (PowerTransformer,)
CONVERTERS: dict[type, Converter] = {PowerTransformer: _power}
