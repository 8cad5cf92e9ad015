"""Functions of one number that no operator computes in double precision, written in those that do.

Each is as exact as NumPy's, but for the last digit or two, near 0 and far from it. ONNX Runtime computes
exp, log, sin, cos and tanh of float64; the others are made of these.
"""

import math
from collections.abc import Callable

import numpy as np
from scipy import special

from unpickled.export.converters.numbers import scalar
from unpickled.export.graph import Array, Graph

# A table has a polynomial of this degree for each of these many pieces per unit.
_DEGREE, _PIECES = 10, 8
# The square roots of -2 log(p), for which a table has the normal quantile of p, end here: at 1.5e-8.
_NORMAL_END = 6
# The error function is 1 from here on.
_ERROR_END = 6


def _beyond(graph: Graph, x: str, limit: float) -> str:
    """bool: whether |x| is above the limit."""
    return graph.add("Greater", graph.add("Abs", x), scalar(graph, limit))


def log1p(graph: Graph, x: str) -> str:
    """log(1 + x): the rounding error of 1 + x is divided out again, as x / ((1 + x) - 1) shows it."""
    unit = scalar(graph, 1.0)
    raised = graph.add("Add", x, unit)
    log = graph.add("Log", raised)
    ratio = graph.add("Div", x, graph.add("Sub", raised, unit))
    near = graph.add("Where", graph.add("Equal", raised, unit), x, graph.add("Mul", log, ratio))
    return graph.add("Where", _beyond(graph, x, 1.0), log, near)


def expm1(graph: Graph, x: str) -> str:
    """exp(x) - 1: the rounding error of exp(x) is divided out again, as x / log(exp(x)) shows it."""
    unit = scalar(graph, 1.0)
    power = graph.add("Exp", x)
    less = graph.add("Sub", power, unit)
    ratio = graph.add("Div", x, graph.add("Log", power))
    near = graph.add("Where", graph.add("Equal", power, unit), x, graph.add("Mul", less, ratio))
    return graph.add("Where", _beyond(graph, x, 1.0), less, near)


def cbrt(graph: Graph, x: str) -> str:
    """The cube root, of negative numbers too: a power, whose last digits a step of Newton's mends."""
    size = graph.add("Abs", x)
    root = graph.add("Pow", size, scalar(graph, 1.0 / 3.0))
    square = graph.add("Mul", root, root)
    error = graph.add("Sub", graph.add("Mul", square, root), size)
    step = graph.add("Div", error, graph.add("Mul", square, scalar(graph, 3.0)))
    mended = graph.add("Mul", graph.add("Sign", x), graph.add("Sub", root, step))
    ends = graph.add("Or", graph.add("IsInf", x), graph.add("Equal", x, scalar(graph, 0.0)))
    return graph.add("Where", ends, x, mended)


def tan(graph: Graph, x: str) -> str:
    return graph.add("Div", graph.add("Sin", x), graph.add("Cos", x))


def sinh(graph: Graph, x: str) -> str:
    """Near 0 by expm1; further out by halves of the exponent, which overflow no earlier than the result."""
    size = graph.add("Abs", x)
    less = expm1(graph, size)
    share = graph.add("Div", less, graph.add("Add", less, scalar(graph, 1.0)))
    near = graph.add("Mul", graph.add("Add", less, share), scalar(graph, 0.5))
    far = _half_exp(graph, size)
    value = graph.add("Where", _beyond(graph, x, 22.0), far, near)
    return graph.add("Mul", graph.add("Sign", x), value)


def cosh(graph: Graph, x: str) -> str:
    size = graph.add("Abs", x)
    small = graph.add("Mul", graph.add("Exp", graph.add("Neg", size)), scalar(graph, 0.5))
    return graph.add("Add", _half_exp(graph, size), small)


def _half_exp(graph: Graph, x: str) -> str:
    half = graph.add("Exp", graph.add("Mul", x, scalar(graph, 0.5)))
    return graph.add("Mul", graph.add("Mul", half, scalar(graph, 0.5)), half)


def arcsinh(graph: Graph, x: str) -> str:
    unit, size = scalar(graph, 1.0), graph.add("Abs", x)
    square = graph.add("Mul", x, x)
    root = graph.add("Sqrt", graph.add("Add", square, unit))
    near = log1p(graph, graph.add("Add", size, graph.add("Div", square, graph.add("Add", root, unit))))
    value = graph.add("Where", _beyond(graph, x, 1e8), _log_of_double(graph, size), near)
    return graph.add("Mul", graph.add("Sign", x), value)


def arccosh(graph: Graph, x: str) -> str:
    less = graph.add("Sub", x, scalar(graph, 1.0))
    product = graph.add("Mul", less, graph.add("Add", less, scalar(graph, 2.0)))
    near = log1p(graph, graph.add("Add", less, graph.add("Sqrt", product)))
    far = graph.add("Greater", x, scalar(graph, 1e8))
    return graph.add("Where", far, _log_of_double(graph, x), near)


def arctanh(graph: Graph, x: str) -> str:
    size = graph.add("Abs", x)
    rest = graph.add("Sub", scalar(graph, 1.0), size)
    ratio = graph.add("Div", graph.add("Mul", size, scalar(graph, 2.0)), rest)
    value = graph.add("Mul", log1p(graph, ratio), scalar(graph, 0.5))
    return graph.add("Mul", graph.add("Sign", x), value)


def _log_of_double(graph: Graph, x: str) -> str:
    return graph.add("Add", graph.add("Log", x), scalar(graph, math.log(2.0)))


def normal(graph: Graph, p: str) -> str:
    """The quantile of the normal distribution, for a probability that is neither 0 nor 1."""
    rest = graph.add("Min", p, graph.add("Sub", scalar(graph, 1.0), p))
    root = graph.add("Sqrt", graph.add("Mul", graph.add("Log", rest), scalar(graph, -2.0)))
    size = pieced(graph, root, pieces(lambda root: -special.ndtri(np.exp(-0.5 * root**2)), _NORMAL_END))
    return graph.add("Where", graph.add("Less", p, scalar(graph, 0.5)), graph.add("Neg", size), size)


def erf(graph: Graph, x: str) -> str:
    """The error function in float64, which ONNX Runtime has in float32 only.

    It is x times a polynomial out of a table, so that it is as exact near 0.
    """
    length = graph.add("Min", graph.add("Abs", x), scalar(graph, float(_ERROR_END)))
    slope = pieced(graph, length, pieces(lambda x: special.erf(x) / x, _ERROR_END))
    return graph.add("Mul", graph.add("Mul", graph.add("Sign", x), length), slope)


def between(graph: Graph, x: str, knots: Array, values: Array) -> str:
    """The line between the two knots around each number of x (rows, 1), which lies within the knots."""
    passed = graph.cast(graph.add("Greater", x, graph.constant(knots[1:-1])), "int64")
    piece = graph.add("ReduceSum", passed, graph.constant(np.array([1], np.int64)), keepdims=1)
    start, level, slope = (
        graph.add("Gather", graph.constant(values_of_pieces), piece)
        for values_of_pieces in (knots[:-1], values[:-1], np.diff(values) / np.diff(knots))
    )
    return graph.add("Add", graph.add("Mul", slope, graph.add("Sub", x, start)), level)


def pieced(graph: Graph, x: str, table: Array) -> str:
    """The polynomials of ``pieces`` at the numbers of x, from 0 on."""
    zero, unit = scalar(graph, 0.0), scalar(graph, 1.0)
    places = graph.add("Mul", x, scalar(graph, float(_PIECES)))
    known = graph.add("Where", graph.add("IsNaN", places), zero, places)
    piece = graph.add("Min", graph.add("Floor", known), scalar(graph, len(table) - 1.0))
    rest = graph.add("Sub", places, piece)
    centered = graph.add("Sub", graph.add("Add", rest, rest), unit)
    last = graph.constant(np.array([-1], np.int64))
    powers = graph.add(
        "Pow", graph.add("Unsqueeze", centered, last), graph.constant(np.arange(_DEGREE + 1.0))
    )
    chosen = graph.add("Gather", graph.constant(table), graph.cast(piece, "int64"))
    return graph.add("ReduceSum", graph.add("Mul", powers, chosen), last, keepdims=0)


def pieces(function: Callable[[Array], Array], end: int) -> Array:
    """(pieces, degree + 1): a function's polynomials on the pieces from 0 to ``end``, each on [-1, 1]."""
    chebyshev = np.polynomial.chebyshev
    # Nodes that are closest together at the ends of [-1, 1]; none of them is 0.
    nodes = np.cos(np.pi * (np.arange(_DEGREE + 1) + 0.5) / (_DEGREE + 1))
    x = (np.arange(_PIECES * end)[:, None] + (nodes + 1) / 2) / _PIECES
    table = np.zeros((len(x), _DEGREE + 1))
    for line, y in zip(table, function(x), strict=True):
        # NumPy leaves out the highest powers where their coefficients are 0.
        polynomial = chebyshev.cheb2poly(chebyshev.chebfit(nodes, y, _DEGREE))
        line[: len(polynomial)] = polynomial
    return table
