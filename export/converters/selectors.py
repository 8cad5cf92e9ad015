"""Converters for the selection of columns, which adds no node to the graph."""

from typing import Any

from sklearn.feature_selection import (
    RFE,
    RFECV,
    GenericUnivariateSelect,
    SelectFdr,
    SelectFpr,
    SelectFromModel,
    SelectFwe,
    SelectKBest,
    SelectPercentile,
    SequentialFeatureSelector,
    VarianceThreshold,
)

from unpickled.export.converters.numbers import Converter, promoted
from unpickled.export.graph import Columns, Graph


def _selected(graph: Graph, selector: Any, columns: Columns) -> Columns:
    columns = promoted(graph, columns)
    return tuple(columns[i] for i in selector.get_support(indices=True))


CONVERTERS: dict[type, Converter] = dict.fromkeys(
    (
        VarianceThreshold,
        SelectKBest,
        SelectPercentile,
        SelectFromModel,
        SelectFpr,
        SelectFdr,
        SelectFwe,
        GenericUnivariateSelect,
        RFE,
        RFECV,
        SequentialFeatureSelector,
    ),
    _selected,
)
