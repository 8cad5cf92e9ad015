"""Converters for products and powers of columns, and for splines, which are polynomials in pieces."""

import math
from typing import Any

import numpy as np
from scipy.interpolate import BSpline
from sklearn.preprocessing import PolynomialFeatures, SplineTransformer

from unpickled.export.converters.numbers import Converter, number_type, rounded, scalar
from unpickled.export.errors import NoGraph
from unpickled.export.graph import Array, Columns, Graph, Tensor

# The power of each input column in a product.
Powers = tuple[int, ...]


def _products(graph: Graph, features: PolynomialFeatures, columns: Columns) -> Columns:
    """Each product as scikit-learn multiplies it: the first column by the product of the others."""
    dtype = number_type(columns)
    x = graph.matrix(columns, dtype)
    outputs = [tuple(int(power) for power in powers) for powers in features.powers_]
    levels = _levels(outputs)
    tensors = {1: Tensor(x, dtype, len(columns))}
    places = {tuple(int(i == j) for j in range(len(columns))): (1, i) for i in range(len(columns))}
    for degree in range(2, max(levels, default=0) + 1):
        firsts = [_first(powers) for powers in levels[degree]]
        others = [places[_without(powers, i)][1] for powers, i in zip(levels[degree], firsts, strict=True)]
        product = graph.add(
            "Mul", _picked(graph, x, firsts), _picked(graph, tensors[degree - 1].name, others)
        )
        tensors[degree] = Tensor(product, dtype, len(firsts))
        places.update((powers, (degree, place)) for place, powers in enumerate(levels[degree]))
    if (0,) * len(columns) in outputs:
        first = _picked(graph, x, [0])
        tensors[0] = Tensor(graph.cast(graph.add("Equal", first, first), dtype), dtype, 1)
        places[(0,) * len(columns)] = (0, 0)
    located = [places[powers] for powers in outputs]
    return tuple(tensors[degree].columns()[place] for degree, place in located)


def _levels(outputs: list[Powers]) -> dict[int, list[Powers]]:
    """Degree -> the products of that degree that are wanted, or that those of a higher degree are made of."""
    levels: dict[int, list[Powers]] = {}
    for degree in range(max(map(sum, outputs), default=0), 1, -1):
        wanted = [powers for powers in outputs if sum(powers) == degree]
        parts = [_without(powers, _first(powers)) for powers in levels.get(degree + 1, ())]
        levels[degree] = list(dict.fromkeys(wanted + parts))
    return levels


def _first(powers: Powers) -> int:
    return next(i for i, power in enumerate(powers) if power)


def _without(powers: Powers, i: int) -> Powers:
    return (*powers[:i], powers[i] - 1, *powers[i + 1 :])


def _picked(graph: Graph, x: str, places: list[int]) -> str:
    return graph.add("Gather", x, graph.constant(np.array(places, np.int64)), axis=1)


def _splines(graph: Graph, transformer: SplineTransformer, columns: Columns) -> Columns:
    if transformer.extrapolation == "linear" and transformer.degree < 2:
        raise NoGraph(
            "extrapolation='linear' with a degree below 2 takes other ends for each column after the first",
            "use degree=2 or more, or extrapolation='constant'",
        )
    x = graph.matrix(columns)
    outputs: Columns = ()
    for i, spline in enumerate(transformer.bsplines_):
        number = _picked(graph, x, [i])
        name = _missing_as_zeros(graph, number, _spline(graph, number, spline, transformer.extrapolation))
        width = spline.c.shape[1]
        basis = rounded(graph, name, columns, width)
        outputs += basis if transformer.include_bias else basis[:-1]
    return outputs


def _missing_as_zeros(graph: Graph, number: str, basis: str) -> str:
    return graph.add("Where", graph.add("IsNaN", number), scalar(graph, 0.0), basis)


def _spline(graph: Graph, number: str, spline: BSpline, extrapolation: str) -> str:
    """(rows, splines): the polynomials of the piece that the number lies in, by Horner's scheme."""
    starts, pieces = _pieces(spline, extrapolation)
    if extrapolation == "periodic":
        number = _wrapped(graph, number, starts[0], float(spline.t[-spline.k - 1]))
    place = _place(graph, number, spline, starts, extrapolation)
    away = graph.add("Sub", number, graph.add("Gather", graph.constant(starts), place))
    value = ""
    for coefficients in pieces:
        row = graph.add("Squeeze", graph.add("Gather", graph.constant(coefficients), place), _axis(graph))
        value = graph.add("Add", graph.add("Mul", value, away), row) if value else row
    return value


def _axis(graph: Graph) -> str:
    return graph.constant(np.array([1], np.int64))


def _pieces(spline: BSpline, extrapolation: str) -> tuple[Array, Array]:
    """Where each piece starts, and its coefficients (powers, pieces, splines), the highest power first.

    The first and the last piece are those beyond the knots, unless the pieces beside them go on there.
    """
    starts = np.asarray(spline.t[spline.k : -spline.k - 1], np.float64)
    powers = range(spline.k, -1, -1)
    pieces = np.stack([spline(starts, nu=power) / math.factorial(power) for power in powers])
    if extrapolation not in ("constant", "linear"):
        return starts, pieces
    ends = spline.t[spline.k], spline.t[-spline.k - 1]
    first, last = (_beyond(spline, end, extrapolation, max(len(pieces), 2)) for end in ends)
    if len(pieces) < 2:
        pieces = np.concatenate([np.zeros((2 - len(pieces), *pieces.shape[1:])), pieces])
    return np.array([ends[0], *starts, ends[1]]), np.concatenate([first, pieces, last], axis=1)


def _beyond(spline: BSpline, end: float, extrapolation: str, powers: int) -> Array:
    """(powers, 1, splines): the value at an end and, if linear, the slope there; steps end with the knots."""
    coefficients = np.zeros((powers, 1, spline.c.shape[1]))
    if extrapolation == "linear" or spline.k:
        coefficients[-1, 0] = spline(end)
    if extrapolation == "linear":
        coefficients[-2, 0] = spline(end, nu=1)
    return coefficients


def _place(graph: Graph, number: str, spline: BSpline, starts: Array, extrapolation: str) -> str:
    """int64 (rows, 1): the piece that the number lies in; the last knot belongs to the piece before it."""
    beyond = extrapolation in ("constant", "linear")
    reached = starts[1:-1] if beyond else starts[1:]
    counts = (
        [graph.add("GreaterOrEqual", number, graph.constant(np.asarray(reached)))] if len(reached) else []
    )
    if beyond:
        counts.append(graph.add("Greater", number, graph.constant(starts[-1:])))
    passed = [graph.cast(count, "int64") for count in counts]
    if not passed:
        return graph.cast(graph.add("Less", number, number), "int64")
    joined = passed[0] if len(passed) == 1 else graph.add("Concat", *passed, axis=1)
    return graph.add("ReduceSum", joined, _axis(graph), keepdims=1)


def _wrapped(graph: Graph, number: str, first: float, last: float) -> str:
    """The number within the period, by NumPy's remainder."""
    period = scalar(graph, last - first)
    remainder = graph.add("Mod", graph.add("Sub", number, scalar(graph, first)), period, fmod=1)
    negative = graph.add("Less", remainder, scalar(graph, 0.0))
    positive = graph.add("Where", negative, graph.add("Add", remainder, period), remainder)
    return graph.add("Add", positive, scalar(graph, first))


def jumps(transformer: Any) -> bool:
    """Whether its values jump: splines of degree 0 are steps."""
    return isinstance(transformer, SplineTransformer) and transformer.degree == 0


ROUNDING = (SplineTransformer,)
CONVERTERS: dict[type, Converter] = {PolynomialFeatures: _products, SplineTransformer: _splines}
