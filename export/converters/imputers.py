"""Converters for what fills in missing values, or tells where they are."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.impute import KNNImputer, MissingIndicator, SimpleImputer

# From here, as importing it where users do would enable it for the whole process.
from sklearn.impute._iterative import IterativeImputer
from sklearn.linear_model import (
    ARDRegression,
    BayesianRidge,
    ElasticNet,
    HuberRegressor,
    Lasso,
    LinearRegression,
    Ridge,
)

from unpickled.export.converters.cells import blocks, number_of, text_of
from unpickled.export.converters.numbers import Converter, clipped, number_type, scalar, total
from unpickled.export.data.missing import is_missing
from unpickled.export.errors import NoGraph
from unpickled.export.graph import Column, Columns, Dtype, Graph, Tensor

# Regressions whose prediction is a product with coef_ and the sum with intercept_.
_LINEAR = (BayesianRidge, Ridge, LinearRegression, Lasso, ElasticNet, ARDRegression, HuberRegressor)


def _impute(graph: Graph, imputer: SimpleImputer, columns: Columns) -> Columns:
    imputed: dict[int, Column] = {}
    statistics = list(imputer.statistics_)
    kept_columns = [
        i for i, fill in enumerate(statistics) if imputer.keep_empty_features or not is_missing(fill)
    ]
    for text, positions in blocks(tuple(columns[i] for i in kept_columns)).items():
        block = tuple(columns[kept_columns[p]] for p in positions)
        values = [statistics[kept_columns[p]] for p in positions]
        filled = _fill_text(graph, imputer, block, values) if text else _fill(graph, imputer, block, values)
        # A column of numbers is still that feature's, but for the missing ones.
        outputs = (replace(c, feature=b.feature) for c, b in zip(filled.columns(), block, strict=True))
        imputed.update(zip(positions, outputs, strict=True))
    joined = tuple(imputed[position] for position in range(len(kept_columns)))
    return joined + _indicator(graph, imputer, columns)


def _fill(graph: Graph, imputer: SimpleImputer, columns: Columns, values: list[object]) -> Tensor:
    dtype = number_type(columns)
    x = graph.matrix(columns, dtype)
    fill = graph.constant(np.array([number_of(value) for value in values]).astype(dtype))
    return Tensor(
        graph.add("Where", _absent(graph, imputer.missing_values, x, dtype), fill, x), dtype, len(columns)
    )


def _absent(graph: Graph, missing: object, x: str, dtype: Dtype) -> str:
    """bool: where a tensor of numbers, or of text, holds the value that stands for a missing one."""
    if dtype == "string":
        return graph.add("Equal", x, graph.constant(np.array(text_of(missing), object)))
    if is_missing(missing):
        return graph.add("IsNaN", x)
    return graph.add("Equal", x, scalar(graph, number_of(missing), dtype))


def _fill_text(graph: Graph, imputer: SimpleImputer, columns: Columns, values: list[object]) -> Tensor:
    x = graph.matrix(columns, "string")
    absent = _absent(graph, imputer.missing_values, x, "string")
    fill = graph.constant(np.array([text_of(value) for value in values], object))
    return Tensor(graph.add("Where", absent, fill, x), "string", len(columns))


def _indicator(graph: Graph, imputer: Any, columns: Columns) -> Columns:
    """The columns that add_indicator=True appends."""
    if imputer.indicator_ is None or len(imputer.indicator_.features_) == 0:
        return ()
    if any(columns[i].dtype == "string" for i in imputer.indicator_.features_):
        raise NoGraph("add_indicator=True on text columns", "leave it out and one-hot encode them")
    return _indicated(graph, imputer.indicator_, columns)


def _indicated(graph: Graph, indicator: MissingIndicator, columns: Columns) -> Columns:
    """1 where a value is missing, else 0: for each column that the indicator watches."""
    watched = tuple(columns[i] for i in indicator.features_)
    indicated: dict[int, Column] = {}
    for text, positions in blocks(watched).items():
        block = tuple(watched[i] for i in positions)
        dtype: Dtype = "string" if text else number_type(block)
        absent = _absent(graph, indicator.missing_values, graph.matrix(block, dtype), dtype)
        kind: Dtype = "float64" if text else dtype
        ones = Tensor(graph.cast(absent, kind), kind, len(block))
        indicated.update(zip(positions, ones.columns(), strict=True))
    return tuple(indicated[i] for i in range(len(watched)))


def _iterate(graph: Graph, imputer: IterativeImputer, columns: Columns) -> Columns:
    """The rounds of regressions that filled in the training rows, one after the other."""
    if imputer.sample_posterior:
        raise NoGraph("sample_posterior=True draws numbers at random", "leave it out")
    empty = np.asarray(imputer._is_empty_feature, bool)
    kept = np.flatnonzero(~empty | imputer.keep_empty_features)
    dtype = number_type(columns)
    x = graph.matrix(tuple(columns[i] for i in kept), dtype)
    absent = _absent(graph, imputer.missing_values, x, dtype)
    if empty[kept].any():
        absent = graph.add("And", absent, graph.constant(~empty[kept]))
    initial = Tensor(
        graph.matrix(_impute(graph, imputer.initial_imputer_, columns)[: len(kept)], "float64"),
        "float64",
        len(kept),
    )
    filled = graph.matrix(_rounds(graph, imputer, initial, absent))
    if imputer.n_iter_:
        # scikit-learn leaves the first guess where every value of every row is missing.
        every = graph.add("ReduceMin", graph.cast(absent, "float64"), keepdims=0)
        none_present = graph.add("Equal", every, scalar(graph, 1.0))
        filled = graph.add("Where", none_present, initial.name, filled)
    x = filled if dtype == "float64" else graph.cast(filled, dtype)
    return Tensor(x, dtype, len(kept)).columns() + _indicator(graph, imputer, columns)


def _rounds(graph: Graph, imputer: IterativeImputer, initial: Tensor, absent: str) -> Columns:
    table = list(initial.columns())
    for target, sources, estimator in imputer.imputation_sequence_ if imputer.n_iter_ else ():
        if type(estimator) not in _LINEAR:
            raise NoGraph(
                f"its estimator {type(estimator).__name__} has no graph here",
                f"use one of {', '.join(kind.__name__ for kind in _LINEAR)}",
            )
        x = graph.matrix(tuple(table[int(i)] for i in sources))
        guess = _predicted(graph, estimator, x)
        low, high = (scalar(graph, _limit(imputer, side, target)) for side in ("min", "max"))
        guess = clipped(graph, guess, low, high)
        hole = graph.add("Gather", absent, graph.constant(np.array([target], np.int64)), axis=1)
        value = graph.add("Where", hole, guess, graph.matrix((initial.columns()[target],)))
        table[target] = Tensor(value, "float64", 1).columns()[0]
    return tuple(table)


def _predicted(graph: Graph, estimator: Any, x: str) -> str:
    weights = np.asarray(estimator.coef_, np.float64).reshape(-1, 1)
    bias = np.asarray(estimator.intercept_, np.float64).reshape(1)
    return graph.add("Gemm", x, graph.constant(weights), graph.constant(bias))


def _limit(imputer: IterativeImputer, side: str, target: int) -> float:
    limits = imputer._min_value if side == "min" else imputer._max_value
    return float(limits[target])


def _nearest(graph: Graph, imputer: KNNImputer, columns: Columns) -> Columns:
    """Each missing number as the mean of the nearest training rows that have one."""
    if imputer.metric != "nan_euclidean" or callable(imputer.weights):
        raise NoGraph("a metric or weights of your own have no graph", "leave metric and weights out")
    dtype, valid = number_type(columns), np.asarray(imputer._valid_mask, bool)
    x = graph.matrix(columns)
    absent = _absent(graph, imputer.missing_values, x, "float64")
    distances = _distances(graph, x, absent, imputer)
    outputs: Columns = ()
    for i in np.flatnonzero(valid | imputer.keep_empty_features).tolist():
        value = _column(graph, x, i)
        if valid[i]:
            donated = _donated(graph, distances, imputer, i)
            value = graph.add("Where", _column(graph, absent, i), donated, value)
        else:
            value = graph.cast(graph.add("Less", value, value), "float64")
        outputs += Tensor(value if dtype == "float64" else graph.cast(value, dtype), dtype, 1).columns()
    return outputs + _indicator(graph, imputer, columns)


def _column(graph: Graph, x: str, i: int) -> str:
    return graph.add("Gather", x, graph.constant(np.array([i], np.int64)), axis=1)


def _distances(graph: Graph, x: str, absent: str, imputer: KNNImputer) -> str:
    """(rows, training rows): mean squared distance over the columns that both have; infinite without any."""
    present = np.logical_not(imputer._mask_fit_X).astype(np.float64)
    points = np.where(present == 1.0, np.asarray(imputer._fit_X, np.float64), 0.0)
    x = graph.add("Where", absent, scalar(graph, 0.0), x)
    has = graph.cast(graph.add("Not", absent), "float64")
    distance = ""
    for i in range(points.shape[1]):
        away = graph.add("Sub", _column(graph, x, i), graph.constant(points[:, i]))
        both = graph.add("Mul", _column(graph, has, i), graph.constant(np.ascontiguousarray(present[:, i])))
        square = graph.add("Mul", graph.add("Mul", away, away), both)
        distance = graph.add("Add", distance, square) if distance else square
    shared = graph.add("MatMul", has, graph.constant(np.ascontiguousarray(present.T)))
    none = graph.add("Equal", shared, scalar(graph, 0.0))
    return graph.add("Where", none, scalar(graph, math.inf), graph.add("Div", distance, shared))


def _donated(graph: Graph, distances: str, imputer: KNNImputer, i: int) -> str:
    """(rows, 1): the mean of column i over the nearest training rows that have it, or over all of them."""
    donors = np.flatnonzero(np.logical_not(imputer._mask_fit_X[:, i]))
    values = np.asarray(imputer._fit_X[donors, i], np.float64)
    count = graph.constant(np.array([min(imputer.n_neighbors, len(donors))], np.int64))
    away = graph.add("Gather", distances, graph.constant(donors), axis=1)
    near, places = graph.add_many("TopK", (away, count), 2, axis=1, largest=0, sorted=1)
    weights = _weights(graph, near, imputer.weights)
    given = graph.add("Mul", graph.add("Gather", graph.constant(values), places), weights)
    share = total(graph, weights, axis=1)
    nobody = graph.add("Equal", share, scalar(graph, 0.0))
    mean = graph.add("Div", total(graph, given, axis=1), share)
    return graph.add("Where", nobody, scalar(graph, float(values.mean())), mean)


def _weights(graph: Graph, near: str, kind: str) -> str:
    """(rows, neighbors): 0 for one without a common column; those at distance 0 outweigh all others."""
    if kind == "uniform":
        return graph.cast(graph.add("Not", graph.add("IsInf", near)), "float64")
    zero = graph.cast(graph.add("Equal", near, scalar(graph, 0.0)), "float64")
    axis = graph.constant(np.array([1], np.int64))
    hit = graph.add("Greater", graph.add("ReduceMax", zero, axis, keepdims=1), scalar(graph, 0.0))
    return graph.add("Where", hit, zero, graph.add("Reciprocal", graph.add("Sqrt", near)))


ROUNDING = (IterativeImputer, KNNImputer)
CONVERTERS: dict[type, Converter] = {
    SimpleImputer: _impute,
    MissingIndicator: _indicated,
    IterativeImputer: _iterate,
    KNNImputer: _nearest,
}
