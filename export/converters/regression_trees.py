"""Converters for trees, forests and boosting that answer numbers, exact in double precision."""

import numpy as np
from sklearn.ensemble import (
    AdaBoostRegressor,
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
)
from sklearn.tree import DecisionTreeRegressor

from unpickled.export.converters import native
from unpickled.export.converters.ensemble import by_tree, ensemble
from unpickled.export.converters.forests import staged
from unpickled.export.converters.regressors import Converter
from unpickled.export.errors import NoGraph
from unpickled.export.graph import Array, Columns, Graph, RegressorOutput
from unpickled.export.tree_classes import FOREST_REGRESSORS, TREE_REGRESSORS
from unpickled.export.trees import grown, hist_boosted


def _tree(graph: Graph, model: DecisionTreeRegressor, columns: Columns) -> RegressorOutput:
    return RegressorOutput(ensemble(graph, columns, [grown(model.tree_)]), model.n_outputs_)


def _forest(graph: Graph, model: RandomForestRegressor, columns: Columns) -> RegressorOutput:
    trees = [grown(tree.tree_) for tree in model.estimators_]
    return RegressorOutput(ensemble(graph, columns, trees, mean=True), model.n_outputs_)


def _gradient_boosting(graph: Graph, model: GradientBoostingRegressor, columns: Columns) -> RegressorOutput:
    if model.init is not None and model.init != "zero":
        raise NoGraph("init= an estimator of your own has no graph", "leave init out")
    base = model._raw_predict_init(np.zeros((1, model.n_features_in_), np.float32)).ravel()
    stages = [[grown(tree.tree_) for tree in stage] for stage in model.estimators_]
    return RegressorOutput(ensemble(graph, columns, staged(stages, model.learning_rate), base))


def _hist_gradient_boosting(
    graph: Graph, model: HistGradientBoostingRegressor, columns: Columns
) -> RegressorOutput:
    base = np.asarray(model._baseline_prediction, np.float64).ravel()
    columns = native.columns(graph, model, columns)
    scores = ensemble(graph, columns, staged(hist_boosted(model), 1.0), base)
    return RegressorOutput(graph.add("Exp", scores) if model.loss in ("gamma", "poisson") else scores)


def _ada_boost(graph: Graph, model: AdaBoostRegressor, columns: Columns) -> RegressorOutput:
    """The median of what the trees answer, each counted as often as its weight says."""
    trees = [grown(tree.tree_) for tree in model.estimators_]
    weights = np.asarray(model.estimator_weights_[: len(trees)], np.float64)
    return RegressorOutput(weighted_median(graph, by_tree(graph, columns, trees), weights))


def weighted_median(graph: Graph, answers: str, weights: Array) -> str:
    """(rows, 1): the first of a row's answers (rows, trees), in order, that reaches half of the weights."""
    count = graph.constant(np.array([len(weights)], np.int64))
    ordered, order = graph.add_many("TopK", (answers, count), 2, axis=1, largest=0, sorted=1)
    axis, last = _ints(graph, 1), _ints(graph, len(weights) - 1)
    passed = graph.add("CumSum", graph.add("Gather", graph.constant(weights), order), axis)
    total = graph.add("Gather", passed, last, axis=1)
    half = graph.add("Mul", total, graph.constant(np.array(0.5)))
    short = graph.cast(graph.add("Less", passed, half), "int64")
    return graph.add("GatherElements", ordered, graph.add("ReduceSum", short, axis, keepdims=1), axis=1)


def _ints(graph: Graph, *numbers: int) -> str:
    return graph.constant(np.array(numbers, np.int64))


REGRESSORS: dict[type, Converter] = {
    **dict.fromkeys(TREE_REGRESSORS, _tree),
    **dict.fromkeys(FOREST_REGRESSORS, _forest),
    GradientBoostingRegressor: _gradient_boosting,
    HistGradientBoostingRegressor: _hist_gradient_boosting,
    AdaBoostRegressor: _ada_boost,
}
