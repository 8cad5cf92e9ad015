"""Recipes for trees, forests and boosting: one tree ensemble node, exact beside every split."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from onnx import numpy_helper
from sklearn.ensemble import (
    AdaBoostClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.preprocessing import OrdinalEncoder
from sklearn.tree import DecisionTreeClassifier, ExtraTreeClassifier

from unpickled.export import categories
from unpickled.export.errors import NoGraph
from unpickled.export.graph import ML, Array, ClassifierOutput, Column, Columns, Dtype, Graph, Tensor
from unpickled.export.recipes import encoders
from unpickled.export.recipes.members import column
from unpickled.export.recipes.parts import winner
from unpickled.export.releases import is_real, real_votes
from unpickled.export.trees import Tree, before_scaling, grown, hist_boosted

# The last argument asks for scores in float64, because another classifier computes with them.
Recipe = Callable[[Graph, Any, Columns, bool], ClassifierOutput]


def _ensemble(
    graph: Graph, columns: Columns, trees: Sequence[tuple[Tree, Array]], exact: bool
) -> tuple[str, str, Dtype]:
    """The winner's index, the scores (rows, classes) and their dtype: scores are sums of leaf weights.

    Each tree comes with weights (nodes, classes), of which only those of leaves count. For two classes the
    scores are [-s, s], s being half the difference of the two sums, unless ``exact``. Thresholds and sums are
    float64; the scores leave the node as float32 unless ``exact``.
    """
    classes = trees[0][1].shape[1]
    # Folding the scaler in front into the thresholds saves its two nodes, and is exact to the last bit.
    x, steps = graph.shifted(graph.matrix(columns), len(columns))
    if steps:
        trees = [(before_scaling(tree, steps), weights) for tree, weights in trees]
    if exact:
        scores = _exact(graph, x, trees)
        return winner(graph, scores), scores, "float64"
    if classes == 2:
        trees = _one_sided(trees)
    attributes = _nodes([tree for tree, _ in trees]) | _leaves(trees)
    chosen, scores = graph.add_many(
        "TreeEnsembleClassifier", (x,), 2, ML, classlabels_int64s=list(range(classes)), **attributes
    )
    return chosen, scores, "float32"


def _exact(graph: Graph, x: str, trees: Sequence[tuple[Tree, Array]]) -> str:
    """The scores in float64: the weights of the leaves that a row reaches, looked up and added."""
    leaves = [np.flatnonzero(tree.left < 0) for tree, _ in trees]
    starts = np.cumsum([0, *(len(leaf) for leaf in leaves[:-1])], dtype=np.int64)
    place = reached(graph, x, [tree for tree, _ in trees])
    index = graph.add("Add", place, graph.constant(starts))
    leaf_weights = np.concatenate([weights[leaf] for leaf, (_, weights) in zip(leaves, trees, strict=True)])
    weights = graph.add("Gather", graph.constant(leaf_weights), index)
    return graph.add("ReduceSum", weights, graph.constant(np.array([1], np.int64)), keepdims=0)


def reached(graph: Graph, x: str, trees: Sequence[Tree]) -> str:
    """int64 (rows, trees): the place of the leaf that a row reaches, among the leaves of the tree."""
    leaves = [np.flatnonzero(tree.left < 0) for tree in trees]
    owner = np.repeat(np.arange(len(trees)), [len(leaf) for leaf in leaves])
    places = np.concatenate([np.arange(len(leaf)) for leaf in leaves])
    attributes = _nodes(trees) | {
        "target_treeids": owner,
        "target_nodeids": np.concatenate(leaves),
        "target_ids": owner,
        "target_weights_as_tensor": numpy_helper.from_array(places.astype(np.float64), "places"),
    }
    rank = graph.add("TreeEnsembleRegressor", x, domain=ML, n_targets=len(trees), **attributes)
    return graph.cast(rank, "int64")


def _one_sided(trees: Sequence[tuple[Tree, Array]]) -> list[tuple[Tree, Array]]:
    """One weight per leaf, for the second of two classes.

    ONNX Runtime treats two classes differently: given a single weight per leaf, it returns [-s, s], and the
    second class if s > 0, but only if some weight is negative.
    """
    halves = [(tree, (weights[:, 1:] - weights[:, :1]) / 2) for tree, weights in trees]
    if all((weights[tree.left < 0] >= 0).all() for tree, weights in halves):
        halves.append((_unreachable(), np.array([[0.0], [-1.0], [0.0]])))
    return halves


def _unreachable() -> Tree:
    """A tree whose left leaf no finite number reaches."""
    ends = np.array([-np.inf, 0.0, 0.0])
    left, right = np.array([1, -1, -1]), np.array([2, -1, -1])
    return Tree(left, right, np.zeros(3, np.int64), ends, np.zeros(3, bool), np.zeros((3, 1)))


def _nodes(trees: Sequence[Tree]) -> dict[str, object]:
    def joined(name: str) -> Array:
        return np.concatenate([getattr(tree, name) for tree in trees])

    sizes = [len(tree.left) for tree in trees]
    is_split = joined("left") >= 0
    missing = joined("missing_left") & is_split
    attributes: dict[str, object] = {
        "nodes_treeids": np.repeat(np.arange(len(trees)), sizes),
        "nodes_nodeids": np.concatenate([np.arange(size) for size in sizes]),
        "nodes_modes": np.where(is_split, b"BRANCH_LEQ", b"LEAF"),
        "nodes_featureids": np.where(is_split, joined("feature"), 0),
        "nodes_truenodeids": np.where(is_split, joined("left"), 0),
        "nodes_falsenodeids": np.where(is_split, joined("right"), 0),
        "nodes_values_as_tensor": numpy_helper.from_array(
            np.where(is_split, joined("threshold"), 0.0), "splits"
        ),
    }
    if missing.any():
        attributes["nodes_missing_value_tracks_true"] = missing.astype(int)
    return attributes


def _leaves(trees: Sequence[tuple[Tree, Array]]) -> dict[str, object]:
    """Attributes with the leaf weights by class. A leaf without weights gets a 0, as each needs an entry."""
    tree_ids, node_ids, class_ids, weights = [], [], [], []
    for index, (tree, values) in enumerate(trees):
        weighted = (values != 0) & (tree.left < 0)[:, None]
        weighted[:, 0] |= (tree.left < 0) & ~weighted.any(axis=1)
        leaf, label = np.nonzero(weighted)
        tree_ids.append(np.full(len(leaf), index))
        node_ids.append(leaf)
        class_ids.append(label)
        weights.append(values[leaf, label])
    return {
        "class_treeids": np.concatenate(tree_ids),
        "class_nodeids": np.concatenate(node_ids),
        "class_ids": np.concatenate(class_ids),
        "class_weights_as_tensor": numpy_helper.from_array(
            np.concatenate(weights).astype(np.float64), "weights"
        ),
    }


def _tree(graph: Graph, model: DecisionTreeClassifier, columns: Columns, exact: bool) -> ClassifierOutput:
    tree = grown(model.tree_)
    return _votes(graph, columns, [(tree, tree.value)], exact)


def _forest(graph: Graph, model: RandomForestClassifier, columns: Columns, exact: bool) -> ClassifierOutput:
    trees = [grown(estimator.tree_) for estimator in model.estimators_]
    return _votes(graph, columns, [(tree, tree.value) for tree in trees], exact)


def _votes(
    graph: Graph, columns: Columns, trees: Sequence[tuple[Tree, Array]], exact: bool
) -> ClassifierOutput:
    """Probabilities as the mean of the trees: summed first, then divided, so that equal votes stay equal."""
    chosen, scores, dtype = _ensemble(graph, columns, trees, exact)
    classes = trees[0][1].shape[1]
    if classes == 2 and dtype == "float32" and _has_reciprocal(len(trees)):
        # A single node for (scores + trees / 2) / trees.
        scores = graph.add("Scaler", scores, domain=ML, offset=[-len(trees) / 2], scale=[1 / len(trees)])
        return ClassifierOutput(classes, winner=chosen, probabilities=scores, dtype=dtype)
    if len(trees) > 1:
        scores = graph.add("Div", scores, graph.constant(np.array(len(trees), dtype)))
    if classes == 2 and not exact:
        scores = graph.add("Add", scores, graph.constant(np.array(0.5, dtype)))
    return ClassifierOutput(classes, winner=chosen, probabilities=scores, dtype=dtype)


def _has_reciprocal(count: int) -> bool:
    """Whether multiplying by 1 / count is exact in float32 for all of the votes and for half of them."""
    share = np.float32(1 / count)
    return all(np.float32(votes) * share == np.float32(votes / count) for votes in (count, count / 2))


def _boosted(
    graph: Graph, columns: Columns, trees: Sequence[tuple[Tree, Array]], exact: bool
) -> ClassifierOutput:
    """Scores that softmax turns into probabilities; for two classes, [-s, s], the logistic function of s."""
    chosen, scores, dtype = _ensemble(graph, columns, trees, exact)
    classes = trees[0][1].shape[1]
    probabilities = graph.add("Sigmoid", scores) if classes == 2 else graph.add("Softmax", scores, axis=1)
    return ClassifierOutput(classes, winner=chosen, probabilities=probabilities, decision=scores, dtype=dtype)


def _staged(stages: list[list[Tree]], rate: float, base: Array) -> list[tuple[Tree, Array]]:
    """The trees of boosting with their weights: one per stage and class; for two classes, one per stage."""
    outputs, trees = len(stages[0]), []
    for stage in stages:
        for output, tree in enumerate(stage):
            weights = np.zeros((len(tree.left), outputs))
            weights[:, output] = rate * tree.value[:, 0]
            if stage is stages[0]:
                # scikit-learn starts its sum with the base value.
                weights[:, output] += base[output]
            trees.append((tree, weights if outputs > 1 else weights * [-1.0, 1.0]))
    return trees


def _gradient_boosting(
    graph: Graph, model: GradientBoostingClassifier, columns: Columns, exact: bool
) -> ClassifierOutput:
    if model.init is not None and model.init != "zero":
        raise NoGraph("init= an estimator of your own has no graph", "leave init out")
    if model.loss != "log_loss":
        raise NoGraph(f"loss={model.loss!r} has no graph", "use loss='log_loss'")
    base = model._raw_predict_init(np.zeros((1, model.n_features_in_), np.float32)).ravel()
    stages = [[grown(tree.tree_) for tree in stage] for stage in model.estimators_]
    output = _boosted(graph, columns, _staged(stages, model.learning_rate, base), exact)
    if output.classes == 2 and exact:
        # Unlike all others, it gives a score of 0 the second class.
        lost = graph.add("Less", column(graph, str(output.decision), 1), graph.constant(np.array(0.0)))
        output = replace(output, winner=graph.cast(graph.add("Not", lost), "int64"))
    return output


def _hist_gradient_boosting(
    graph: Graph, model: HistGradientBoostingClassifier, columns: Columns, exact: bool
) -> ClassifierOutput:
    if categories.is_native(model):
        columns = _split_by_category(graph, model, columns)
    base = np.asarray(model._baseline_prediction, np.float64).ravel()
    return _boosted(graph, columns, _staged(hist_boosted(model), 1.0, base), exact)


def _split_by_category(graph: Graph, model: HistGradientBoostingClassifier, columns: Columns) -> Columns:
    """The columns as the trees see them: codes of categories, numbers, and one column for each set."""
    of_categories, of_numbers = categories.inputs(model)
    encode = encoders.RECIPES[OrdinalEncoder]
    codes = encode(graph, categories.encoder(model), tuple(columns[i] for i in of_categories))
    sets, split = categories.category_sets(model), []
    for position, code in enumerate(codes):
        tables = [categories.sides(bits) for i, bits in sets if i == position]
        if tables:
            split.append(_looked_up(graph, code, np.stack(tables, axis=1)))
    numbers = tuple(columns[i] for i in of_numbers)
    return codes + numbers + tuple(column for tensor in split for column in tensor.columns())


def _looked_up(graph: Graph, code: Column, tables: Array) -> Tensor:
    """(rows, tables): for each row the line of its code, or the first line if the code is NaN."""
    x = graph.matrix((code,))
    missing = graph.constant(np.array(-1.0))
    place = graph.add("Where", graph.add("IsNaN", x), missing, x)
    line = graph.cast(graph.add("Add", place, graph.constant(np.array([1.0]))), "int64")
    flat = graph.add("Reshape", line, graph.constant(np.array([-1], np.int64)))
    return Tensor(graph.add("Gather", graph.constant(tables), flat, axis=0), "float64", tables.shape[1])


def _single_votes(tree: Tree, positions: Array, classes: int) -> Array:
    """(nodes, classes): 1 for the class that a tree answers, and together -1 for the others."""
    votes = np.full((len(tree.left), classes), -1.0 / (classes - 1))
    votes[np.arange(len(votes)), positions[tree.value.argmax(axis=1)]] = 1.0
    return votes


def _ada_boost(graph: Graph, model: AdaBoostClassifier, columns: Columns, exact: bool) -> ClassifierOutput:
    if type(model.estimators_[0]) not in (DecisionTreeClassifier, ExtraTreeClassifier):
        raise NoGraph("only decision trees can be its estimator", "leave estimator= out or give it one")
    classes, total = len(model.classes_), float(model.estimator_weights_.sum())
    trees = []
    for estimator, weight in zip(model.estimators_, model.estimator_weights_, strict=False):
        tree = grown(estimator.tree_)
        # An estimator may have seen fewer classes than the ensemble.
        positions = np.searchsorted(model.classes_, estimator.classes_)
        votes = real_votes(tree.value) if is_real(model) else _single_votes(tree, positions, classes)
        votes = votes * (weight / total)
        trees.append((tree, 2.0 * votes if classes == 2 else votes))
    if classes == 2:
        return _boosted(graph, columns, trees, exact)
    chosen, scores, dtype = _ensemble(graph, columns, trees, exact)
    shared = graph.add("Div", scores, graph.constant(np.array(classes - 1, dtype)))
    probabilities = graph.add("Softmax", shared, axis=1)
    return ClassifierOutput(classes, winner=chosen, probabilities=probabilities, decision=scores, dtype=dtype)


RECIPES: dict[type, Recipe] = {
    DecisionTreeClassifier: _tree,
    ExtraTreeClassifier: _tree,
    RandomForestClassifier: _forest,
    ExtraTreesClassifier: _forest,
    GradientBoostingClassifier: _gradient_boosting,
    HistGradientBoostingClassifier: _hist_gradient_boosting,
    AdaBoostClassifier: _ada_boost,
}
