"""The converter for QuantileTransformer: the place of each number among the quantiles, found by a tree."""

from typing import Any

import numpy as np
from sklearn.preprocessing import QuantileTransformer

from unpickled.export.converters import curves
from unpickled.export.converters.ensemble import reached
from unpickled.export.converters.numbers import Converter, clipped, number_type, rounded, scalar
from unpickled.export.errors import NoGraph
from unpickled.export.graph import Array, Columns, Dtype, Graph
from unpickled.export.trees import Tree

# Numbers this near to an end are taken as the end, if the distribution is normal.
_NEAR = 1e-7


def _quantiles(graph: Graph, transformer: QuantileTransformer, columns: Columns) -> Columns:
    """NumPy's interpolation from below and from above, whose mean scikit-learn takes."""
    dtype, quantiles = number_type(columns), np.asarray(transformer.quantiles_, np.float64)
    if np.isnan(quantiles).any():
        raise NoGraph("a column had no value in training", "leave that column out")
    is_normal = transformer.output_distribution == "normal"
    x = graph.matrix(columns)
    placed = _placed(graph, x, list(quantiles.T), transformer.references_, is_normal)
    placed = graph.add("Where", graph.add("IsNaN", x), x, placed)
    if is_normal:
        ends = _near_ends(graph, graph.matrix(columns, dtype), dtype, quantiles)
        placed = _normal(graph, graph.matrix(rounded(graph, placed, columns)), *ends)
    return rounded(graph, placed, columns)


def _placed(graph: Graph, x: str, quantiles: list[Array], references: Array, is_normal: bool) -> str:
    """The share of the quantiles below each number."""
    knots = [np.unique(column) for column in quantiles]
    ranks = reached(graph, x, [_search(values, i) for i, values in enumerate(knots)])
    starts = np.cumsum([0, *(len(values) + 1 for values in knots[:-1])], dtype=np.int64)
    place = graph.add("Add", ranks, graph.constant(starts))
    lines = np.concatenate([_lines(column, references, is_normal) for column in quantiles], axis=1)
    knot, value, *line = (
        graph.add("Gather", graph.constant(np.ascontiguousarray(entries)), place) for entries in lines
    )
    first, last = (graph.constant(np.array([values[end] for values in knots])) for end in (0, -1))
    between = _mean(graph, graph.add("Max", graph.add("Min", x, last), first), *line)
    return graph.add("Where", graph.add("Equal", x, knot), value, between)


def _near_ends(graph: Graph, x: str, dtype: Dtype, quantiles: Array) -> tuple[str, str]:
    """bool: which numbers are about the lowest quantile or below it, and about the highest or above it."""
    threshold = scalar(graph, _NEAR, dtype)
    lower, upper = (graph.cast(graph.add(op, x, threshold), "float64") for op in ("Sub", "Add"))
    low, high = (graph.constant(np.ascontiguousarray(quantiles[end])) for end in (0, -1))
    return graph.add("Less", lower, low), graph.add("Greater", upper, high)


def _normal(graph: Graph, p: str, at_low: str, at_high: str) -> str:
    least = _NEAR - np.spacing(1)
    low, high = scalar(graph, least), scalar(graph, 1.0 - least)
    p = graph.add("Where", at_low, low, graph.add("Where", at_high, high, p))
    return curves.normal(graph, clipped(graph, p, low, high))


def _mean(graph: Graph, x: str, start: str, low: str, end: str, high: str, slope: str) -> str:
    """Half the sum of the lines from the lower and from the upper end of a segment."""
    above = graph.add("Add", graph.add("Mul", slope, graph.add("Sub", x, start)), low)
    below = graph.add("Sub", graph.add("Mul", slope, graph.add("Sub", end, x)), high)
    return graph.add("Mul", graph.add("Sub", above, below), scalar(graph, 0.5))


def _lines(quantiles: Array, references: Array, is_normal: bool) -> Array:
    """(7, knots + 1): for the numbers that are above so many knots, the next knot and the line up to it.

    The rows are the knot, the value at the knot, and the line's start, value there, end, value there, slope.
    A knot may be several quantiles: the lines beside it begin at the last and end at the first of them.
    """
    knots, firsts, counts = np.unique(quantiles, return_index=True, return_counts=True)
    lows, highs = references[firsts], references[firsts + counts - 1]
    values = 0.5 * (highs + lows)
    if not is_normal:
        values[-1], values[0] = 1.0, 0.0  # in this order, for a single knot
    slopes = (lows[1:] - highs[:-1]) / np.diff(knots)
    bottom, top = references[0], references[-1]
    # Beyond the quantiles the lines are level.
    starts = [np.insert(knots, 0, knots[0]), np.concatenate([[bottom], highs[:-1], [top]])]
    ends = [np.append(knots, knots[-1]), np.concatenate([[bottom], lows[1:], [top]])]
    level = np.concatenate([[0.0], slopes, [0.0]])
    return np.stack([np.append(knots, knots[-1]), np.append(values, 1.0), *starts, *ends, level])


def _search(knots: Array, feature: int) -> Tree:
    """A balanced tree whose leaf number k, from the left, is for the numbers above k of the knots."""
    left: list[int] = []
    right: list[int] = []
    threshold: list[float] = []

    def grow(low: int, high: int) -> int:
        node, middle = len(left), (low + high) // 2
        left.append(-1)
        right.append(-1)
        threshold.append(float(knots[middle]) if low < high else 0.0)
        if low < high:
            left[node], right[node] = grow(low, middle), grow(middle + 1, high)
        return node

    grow(0, len(knots))
    count = len(left)
    return Tree(
        np.array(left),
        np.array(right),
        np.full(count, feature),
        np.array(threshold),
        np.zeros(count, bool),
        np.zeros((count, 1)),
    )


def rounds(transformer: Any) -> bool:
    """Whether it may differ in the last digit: the normal distribution has curves of its own here."""
    return isinstance(transformer, QuantileTransformer) and transformer.output_distribution == "normal"


CONVERTERS: dict[type, Converter] = {QuantileTransformer: _quantiles}
