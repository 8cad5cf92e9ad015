"""The converter for KBinsDiscretizer: comparisons with the edges of its bins."""

from typing import Any

import numpy as np
from sklearn.preprocessing import KBinsDiscretizer

from unpickled.export.converters.numbers import Converter, number_type
from unpickled.export.graph import Array, Columns, Dtype, Graph, Tensor


def _binned(graph: Graph, binner: KBinsDiscretizer, columns: Columns) -> Columns:
    dtype = _precision(binner, columns)
    # The inner edges; scikit-learn compares in float64, whatever the precision of the columns.
    edges = [np.asarray(ends, np.float64)[1:-1] for ends in binner.bin_edges_]
    if binner.encode == "ordinal":
        weights = np.zeros((sum(map(len, edges)), len(edges)))
        weights[np.arange(len(weights)), np.repeat(np.arange(len(edges)), list(map(len, edges)))] = 1.0
        offsets = np.zeros(len(edges))
    else:
        weights, offsets = _one_hot(edges)
    x = graph.matrix(columns, dtype)
    passed = _passed(graph, x if dtype == "float64" else graph.cast(x, "float64"), edges)
    binned = graph.add("Gemm", passed, graph.constant(weights), graph.constant(offsets))
    name = binned if dtype == "float64" else graph.cast(binned, dtype)
    return Tensor(name, dtype, weights.shape[1]).columns()


def _precision(binner: KBinsDiscretizer, columns: Columns) -> Dtype:
    dtype = number_type(columns)
    if binner.dtype is None:
        return dtype
    return "float32" if np.dtype(binner.dtype) == np.float32 else "float64"


def _passed(graph: Graph, x: str, edges: list[Array]) -> str:
    """float64 (rows, edges): 1 where the number has reached the edge."""
    owner = np.repeat(np.arange(len(edges)), list(map(len, edges))).astype(np.int64)
    numbers = graph.add("Gather", x, graph.constant(owner), axis=1)
    reached = graph.add("GreaterOrEqual", numbers, graph.constant(np.concatenate(edges)))
    return graph.cast(reached, "float64")


def _one_hot(edges: list[Array]) -> tuple[Array, Array]:
    """Weights and offsets that make 1 of the bin whose lower edge is reached and whose upper is not."""
    bins = [len(inner) + 1 for inner in edges]
    weights, offsets = np.zeros((sum(map(len, edges)), sum(bins))), np.zeros(sum(bins))
    edge, first = 0, 0
    for count in bins:
        offsets[first] = 1.0
        for place in range(count - 1):
            weights[edge, first + place] = -1.0
            weights[edge, first + place + 1] = 1.0
            edge += 1
        first += count
    return weights, offsets


def jumps(transformer: Any) -> bool:
    """Whether it is one whose answer jumps at an edge."""
    return isinstance(transformer, KBinsDiscretizer)


CONVERTERS: dict[type, Converter] = {KBinsDiscretizer: _binned}
