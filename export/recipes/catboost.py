"""Recipes for CatBoost: its trees on numbers and on codes of categories, its bias last, and its links."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from unpickled.export.boosters import catboost
from unpickled.export.boosters.boosted import Boosted
from unpickled.export.errors import NoGraph
from unpickled.export.graph import ClassifierOutput, Columns, Graph, RegressorOutput
from unpickled.export.recipes import encoders
from unpickled.export.recipes.ensemble import ensemble
from unpickled.export.recipes.members import above, column
from unpickled.export.recipes.parts import winner
from unpickled.export.trees import Tree


def classifier(graph: Graph, model: Any, columns: Columns) -> ClassifierOutput:
    """The probabilities in float64; the winner is the first class with the highest sum, as in CatBoost."""
    boosted, raw = _sums(graph, model, columns)
    if boosted.link == "logistic":
        return _two_classes(graph, model, boosted, raw)
    scores = _biased(graph, boosted, raw)
    softmax = boosted.link == "softmax"
    probabilities = graph.add("Softmax", scores, axis=1) if softmax else graph.add("Sigmoid", scores)
    return ClassifierOutput(
        len(boosted.base), winner=winner(graph, scores), probabilities=probabilities, decision=scores
    )


def regressor(graph: Graph, model: Any, columns: Columns) -> RegressorOutput:
    """The predictions: the sums, or their exponential."""
    boosted, raw = _sums(graph, model, columns)
    scores = _biased(graph, boosted, raw)
    prediction = graph.add("Exp", scores) if boosted.link == "exp" else scores
    return RegressorOutput(prediction, len(boosted.base))


def _two_classes(graph: Graph, model: Any, boosted: Boosted, raw: str) -> ClassifierOutput:
    """The logistic functions of -s and s; the second class wins above a threshold, as a rule where s > 0."""
    bias = boosted.base * [-1.0, 1.0]
    scores = graph.add("Gemm", raw, graph.constant(np.array([[-1.0, 1.0]])), graph.constant(bias))
    threshold = model.get_probability_threshold()
    if threshold == 0.5:
        won = winner(graph, scores)
    else:
        won = above(graph, column(graph, scores, 1), _logit(threshold))
    return ClassifierOutput(2, winner=won, probabilities=graph.add("Sigmoid", scores), decision=scores)


def _logit(share: float) -> float:
    if not 0.0 < share < 1.0:
        raise NoGraph(
            f"its probability threshold is {share}", "call set_probability_threshold with one between 0 and 1"
        )
    return -math.log(1.0 / share - 1.0)


def _biased(graph: Graph, boosted: Boosted, raw: str) -> str:
    return graph.add("Add", raw, graph.constant(boosted.base)) if boosted.base.any() else raw


def _sums(graph: Graph, model: Any, columns: Columns) -> tuple[Boosted, str]:
    """The model, and the sums (rows, outputs) of the leaves that a row reaches."""
    boosted = catboost.boosted(model)
    trees, seen = _coded(graph, model, boosted.trees, columns)
    return boosted, ensemble(graph, seen, trees)


def _coded(
    graph: Graph, model: Any, trees: Sequence[Tree], columns: Columns
) -> tuple[Sequence[Tree], Columns]:
    """The trees on codes instead of hashes, 1, 2, ... in each column of text, and the columns with codes."""
    places = list(model.get_cat_feature_indices())
    _check_kinds(columns, places)
    if not places:
        return trees, columns
    hashes = catboost.hashes(model, graph.texts)
    known = {place: _hashes(trees, place) for place in places}
    for place in places:
        _check_known(columns, place, known[place] - set(hashes.values()))
    codes = {place: {key: code for code, key in enumerate(sorted(known[place]), 1)} for place in places}
    texts = [
        {text: float(codes[place][key]) for text, key in hashes.items() if key in codes[place]}
        for place in places
    ]
    coded = encoders.coded(graph, tuple(columns[place] for place in places), texts, 0.0)
    at = dict(zip(places, coded, strict=True))
    renumbered = [replace(tree, sets=_renumbered(tree, codes)) for tree in trees]
    return renumbered, tuple(at.get(place, column) for place, column in enumerate(columns))


def _hashes(trees: Sequence[Tree], place: int) -> set[int]:
    """All hashes by which the trees split a column."""
    return {
        int(key)
        for tree in trees
        for node, keys in tree.sets.items()
        if tree.feature[node] == place
        for key in keys
    }


def _renumbered(tree: Tree, codes: dict[int, dict[int, int]]) -> dict[int, Any]:
    return {
        node: np.array(sorted(codes[int(tree.feature[node])][int(key)] for key in keys), np.int64)
        for node, keys in tree.sets.items()
    }


def _check_kinds(columns: Columns, places: Sequence[int]) -> None:
    """Refuse text where the model takes numbers, and numbers where it takes categories."""
    for place, column_ in enumerate(columns):
        name = repr(column_.feature) if column_.feature else str(place)
        if column_.dtype == "string" and place not in places:
            raise NoGraph(f"its column {name} holds text", "name the column in cat_features")
        if column_.dtype != "string" and place in places:
            raise NoGraph(
                f"its column {name} of categories holds numbers",
                "give it as text, as X[column].astype(str): CatBoost takes 1 and '1' for one category",
            )


def _check_known(columns: Columns, place: int, unknown: set[int]) -> None:
    if unknown:
        name = repr(columns[place].feature) if columns[place].feature else str(place)
        raise NoGraph(
            f"it was trained on {len(unknown)} categories of its column {name} that the rows given lack, and "
            "it keeps no list of them",
            "give all of the training rows",
        )
