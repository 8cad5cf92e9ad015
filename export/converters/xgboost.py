"""Converters for XGBoost: its trees in float32, in which it compares and adds."""

from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.preprocessing import OrdinalEncoder

from unpickled.export.boosters import xgboost
from unpickled.export.boosters.boosted import Boosted
from unpickled.export.boosters.xgboost import Sight, listed
from unpickled.export.converters import encoders
from unpickled.export.converters.ensemble import ensemble
from unpickled.export.converters.numbers import number_type, scalar, total
from unpickled.export.converters.parts import winner
from unpickled.export.errors import NoGraph
from unpickled.export.graph import ClassifierOutput, Columns, Graph, RegressorOutput, Tensor
from unpickled.export.refusals import other_dtypes
from unpickled.export.trees import Tree

# The largest raw score that XGBoost's logistic function, in float32, takes to 0.5 and not above it.
EVEN = np.float32(8.94069671630859375e-08)


def classifier(graph: Graph, model: Any, columns: Columns, exact: bool) -> ClassifierOutput:
    """The probabilities in float32; if ``exact``, in XGBoost's own steps and then in float64."""
    boosted, raw = _raw(graph, model, columns)
    several = boosted.link == "softmax"
    even = EVEN if boosted.link == "logistic" else np.float32(0)
    decisive = raw if several else _beside(graph, raw, even)
    if exact and boosted.link != "sign":
        probabilities = _softmax(graph, raw) if several else _logistic(graph, raw)
    else:
        probabilities = graph.add("Hardmax" if boosted.link == "sign" else "Softmax", decisive, axis=1)
    # For multi:softprob XGBoost compares the probabilities, of which more are equal than of raw scores.
    if several and model.objective != "multi:softmax":
        decisive = probabilities
    return ClassifierOutput(
        len(model.classes_),
        winner=winner(graph, decisive),
        probabilities=graph.cast(probabilities, "float64") if exact else probabilities,
        dtype="float64" if exact else "float32",
    )


def regressor(graph: Graph, model: Any, columns: Columns) -> RegressorOutput:
    """The raw scores through the link, in float64."""
    boosted, raw = _raw(graph, model, columns)
    prediction = graph.cast(raw, "float64")
    if boosted.link != "identity":
        prediction = graph.add({"exp": "Exp", "logistic": "Sigmoid"}[boosted.link], prediction)
    return RegressorOutput(prediction, len(boosted.base), single=True)


def _raw(graph: Graph, model: Any, columns: Columns) -> tuple[Boosted, str]:
    """The model, and the sums (rows, outputs) of base score and leaves, in float32."""
    boosted = xgboost.boosted(model)
    seen = _seen(graph, model, columns)
    trees = [_narrowed(tree) for tree in boosted.trees]
    return boosted, ensemble(graph, seen, trees, boosted.base, dtype="float32")


def _beside(graph: Graph, raw: str, even: np.float32) -> str:
    """[even, raw] for raw (rows, 1), so that the second class wins with a higher raw score only."""
    pick, start = np.array([[0.0, 1.0]], np.float32), np.array([even, 0.0], np.float32)
    return graph.add("Gemm", raw, graph.constant(pick), graph.constant(start))


def _logistic(graph: Graph, raw: str) -> str:
    """[1 - p, p] for raw (rows, 1), in XGBoost's own steps."""
    unit = scalar(graph, 1.0, "float32")
    second = graph.add("Div", unit, graph.add("Add", _exp(graph, graph.add("Neg", raw)), unit))
    return graph.add("Concat", graph.add("Sub", unit, second), second, axis=1)


def _softmax(graph: Graph, raw: str) -> str:
    """The probabilities of several classes, in XGBoost's own steps: it adds in double precision."""
    highest = graph.add("ReduceMax", raw, graph.constant(np.array([1], np.int64)), keepdims=1)
    shares = _exp(graph, graph.add("Sub", raw, highest))
    return graph.add("Div", shares, graph.cast(total(graph, graph.cast(shares, "float64"), 1), "float32"))


def _exp(graph: Graph, x: str) -> str:
    """The function of the C library, whose float32 answers are those of doubles, rounded; ours are not."""
    return graph.cast(graph.add("Exp", graph.cast(x, "float64")), "float32")


def _narrowed(tree: Tree) -> Tree:
    """The tree with float32 thresholds that split float32 numbers alike: those next below its own."""
    below = tree.threshold.astype(np.float32)
    below = np.where(below > tree.threshold, np.nextafter(below, np.float32(-np.inf)), below)
    return replace(tree, threshold=below.astype(np.float64))


def _seen(graph: Graph, model: Any, columns: Columns) -> Columns:
    """The columns as the trees see them."""
    sight = Sight.of(model)
    if not sight.categories and any(columns[i].dtype == "string" for i in sight.codes):
        raise NoGraph(
            "before XGBoost 3.1 a model does not keep the categories of the fit",
            "fit it with a newer XGBoost",
        )
    native = [i for i, column in enumerate(columns) if column.feature in graph.native]
    if native != sorted(sight.categories):
        raise other_dtypes(len(sight.categories), len(native))
    if native:
        columns = _encoded(graph, sight, columns)
    x = Tensor(graph.matrix(columns, dtype := number_type(columns)), dtype, len(columns))
    if id(model) in graph.sparse:
        x = _without(graph, x, 0.0)
    if dtype == "float64":
        x = Tensor(graph.cast(x.name, "float32"), "float32", x.width)
    if not np.isnan(sight.missing):
        x = _without(graph, x, sight.missing)
    codes = [i for i in sight.codes if i not in sight.categories]
    return _whole(graph, x, codes) if codes else x.columns()


def _encoded(graph: Graph, sight: Sight, columns: Columns) -> Columns:
    """The columns, with the places of their categories; NaN for a missing one."""
    positions = sorted(sight.categories)
    labels = [graph.native[str(columns[i].feature)] for i in positions]
    lists = [
        np.array(listed(sight.categories[i], label), dtype=object)
        for i, label in zip(positions, labels, strict=True)
    ]
    # Like XGBoost, it refuses what is no category.
    encoder = OrdinalEncoder(categories=lists)
    encoder.fit(np.array([[known[0] for known in lists]], dtype=object))
    codes = encoders.CONVERTERS[OrdinalEncoder](graph, encoder, tuple(columns[i] for i in positions))
    coded = dict(zip(positions, codes, strict=True))
    return tuple(coded.get(i, column) for i, column in enumerate(columns))


def _without(graph: Graph, x: Tensor, number: float) -> Tensor:
    """The numbers with NaN for one of them."""
    dtype = np.float32 if x.dtype == "float32" else np.float64
    gone, gap = (graph.constant(np.array(value, dtype)) for value in (number, np.nan))
    return replace(x, name=graph.add("Where", graph.add("Equal", x.name, gone), gap, x.name))


def _whole(graph: Graph, x: Tensor, codes: list[int]) -> Columns:
    """The numbers, of these columns without the digits behind the point."""
    columns = x.columns()
    floor = graph.add("Floor", graph.matrix(tuple(columns[i] for i in codes), "float32"))
    whole = dict(zip(codes, Tensor(floor, "float32", len(codes)).columns(), strict=True))
    return tuple(whole.get(i, column) for i, column in enumerate(columns))
