"""The converter for FunctionTransformer with a function of NumPy's."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from sklearn.preprocessing import FunctionTransformer

from unpickled.export.converters import curves
from unpickled.export.converters.numbers import Converter, clipped, number_type, promoted, rounded, scalar
from unpickled.export.errors import NoGraph
from unpickled.export.graph import Column, Columns, Dtype, Graph, Tensor

# (graph, name of a tensor) -> the name of the tensor of the function's values.
Curve = Callable[[Graph, str], str]

# ONNX Runtime and NumPy agree on these to the last bit, in float32 and in float64.
_EXACT: dict[Any, str] = {
    np.absolute: "Abs",
    np.fabs: "Abs",
    abs: "Abs",
    np.negative: "Neg",
    np.positive: "Identity",
    np.sign: "Sign",
    np.sqrt: "Sqrt",
    np.reciprocal: "Reciprocal",
    np.floor: "Floor",
    np.ceil: "Ceil",
    np.rint: "Round",
    np.round: "Round",
    np.around: "Round",
}
# On these they agree but for the last digits.
_ROUNDING: dict[Any, Curve] = {
    np.exp: lambda graph, x: graph.add("Exp", x),
    np.expm1: curves.expm1,
    np.log: lambda graph, x: graph.add("Log", x),
    np.log1p: curves.log1p,
    np.log2: lambda graph, x: graph.add("Div", graph.add("Log", x), scalar(graph, math.log(2.0))),
    np.log10: lambda graph, x: graph.add("Div", graph.add("Log", x), scalar(graph, math.log(10.0))),
    np.cbrt: curves.cbrt,
    np.sin: lambda graph, x: graph.add("Sin", x),
    np.cos: lambda graph, x: graph.add("Cos", x),
    np.tan: curves.tan,
    np.sinh: curves.sinh,
    np.cosh: curves.cosh,
    np.tanh: lambda graph, x: graph.add("Tanh", x),
    np.arcsinh: curves.arcsinh,
    np.arccosh: curves.arccosh,
    np.arctanh: curves.arctanh,
}
# Functions that jump: a last digit in front of them may change what comes out by a whole step.
_STEPS = (np.sign, np.floor, np.ceil, np.rint, np.round, np.around, np.trunc)

_WITHOUT = "leave them out, or apply it before the pipeline"
_ADVICE = (
    "use one of NumPy's, such as np.log1p, np.sqrt or np.clip, or another scikit-learn transformer, "
    "or apply it before the pipeline"
)


def _function(graph: Graph, transformer: FunctionTransformer, columns: Columns) -> Columns:
    function, arguments = _called(transformer)
    if function is None:
        return columns
    number_type(columns)
    if transformer.validate:
        columns = promoted(graph, columns)
    values: dict[int, Column] = {}
    # NumPy computes with the columns of a table one by one, each in its own precision.
    for dtype in {column.dtype for column in columns}:
        positions = [i for i, column in enumerate(columns) if column.dtype == dtype]
        block = _values(graph, function, arguments, tuple(columns[i] for i in positions))
        values.update(zip(positions, block, strict=True))
    return tuple(values[i] for i in range(len(columns)))


def _values(graph: Graph, function: Any, arguments: Mapping[str, Any], columns: Columns) -> Columns:
    if function is np.clip:
        return _clip(graph, columns, arguments)
    if arguments:
        raise NoGraph(f"no graph is known of {_name(function)} with {_listed(arguments)}", _WITHOUT)
    if function in _ROUNDING:
        # ONNX Runtime's functions of float32 are worse than NumPy's.
        return rounded(graph, _ROUNDING[function](graph, graph.matrix(columns)), columns)
    dtype = number_type(columns)
    x = graph.matrix(columns, dtype)
    return Tensor(_exact(graph, function, x), dtype, len(columns)).columns()


def _exact(graph: Graph, function: Any, x: str) -> str:
    if function is np.square:
        return graph.add("Mul", x, x)
    if function is np.trunc:
        return graph.add("Mul", graph.add("Sign", x), graph.add("Floor", graph.add("Abs", x)))
    if function not in _EXACT:
        raise NoGraph(f"it calls {_name(function)}, which has no graph", _ADVICE)
    return graph.add(_EXACT[function], x)


def _called(transformer: FunctionTransformer) -> tuple[Any, dict[str, Any]]:
    """The function and its named arguments, without those of a partial function."""
    function, arguments = transformer.func, dict(transformer.kw_args or {})
    while isinstance(function, partial):
        if function.args:
            raise NoGraph(f"it calls {_name(function.func)} with arguments before the rows", _ADVICE)
        arguments = {**function.keywords, **arguments}
        function = function.func
    return function, arguments


def _clip(graph: Graph, columns: Columns, arguments: Mapping[str, Any]) -> Columns:
    low, high = (_bound(arguments, name) for name in ("min", "max"))
    if set(arguments) - {"min", "max", "a_min", "a_max"}:
        raise NoGraph(f"no graph is known of np.clip with {_listed(arguments)}", "give a_min and a_max only")
    if low is not None and high is not None and low > high:
        raise NoGraph(f"it clips to at least {low} and at most {high}", "give the lower bound first")
    dtype: Dtype = number_type(columns)
    if any(isinstance(bound, np.float64) for bound in (low, high)):
        # NumPy rounds a plain number to the precision of the columns, but not one that has a precision.
        dtype = "float64"
    bounds = (-math.inf if low is None else low, math.inf if high is None else high)
    x = clipped(
        graph, graph.matrix(columns, dtype), *(scalar(graph, float(bound), dtype) for bound in bounds)
    )
    return Tensor(x, dtype, len(columns)).columns()


def _bound(arguments: Mapping[str, Any], name: str) -> Any:
    bound = arguments.get(f"a_{name}", arguments.get(name))
    if bound is not None and (np.ndim(bound) or np.isnan(bound)):
        raise NoGraph(f"a_{name}= of np.clip is no single number", "give one number for all columns")
    return bound


def _name(function: Any) -> str:
    """The name of a function of NumPy's, as users write it; of another one, what it is."""
    name = getattr(function, "__name__", type(function).__name__)
    if isinstance(function, np.ufunc) or getattr(np, name, None) is function:
        return f"np.{name}"
    return f"the Python function {name}" if name != "<lambda>" else "a lambda"


def _listed(arguments: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}=" for name in arguments)


def rounds(transformer: Any) -> bool:
    """Whether it applies a function whose last digit depends on the library that computes it."""
    return _applies(transformer, _ROUNDING)


def jumps(transformer: Any) -> bool:
    """Whether it applies a function that jumps."""
    return _applies(transformer, _STEPS)


def _applies(transformer: Any, functions: Any) -> bool:
    if not isinstance(transformer, FunctionTransformer):
        return False
    function = transformer.func
    while isinstance(function, partial):
        function = function.func
    return function in functions


CONVERTERS: dict[type, Converter] = {FunctionTransformer: _function}
