"""Squared distances between the rows and fixed points, and converters for clusters that give them."""

import numpy as np
from sklearn.cluster import Birch, BisectingKMeans, KMeans, MiniBatchKMeans

from unpickled.export.converters.numbers import Converter, rounded, scalar, total
from unpickled.export.graph import Array, Columns, Graph

# Up to this many coordinates of points, distances are sums of squared differences, which cancel nothing.
_DIRECT = 5_000


def squared(graph: Graph, x: str, points: Array) -> str:
    """float64 (rows, points): the squared euclidean distances."""
    if points.size <= _DIRECT:
        away = differences(graph, x, points)
        return total(graph, graph.add("Mul", away, away), axis=2, keepdims=0)
    # Moving the center to 0 makes cancellation lose fewer digits.
    center = points.mean(axis=0)
    points, x = points - center, graph.add("Sub", x, graph.constant(center))
    lengths = total(graph, graph.add("Mul", x, x), axis=1)
    cross = graph.add("Gemm", x, graph.constant(-2.0 * points.T), graph.constant((points**2).sum(axis=1)))
    return graph.add("Max", graph.add("Add", cross, lengths), scalar(graph, 0.0))


def differences(graph: Graph, x: str, points: Array) -> str:
    """float64 (rows, points, columns): each row minus each point."""
    rows = graph.add("Unsqueeze", x, graph.constant(np.array([1], np.int64)))
    return graph.add("Sub", rows, graph.constant(np.ascontiguousarray(points)))


def _to_centers(
    graph: Graph, clusters: KMeans | MiniBatchKMeans | BisectingKMeans | Birch, columns: Columns
) -> Columns:
    """The distance to each center."""
    centers = clusters.subcluster_centers_ if isinstance(clusters, Birch) else clusters.cluster_centers_
    points = np.asarray(centers, np.float64)
    distances = graph.add("Sqrt", squared(graph, graph.matrix(columns), points))
    return rounded(graph, distances, columns, len(points))


ROUNDING = (KMeans, MiniBatchKMeans, BisectingKMeans, Birch)
CONVERTERS: dict[type, Converter] = dict.fromkeys(ROUNDING, _to_centers)
