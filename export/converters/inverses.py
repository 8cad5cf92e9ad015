"""The inverse of transformers, for regressors that were fitted on transformed targets.

Each repeats the arithmetic of ``inverse_transform`` on the tensor (rows, targets) that a regressor predicts,
in the precision of its numbers: scikit-learn turns XGBoost's, which are float32, back in float32.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)

from unpickled.export import inside
from unpickled.export.converters import curves, functions
from unpickled.export.converters.numbers import in_place, number_type, scalar
from unpickled.export.errors import NoGraph
from unpickled.export.graph import Array, Graph, Tensor
from unpickled.export.refusals import qualified
from unpickled.export.releases import STANDARD_ROUNDS

# (graph, fitted transformer, predictions) -> a tensor of the same shape.
Inverse = Callable[[Graph, Any, Tensor], Tensor]

# Powers nearer to 0, or to 2, than this stand for the logarithm.
_NO_POWER = float(np.spacing(1.0))
# Probabilities this near to an end are taken as the end, if the distribution is normal.
_NEAR = 1e-7


def inverted(graph: Graph, transformer: Any, x: Tensor) -> Tensor:
    """The tensor (rows, targets) before the transformer; NoGraph if no graph inverts it."""
    transformer = inside.unwrapped(transformer)
    if type(transformer) not in _INVERSES:
        kinds = ", ".join(sorted(kind.__name__ for kind in _INVERSES if kind is not Pipeline))
        raise NoGraph(
            f"no graph is known of the inverse of its transformer {qualified(transformer)}",
            f"use one of {kinds}",
        )
    return _INVERSES[type(transformer)](graph, transformer, x)


def _pipeline(graph: Graph, pipeline: Pipeline, x: Tensor) -> Tensor:
    for part in reversed(inside.parts(pipeline)):
        x = inverted(graph, part.estimator, x)
    return x


def _function(graph: Graph, transformer: FunctionTransformer, x: Tensor) -> Tensor:
    back = FunctionTransformer(transformer.inverse_func, kw_args=transformer.inv_kw_args)
    if functions.jumps(back):
        raise NoGraph(
            "its inverse_func jumps: the last digit of a prediction may move the answer by a whole step",
            "leave inverse_func out; a client may round the answer",
        )
    columns = functions.CONVERTERS[FunctionTransformer](graph, back, x.columns())
    dtype = number_type(columns)
    return Tensor(graph.matrix(columns, dtype), dtype, x.width)


def _calculated(graph: Graph, x: Tensor, steps: Mapping[str, Array | None]) -> Tensor:
    """The tensor after these operations, each with a constant; None leaves one out."""
    name = x.name
    for op, constant in steps.items():
        if constant is not None:
            name = in_place(graph, op, name, x.dtype, np.asarray(constant))
    return replace(x, name=name)


def _standard(graph: Graph, scaler: StandardScaler, x: Tensor) -> Tensor:
    dtype = x.dtype if STANDARD_ROUNDS else "float64"
    scale = scaler.scale_.astype(dtype) if scaler.with_std else None
    mean = scaler.mean_.astype(dtype) if scaler.with_mean else None
    return _calculated(graph, x, {"Mul": scale, "Add": mean})


def _robust(graph: Graph, scaler: RobustScaler, x: Tensor) -> Tensor:
    scale = scaler.scale_ if scaler.with_scaling else None
    return _calculated(graph, x, {"Mul": scale, "Add": scaler.center_ if scaler.with_centering else None})


def _min_max(graph: Graph, scaler: MinMaxScaler, x: Tensor) -> Tensor:
    return _calculated(graph, x, {"Sub": scaler.min_, "Div": scaler.scale_})


def _max_abs(graph: Graph, scaler: MaxAbsScaler, x: Tensor) -> Tensor:
    return _calculated(graph, x, {"Mul": scaler.scale_})


def _power(graph: Graph, transformer: PowerTransformer, x: Tensor) -> Tensor:
    if transformer.standardize:
        x = _standard(graph, transformer._scaler, x)
    curve = _yeo_johnson if transformer.method == "yeo-johnson" else _box_cox
    return _by_target(graph, x, [partial(curve, graph, power=float(p)) for p in transformer.lambdas_])


def _by_target(graph: Graph, x: Tensor, curves_of: Sequence[Callable[[str], str]]) -> Tensor:
    """Each column of x after a function of its own, in double precision, and then in that of x."""
    columns = zip(curves_of, x.columns(), strict=True)
    changed = [curve(graph.matrix((column,))) for curve, column in columns]
    joined = changed[0] if len(changed) == 1 else graph.add("Concat", *changed, axis=1)
    return replace(x, name=joined if x.dtype == "float64" else graph.cast(joined, x.dtype))


def _yeo_johnson(graph: Graph, x: str, power: float) -> str:
    above = _raised(graph, x, power)
    below = graph.add("Neg", _raised(graph, graph.add("Neg", x), 2.0 - power))
    return graph.add("Where", graph.add("Less", x, scalar(graph, 0.0)), below, above)


def _raised(graph: Graph, x: str, power: float) -> str:
    """(power * x + 1) to the power of 1 / power, less 1; exp(x) - 1 where the power is 0."""
    unit = scalar(graph, 1.0)
    if abs(power) < _NO_POWER:
        return graph.add("Sub", graph.add("Exp", x), unit)
    base = graph.add("Add", graph.add("Mul", x, scalar(graph, power)), unit)
    return graph.add("Sub", graph.add("Pow", base, scalar(graph, 1.0 / power)), unit)


def _box_cox(graph: Graph, x: str, power: float) -> str:
    if power == 0.0:
        return graph.add("Exp", x)
    log = curves.log1p(graph, graph.add("Mul", x, scalar(graph, power)))
    return graph.add("Exp", graph.add("Div", log, scalar(graph, power)))


def _quantiles(graph: Graph, transformer: QuantileTransformer, x: Tensor) -> Tensor:
    is_normal = transformer.output_distribution == "normal"
    write = partial(_quantile, graph, transformer.references_, is_normal)
    return _by_target(graph, x, [partial(write, values) for values in transformer.quantiles_.T])


def _quantile(graph: Graph, references: Array, is_normal: bool, values: Array, x: str) -> str:
    p = _probability(graph, x) if is_normal else x
    return _placed(graph, p, references, values, is_normal)


def _placed(graph: Graph, p: str, references: Array, values: Array, is_normal: bool) -> str:
    """The quantile of each probability, on the line between those that are known."""
    inner = graph.add("Clip", p, scalar(graph, 0.0), scalar(graph, 1.0))
    if len(values) == 1:
        return graph.add("Add", graph.add("Mul", inner, scalar(graph, 0.0)), graph.constant(values))
    between = curves.between(graph, inner, references, values.astype(np.float64))
    return _ends(graph, p, between, values) if is_normal else between


def _probability(graph: Graph, x: str) -> str:
    """The share of a normal distribution below x."""
    wide = graph.add("Mul", x, scalar(graph, math.sqrt(0.5)))
    raised = graph.add("Add", curves.erf(graph, wide), scalar(graph, 1.0))
    return graph.add("Mul", raised, scalar(graph, 0.5))


def _ends(graph: Graph, p: str, between: str, values: Array) -> str:
    """The lowest and the highest value for probabilities about 0 and about 1."""
    low, high = (scalar(graph, float(values[end])) for end in (0, -1))
    at_low = graph.add("Less", graph.add("Sub", p, scalar(graph, _NEAR)), scalar(graph, 0.0))
    at_high = graph.add("Greater", graph.add("Add", p, scalar(graph, _NEAR)), scalar(graph, 1.0))
    return graph.add("Where", at_low, low, graph.add("Where", at_high, high, between))


_INVERSES: dict[type, Inverse] = {
    FunctionTransformer: _function,
    MaxAbsScaler: _max_abs,
    MinMaxScaler: _min_max,
    Pipeline: _pipeline,
    PowerTransformer: _power,
    QuantileTransformer: _quantiles,
    RobustScaler: _robust,
    StandardScaler: _standard,
}
