"""Converters for LightGBM: its trees on the columns as it sees them, and its links."""

from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.preprocessing import OrdinalEncoder

from unpickled.export.boosters import lightgbm
from unpickled.export.boosters.boosted import Boosted
from unpickled.export.boosters.lightgbm import ZERO, Sight
from unpickled.export.converters import encoders
from unpickled.export.converters.ensemble import ensemble
from unpickled.export.converters.parts import winner
from unpickled.export.errors import NoGraph
from unpickled.export.graph import ClassifierOutput, Columns, Graph, RegressorOutput, Tensor
from unpickled.export.refusals import other_dtypes
from unpickled.export.trees import Tree


def classifier(graph: Graph, model: Any, columns: Columns, exact: bool) -> ClassifierOutput:
    """The probabilities in float64 in any case; the winner is the first of the highest, as in LightGBM."""
    boosted, raw = _raw(graph, model, columns)
    classes, outputs = len(model.classes_), len(boosted.base)
    answers = _answers(graph, boosted, raw)
    if outputs == 1:
        answers, raw = _two_sided(graph, answers, 1.0), _two_sided(graph, raw, 0.0)
    # LightGBM has decision scores since 4.7; of two classes with an output each they are two columns.
    decides = hasattr(model, "decision_function") and (outputs == 1 or classes > 2)
    return ClassifierOutput(
        classes,
        winner=winner(graph, answers),
        probabilities=answers,
        decision=raw if decides else None,
    )


def regressor(graph: Graph, model: Any, columns: Columns) -> RegressorOutput:
    """The predictions in float64."""
    boosted, raw = _raw(graph, model, columns)
    if len(boosted.base) > 1:
        raise NoGraph("it answers with a number for each class", "use LGBMClassifier")
    return RegressorOutput(_answers(graph, boosted, raw), 1)


def _raw(graph: Graph, model: Any, columns: Columns) -> tuple[Boosted, str]:
    """The model, and the sums (rows, outputs) of the leaves that a row reaches."""
    boosted = lightgbm.boosted(model)
    seen = _seen(graph, Sight.of(model), columns)
    return boosted, ensemble(graph, *_grouped(seen, boosted.trees), boosted.base)


def _grouped(columns: Columns, trees: list[Tree]) -> tuple[Columns, list[Tree]]:
    """The columns of each tensor side by side, as every change of tensor costs a node, and trees for them."""
    tensors = list(dict.fromkeys(column.tensor for column in columns))
    order = sorted(range(len(columns)), key=lambda i: (tensors.index(columns[i].tensor), columns[i].index))
    place = np.argsort(order)
    return tuple(columns[i] for i in order), [replace(tree, feature=place[tree.feature]) for tree in trees]


def _answers(graph: Graph, boosted: Boosted, x: str) -> str:
    """The raw scores through the link, in LightGBM's own steps."""
    if boosted.divisor != 1.0:
        x = graph.add("Div", x, graph.constant(np.array(boosted.divisor)))
    if boosted.slope != 1.0:
        x = graph.add("Mul", x, graph.constant(np.array(boosted.slope)))
    match boosted.link:
        case "logistic":
            return graph.add("Sigmoid", x)
        case "softmax":
            return graph.add("Softmax", x, axis=1)
        case "exp":
            return graph.add("Exp", x)
        case "square":
            return graph.add("Mul", x, graph.add("Abs", x))
        case "softplus":
            return _log_of_one_more(graph, graph.add("Exp", x))
    return x


def _log_of_one_more(graph: Graph, x: str) -> str:
    """log(1 + x), exact for small x too: log(w) * x / (w - 1) with w = 1 + x, and x where w is 1."""
    unit = graph.constant(np.array(1.0))
    more = graph.add("Add", x, unit)
    share = graph.add("Div", x, graph.add("Sub", more, unit))
    return graph.add(
        "Where", graph.add("Equal", more, unit), x, graph.add("Mul", graph.add("Log", more), share)
    )


def _two_sided(graph: Graph, x: str, whole: float) -> str:
    """[whole - x, x] for x (rows, 1)."""
    return graph.add(
        "Gemm", x, graph.constant(np.array([[-1.0, 1.0]])), graph.constant(np.array([whole, 0.0]))
    )


def _seen(graph: Graph, sight: Sight, columns: Columns) -> Columns:
    """The columns as the trees see them."""
    native = [i for i, column in enumerate(columns) if column.feature in graph.native]
    if sight.categories:
        columns = _encoded(graph, sight, columns, native)
    codes = [i for i in sight.codes.tolist() if not (sight.categories and i in native)]
    columns = _changed(columns, codes, _whole(graph, columns, codes))
    zeros = sight.zeros.tolist()
    return _changed(columns, zeros, _without_zeros(graph, columns, zeros))


def _encoded(graph: Graph, sight: Sight, columns: Columns, native: list[int]) -> Columns:
    """The columns, with the places of their categories where LightGBM has them; NaN for unknown ones."""
    if len(native) != len(sight.categories):
        raise other_dtypes(len(sight.categories), len(native))
    lists = [np.array(categories, dtype=object) for categories in sight.categories]
    encoder = OrdinalEncoder(categories=lists, handle_unknown="use_encoded_value", unknown_value=np.nan)
    encoder.fit(np.array([[categories[0] for categories in lists]], dtype=object))
    coded = encoders.CONVERTERS[OrdinalEncoder](graph, encoder, tuple(columns[i] for i in native))
    return _changed(columns, native, coded)


def _changed(columns: Columns, positions: list[int], changed: Columns) -> Columns:
    """The columns, with others at these positions."""
    at = dict(zip(positions, changed, strict=True))
    return tuple(at.get(i, column) for i, column in enumerate(columns))


def _whole(graph: Graph, columns: Columns, positions: list[int]) -> Columns:
    """Numbers without the digits behind the point."""
    if not positions:
        return ()
    x, zero = graph.matrix(tuple(columns[i] for i in positions)), graph.constant(np.array(0.0))
    up, down = graph.add("Floor", graph.add("Max", x, zero)), graph.add("Ceil", graph.add("Min", x, zero))
    return _of(graph.add("Add", up, down), positions)


def _without_zeros(graph: Graph, columns: Columns, positions: list[int]) -> Columns:
    """Numbers with NaN for those that count as 0."""
    if not positions:
        return ()
    x, gap = graph.matrix(tuple(columns[i] for i in positions)), graph.constant(np.array(np.nan))
    small = graph.add("LessOrEqual", graph.add("Abs", x), graph.constant(np.array(ZERO)))
    return _of(graph.add("Where", small, gap, x), positions)


def _of(name: str, positions: list[int]) -> Columns:
    return Tensor(name, "float64", len(positions)).columns()
