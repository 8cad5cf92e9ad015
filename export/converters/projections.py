"""Converters for transformers that subtract a point from each row and multiply it by a matrix."""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.cluster import FeatureAgglomeration
from sklearn.decomposition import FactorAnalysis, FastICA, MiniBatchSparsePCA, SparsePCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.neighbors import NeighborhoodComponentsAnalysis
from sklearn.random_projection import GaussianRandomProjection, SparseRandomProjection

from unpickled.export.converters.numbers import Converter, rounded
from unpickled.export.errors import NoGraph
from unpickled.export.graph import Array, Columns, Graph

# The point (or None) and the matrix (columns, outputs).
Projection = tuple[Array | None, Array]


def _projected(graph: Graph, transformer: Any, columns: Columns) -> Columns:
    point, matrix = _PROJECTIONS[type(transformer)](transformer)
    x = graph.matrix(columns)
    if point is not None:
        x = graph.add("Sub", x, graph.constant(np.asarray(point, np.float64)))
    product = graph.add("MatMul", x, graph.constant(np.ascontiguousarray(matrix, np.float64)))
    return rounded(graph, product, columns, matrix.shape[1])


def _factors(analysis: FactorAnalysis) -> Projection:
    weighted = analysis.components_ / analysis.noise_variance_
    inverse = np.linalg.inv(np.eye(len(weighted)) + weighted @ analysis.components_.T)
    return analysis.mean_, weighted.T @ inverse


def _unmixing(analysis: FastICA) -> Projection:
    return analysis.mean_ if analysis.whiten else None, analysis.components_.T


def _ridge(analysis: SparsePCA) -> Projection:
    """The ridge regression of a row on the components, whose solution is linear in the row."""
    components = np.asarray(analysis.components_, np.float64)
    gram = components @ components.T + analysis.ridge_alpha * np.eye(len(components))
    return analysis.mean_, np.linalg.solve(gram, components).T


def _discriminants(analysis: LinearDiscriminantAnalysis) -> Projection:
    if analysis.solver == "lsqr":
        raise NoGraph("solver='lsqr' only classifies", "use solver='svd'")
    most = min(len(analysis.classes_) - 1, len(analysis.scalings_))
    count = most if analysis.n_components is None else analysis.n_components
    return analysis.xbar_ if analysis.solver == "svd" else None, analysis.scalings_[:, :count]


def _components(transformer: Any) -> Projection:
    matrix = transformer.components_
    return None, (matrix.toarray() if hasattr(matrix, "toarray") else matrix).T


def _means(clusters: FeatureAgglomeration) -> Projection:
    if clusters.pooling_func is not np.mean:
        raise NoGraph("pooling_func= another function than np.mean has no graph", "leave it out")
    members = np.eye(clusters.labels_.max() + 1)[clusters.labels_]
    return None, members / members.sum(axis=0)


_PROJECTIONS: dict[type, Callable[[Any], Projection]] = {
    FactorAnalysis: _factors,
    FastICA: _unmixing,
    SparsePCA: _ridge,
    MiniBatchSparsePCA: _ridge,
    LinearDiscriminantAnalysis: _discriminants,
    GaussianRandomProjection: _components,
    SparseRandomProjection: _components,
    NeighborhoodComponentsAnalysis: _components,
    FeatureAgglomeration: _means,
}
ROUNDING = tuple(_PROJECTIONS)
CONVERTERS: dict[type, Converter] = dict.fromkeys(_PROJECTIONS, _projected)
