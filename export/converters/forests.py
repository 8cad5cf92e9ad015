"""Converters for trees, forests and boosting that answer classes, exact beside every split.

Their probabilities are those of scikit-learn in double precision. The exception are single trees and forests
of three or more classes whose leaves hold rows of several: where nothing computes with their probabilities,
these are float32.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.ensemble import (
    AdaBoostClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.tree import DecisionTreeClassifier

from unpickled.export.converters import native, shared_leaves
from unpickled.export.converters.ensemble import are_shared, ensemble, unscaled
from unpickled.export.converters.parts import affine, winner
from unpickled.export.errors import NoGraph
from unpickled.export.graph import Array, ClassifierOutput, Columns, Graph
from unpickled.export.releases import is_real, real_votes
from unpickled.export.tree_classes import FOREST_CLASSIFIERS, TREE_CLASSIFIERS
from unpickled.export.trees import Tree, grown, hist_boosted

# The last argument asks for probabilities in float64, because another classifier computes with them.
Converter = Callable[[Graph, Any, Columns, bool], ClassifierOutput]


def _tree(graph: Graph, model: DecisionTreeClassifier, columns: Columns, exact: bool) -> ClassifierOutput:
    return _votes(graph, columns, [grown(model.tree_)], exact)


def _forest(graph: Graph, model: RandomForestClassifier, columns: Columns, exact: bool) -> ClassifierOutput:
    return _votes(graph, columns, [grown(estimator.tree_) for estimator in model.estimators_], exact)


def _votes(graph: Graph, columns: Columns, trees: Sequence[Tree], exact: bool) -> ClassifierOutput:
    """Probabilities as the mean of the trees: summed first, then divided, so that equal votes stay equal."""
    classes, shared = trees[0].value.shape[1], are_shared(trees)
    if classes == 2 and not exact and (shared or len(trees) > 1):
        # ONNX Runtime sums one output faster than two. The share of the first class follows from it.
        second = [replace(tree, value=tree.value[:, 1:]) for tree in trees]
        share = ensemble(graph, columns, second, mean=True)
        scores = affine(graph, share, np.array([[-1.0, 1.0]]), np.array([1.0, 0.0]))
    elif shared and not exact and not graph.standard and not graph.has("TreeEnsemble"):
        return _single(graph, columns, trees)
    else:
        scores = ensemble(graph, columns, trees, mean=True)
    return ClassifierOutput(classes, winner=winner(graph, scores), probabilities=scores)


def _single(graph: Graph, columns: Columns, trees: Sequence[Tree]) -> ClassifierOutput:
    """The mean of the trees in float32."""
    chosen, scores = shared_leaves.votes(graph, *unscaled(graph, columns, trees))
    if len(trees) > 1:
        scores = graph.add("Div", scores, graph.constant(np.array(len(trees), np.float32)))
    return ClassifierOutput(trees[0].value.shape[1], winner=chosen, probabilities=scores, dtype="float32")


def _boosted(
    graph: Graph, columns: Columns, trees: Sequence[Tree], base: Array, last_wins: bool = False
) -> ClassifierOutput:
    """Scores that softmax turns into probabilities; for two classes, [-s, s], the logistic function of s.

    ``last_wins``: of equal scores the last one decides the label, not the first.
    """
    scores = ensemble(graph, columns, trees, base)
    if len(base) > 1:
        probabilities = graph.add("Softmax", scores, axis=1)
        chosen = winner(graph, scores)
        return ClassifierOutput(len(base), winner=chosen, probabilities=probabilities, decision=scores)
    return _logistic(graph, scores, 1.0, last_wins)


def _logistic(graph: Graph, score: str, factor: float, last_wins: bool = False) -> ClassifierOutput:
    """The answers for a score (rows, 1) of the second of two classes, times a factor."""
    scores = graph.add("Mul", score, graph.constant(np.array([[-factor, factor]])))
    chosen = winner(graph, scores)
    if last_wins:
        chosen = graph.add("ArgMax", scores, axis=1, keepdims=0, select_last_index=1)
    return ClassifierOutput(2, winner=chosen, probabilities=graph.add("Sigmoid", scores), decision=scores)


def _gradient_boosting(
    graph: Graph, model: GradientBoostingClassifier, columns: Columns, exact: bool
) -> ClassifierOutput:
    if model.init is not None and model.init != "zero":
        raise NoGraph("init= an estimator of your own has no graph", "leave init out")
    if model.loss != "log_loss":
        raise NoGraph(f"loss={model.loss!r} has no graph", "use loss='log_loss'")
    base = model._raw_predict_init(np.zeros((1, model.n_features_in_), np.float32)).ravel()
    stages = [[grown(tree.tree_) for tree in stage] for stage in model.estimators_]
    # Unlike all others, with two classes it gives a score of 0 the second one.
    return _boosted(graph, columns, staged(stages, model.learning_rate), base, last_wins=len(base) == 1)


def _hist_gradient_boosting(
    graph: Graph, model: HistGradientBoostingClassifier, columns: Columns, exact: bool
) -> ClassifierOutput:
    base = np.asarray(model._baseline_prediction, np.float64).ravel()
    trees = staged(hist_boosted(model), 1.0)
    return _boosted(graph, native.columns(graph, model, columns), trees, base)


def staged(stages: Sequence[Sequence[Tree]], rate: float) -> list[Tree]:
    """The trees of boosting, one for each stage and output, with their values in the column of the output."""
    trees = []
    for stage in stages:
        for output, tree in enumerate(stage):
            value = np.zeros((len(tree.left), len(stage)))
            value[:, output] = rate * tree.value[:, 0]
            trees.append(replace(tree, value=value))
    return trees


def _ada_boost(graph: Graph, model: AdaBoostClassifier, columns: Columns, exact: bool) -> ClassifierOutput:
    if type(model.estimators_[0]) not in TREE_CLASSIFIERS:
        raise NoGraph("only decision trees can be its estimator", "leave estimator= out or give it one")
    classes, total = len(model.classes_), float(model.estimator_weights_.sum())
    trees = []
    for estimator, weight in zip(model.estimators_, model.estimator_weights_, strict=False):
        tree = grown(estimator.tree_)
        # An estimator may have seen fewer classes than the ensemble.
        positions = np.searchsorted(model.classes_, estimator.classes_)
        votes = real_votes(tree.value) if is_real(model) else _single_votes(tree, positions, classes)
        trees.append(replace(tree, value=weight * (votes[:, 1:] if classes == 2 else votes)))
    scores = ensemble(graph, columns, trees)
    if classes == 2:
        return _logistic(graph, scores, 2.0 / total)
    return _several(graph, scores, classes, total, 1.0 if is_real(model) else classes / (classes - 1))


def _single_votes(tree: Tree, positions: Array, classes: int) -> Array:
    """(nodes, classes): 1 for the class that a tree answers; -1 for the other one, if there are two.

    In scikit-learn a vote counts against every other class, with -1 / (classes - 1). This is a number that
    all sums share, and a factor: both are left to ``_several``, so that a leaf adds to one sum only.
    """
    votes = np.full((len(tree.left), classes), -1.0 if classes == 2 else 0.0)
    votes[np.arange(len(votes)), positions[tree.value.argmax(axis=1)]] = 1.0
    return votes


def _several(graph: Graph, scores: str, classes: int, total: float, factor: float) -> ClassifierOutput:
    """AdaBoost's answers for three or more classes. Softmax does not see a number that all scores share."""
    shared = graph.add("Mul", scores, graph.constant(np.array(factor / total / (classes - 1))))
    decision = graph.add("Mul", scores, graph.constant(np.array(factor / total)))
    if factor != 1.0:
        decision = graph.add("Sub", decision, graph.constant(np.array(1.0 / (classes - 1))))
    probabilities = graph.add("Softmax", shared, axis=1)
    return ClassifierOutput(
        classes, winner=winner(graph, scores), probabilities=probabilities, decision=decision
    )


CONVERTERS: dict[type, Converter] = {
    **dict.fromkeys(TREE_CLASSIFIERS, _tree),
    **dict.fromkeys(FOREST_CLASSIFIERS, _forest),
    GradientBoostingClassifier: _gradient_boosting,
    HistGradientBoostingClassifier: _hist_gradient_boosting,
    AdaBoostClassifier: _ada_boost,
}
