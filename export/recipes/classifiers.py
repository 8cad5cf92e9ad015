"""How each classifier becomes nodes.

Every recipe takes (graph, fitted classifier, columns) and returns an Answer. All of them compute in
float64, as scikit-learn does; only a tree ensemble's scores leave its node as float32.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from onnx import numpy_helper
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import (
    LogisticRegression,
    LogisticRegressionCV,
    PassiveAggressiveClassifier,
    Perceptron,
    RidgeClassifier,
    RidgeClassifierCV,
    SGDClassifier,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC, LinearSVC, NuSVC
from sklearn.tree import DecisionTreeClassifier, ExtraTreeClassifier

from unpickled.export.errors import NoGraph, NoRecipe
from unpickled.export.graph import ML, Answer, Array, Columns, Dtype, Graph
from unpickled.export.trees import Tree, before_scaling, boosted, grown

Recipe = Callable[[Graph, Any, Columns], Answer]
# The last argument asks for scores in float64, for others to compute with.
TreeRecipe = Callable[[Graph, Any, Columns, bool], Answer]


def winner(graph: Graph, scores: str) -> str:
    """Index of each row's highest score, the first of equals."""
    return graph.add("ArgMax", scores, axis=1, keepdims=0)


def _decisions(graph: Graph, model: Any, columns: Columns, first: float = 0.0) -> str:
    """(rows, classes) of a linear model; of two classes [first * d, d], d being the decision."""
    coef, intercept = np.atleast_2d(model.coef_).astype(np.float64), np.asarray(model.intercept_, np.float64)
    intercept = np.broadcast_to(intercept, len(coef))
    if len(coef) == 1:
        coef, intercept = np.vstack([first * coef, coef]), np.append(first * intercept, intercept)
    return _affine(graph, graph.matrix(columns), coef.T, intercept)


def _affine(graph: Graph, x: str, weights: Array, bias: Array) -> str:
    return graph.add("Gemm", x, graph.constant(weights), graph.constant(np.ascontiguousarray(bias)))


def _softmax_model(graph: Graph, model: Any, columns: Columns) -> Answer:
    decisions = _decisions(graph, model, columns)
    return _soft(graph, decisions, len(model.classes_))


def _soft(graph: Graph, decisions: str, classes: int) -> Answer:
    """Probabilities are the decisions' softmax; over [0, d] that is the logistic function of d."""
    return Answer(
        classes,
        winner=winner(graph, decisions),
        probabilities=graph.add("Softmax", decisions, axis=1),
        decision=decisions,
    )


def _scores_model(graph: Graph, model: Any, columns: Columns) -> Answer:
    decisions = _decisions(graph, model, columns, first=-1.0)
    return Answer(len(model.classes_), winner=winner(graph, decisions), decision=decisions)


def _sgd(graph: Graph, model: SGDClassifier, columns: Columns) -> Answer:
    if model.loss not in ("log_loss", "modified_huber"):
        return _scores_model(graph, model, columns)
    if len(model.classes_) == 2 and model.loss == "log_loss":
        return _softmax_model(graph, model, columns)
    decisions = _decisions(graph, model, columns)
    scores = _huber(graph, decisions) if model.loss == "modified_huber" else far_sigmoid(graph, decisions)
    if len(model.classes_) == 2:
        probabilities = _two_sided(graph, scores)
    else:
        probabilities = normalised(graph, scores, len(model.classes_))
    return Answer(
        len(model.classes_), winner=winner(graph, decisions), probabilities=probabilities, decision=decisions
    )


def _huber(graph: Graph, decisions: str) -> str:
    low, high = (graph.constant(np.array(bound)) for bound in (-1.0, 1.0))
    clipped = graph.add("Clip", decisions, low, high)
    return graph.add("Div", graph.add("Add", clipped, high), graph.constant(np.array(2.0)))


def _two_sided(graph: Graph, scores: str) -> str:
    """[1 - p, p], p being column 1."""
    pick = graph.constant(np.array([[0.0, 0.0], [-1.0, 1.0]]))
    return graph.add("Gemm", scores, pick, graph.constant(np.array([1.0, 0.0])))


def far_sigmoid(graph: Graph, x: str) -> str:
    """1 / (1 + exp(-x)) with all its digits far below 0, for what is divided by its sum.

    ONNX Runtime's own Sigmoid is 0 from about -37 on.
    """
    zero, one = (graph.constant(np.array(number)) for number in (0.0, 1.0))
    above = graph.add("Exp", graph.add("Min", x, zero))
    distant = graph.add("Exp", graph.add("Neg", graph.add("Abs", x)))
    return graph.add("Div", above, graph.add("Add", one, distant))


def normalised(graph: Graph, scores: str, classes: int) -> str:
    """Rows divided by their sum; the uniform distribution where that is 0."""
    total = graph.add("ReduceSum", scores, graph.constant(np.array([1], np.int64)), keepdims=1)
    zero = graph.add("Equal", total, graph.constant(np.array(0.0)))
    shared = graph.add("Div", scores, total)
    return graph.add("Where", zero, graph.constant(np.array(1.0 / classes)), shared)


def _mlp(graph: Graph, model: MLPClassifier, columns: Columns) -> Answer:
    activation = {"identity": None, "relu": "Relu", "tanh": "Tanh", "logistic": "Sigmoid"}[model.activation]
    x = graph.matrix(columns)
    for weights, bias in zip(model.coefs_[:-1], model.intercepts_[:-1], strict=True):
        x = _affine(graph, x, weights.astype(np.float64), bias.astype(np.float64))
        x = graph.add(activation, x) if activation else x
    weights, bias = model.coefs_[-1].astype(np.float64), model.intercepts_[-1].astype(np.float64)
    if len(bias) == 1:
        weights, bias = np.hstack([np.zeros_like(weights), weights]), np.append(0.0, bias)
    return _soft(graph, _affine(graph, x, weights, bias), len(model.classes_))


def _gaussian(graph: Graph, model: GaussianNB, columns: Columns) -> Answer:
    spread = graph.constant(np.array([-1, 1, len(columns)], np.int64))
    x = graph.add("Reshape", graph.matrix(columns), spread)
    theta, var, prior = (np.asarray(a, np.float64) for a in (model.theta_, model.var_, model.class_prior_))
    away = graph.add("Sub", x, graph.constant(theta))
    squared = graph.add("Div", graph.add("Mul", away, away), graph.constant(var))
    total = graph.add("ReduceSum", squared, graph.constant(np.array([2], np.int64)), keepdims=0)
    half = graph.add("Mul", total, graph.constant(np.array(-0.5)))
    offset = np.log(prior) - 0.5 * np.log(2.0 * np.pi * var).sum(axis=1)
    joint = graph.add("Add", half, graph.constant(offset))
    return Answer(
        len(model.classes_), winner=winner(graph, joint), probabilities=graph.add("Softmax", joint, axis=1)
    )


# Nearest neighbours' distances are computed feature by feature up to this many features and numbers.
_DIRECT = (32, 100_000)


def _neighbors(graph: Graph, model: KNeighborsClassifier, columns: Columns) -> Answer:
    if callable(model.weights):
        raise NoGraph("weights= a function of your own has no graph", "use 'uniform' or 'distance'")
    if model.effective_metric_ != "euclidean":
        raise NoRecipe("distances other than the euclidean take a loop")
    points = np.asarray(model._fit_X, np.float64)
    x = graph.matrix(columns)
    direct = model._fit_method != "brute" and points.shape[1] <= _DIRECT[0] and points.size <= _DIRECT[1]
    if not direct and (points != points.round()).any():
        # Less is lost to cancellation; between whole numbers nothing is.
        center = points.mean(axis=0)
        points = points - center
        x = graph.add("Sub", x, graph.constant(center))
    far = _squares(graph, x, points) if direct else _expanded(graph, x, points)
    k = graph.constant(np.array([model.n_neighbors], np.int64))
    nearest = graph.add_many("TopK", (far, k), 2, axis=1, largest=0, sorted=1)[1]
    votes = graph.add("Gather", graph.constant(np.eye(len(model.classes_))[model._y]), nearest, axis=0)
    if model.weights == "distance":
        weights = _closeness(graph, x, points, nearest)
        total = graph.add(
            "Squeeze", graph.add("MatMul", weights, votes), graph.constant(np.array([1], np.int64))
        )
    else:
        total = graph.add("ReduceSum", votes, graph.constant(np.array([1], np.int64)), keepdims=0)
    return Answer(
        len(model.classes_),
        winner=winner(graph, total),
        probabilities=normalised(graph, total, len(model.classes_)),
    )


def _squares(graph: Graph, x: str, points: Array) -> str:
    """(rows, points): squared distances, summed feature by feature as scikit-learn's trees do."""
    total = ""
    for index, place in enumerate(points.T):
        value = graph.add("Gather", x, graph.constant(np.array([index], np.int64)), axis=1)
        away = graph.add("Sub", value, graph.constant(place[None, :]))
        square = graph.add("Mul", away, away)
        total = graph.add("Add", total, square) if total else square
    return total


def _expanded(graph: Graph, x: str, points: Array) -> str:
    """(rows, points): squared distances less |x|^2, which is the same for all points of a row."""
    return graph.add("Gemm", x, graph.constant(-2.0 * points.T), graph.constant((points**2).sum(axis=1)))


def _closeness(graph: Graph, x: str, points: Array, nearest: str) -> str:
    """(rows, 1, neighbours) inverse distances; 1 for those at distance 0 and 0 for the others, if any."""
    there = graph.add("Gather", graph.constant(points), nearest, axis=0)
    away = graph.add("Sub", there, graph.add("Unsqueeze", x, graph.constant(np.array([1], np.int64))))
    squares = graph.add(
        "ReduceSum", graph.add("Mul", away, away), graph.constant(np.array([2], np.int64)), keepdims=0
    )
    distance = graph.add("Sqrt", squares)
    same = graph.cast(graph.add("Equal", distance, graph.constant(np.array(0.0))), "float64")
    any_same = graph.add("ReduceMax", same, graph.constant(np.array([1], np.int64)), keepdims=1)
    hit = graph.add("Greater", any_same, graph.constant(np.array(0.0)))
    weights = graph.add("Where", hit, same, graph.add("Reciprocal", distance))
    return graph.add("Unsqueeze", weights, graph.constant(np.array([1], np.int64)))


def _svc(graph: Graph, model: SVC | NuSVC, columns: Columns) -> Answer:
    if model.probability is True:
        raise NoRecipe("libsvm couples its probabilities by an iteration that only SVMClassifier repeats")
    classes = len(model.classes_)
    if classes > 2 and model.decision_function_shape != "ovr":
        raise NoGraph(
            "its decision_function gives one score per pair of classes", "set decision_function_shape='ovr'"
        )
    kernel = _kernel(graph, model, graph.matrix(columns))
    weights, offset = _pair_weights(model), np.asarray(model._intercept_, np.float64)
    if classes == 2:
        # libsvm's decision speaks for the first class; scikit-learn's for the second.
        decision = _affine(graph, kernel, weights * [1.0, -1.0], offset * [1.0, -1.0])
        return Answer(2, winner=winner(graph, decision), decision=decision)
    return _many_class_svc(graph, _affine(graph, kernel, weights, offset), classes)


def _kernel(graph: Graph, model: SVC | NuSVC, x: str) -> str:
    """(rows, support vectors)"""
    points = np.asarray(model.support_vectors_, np.float64)
    gamma = model._gamma
    if model.kernel == "rbf":
        center = points.mean(axis=0)
        return _rbf(graph, graph.add("Sub", x, graph.constant(center)), points - center, gamma)
    if model.kernel == "linear":
        return graph.add("MatMul", x, graph.constant(points.T))
    if model.kernel not in ("poly", "sigmoid"):
        raise NoGraph(f"kernel {model.kernel!r} has no graph", "use linear, rbf, poly or sigmoid")
    inner = _affine(graph, x, gamma * points.T, np.full(len(points), float(model.coef0)))
    if model.kernel == "sigmoid":
        return graph.add("Tanh", inner)
    return graph.add("Pow", inner, graph.constant(np.array(float(model.degree))))


def _rbf(graph: Graph, x: str, points: Array, gamma: float) -> str:
    lengths = (points.astype(np.float64) ** 2).sum(axis=1)
    axis = graph.constant(np.array([1], np.int64))
    length = graph.add("ReduceSum", graph.add("Mul", x, x), axis, keepdims=1)
    cross = graph.add("Gemm", x, graph.constant(2.0 * gamma * points.T), graph.constant(-gamma * lengths))
    return graph.add(
        "Exp", graph.add("Sub", cross, graph.add("Mul", length, graph.constant(np.array(gamma))))
    )


def _pair_weights(model: SVC | NuSVC) -> Array:
    """(support vectors, pairs): the dual coefficients of each pair of classes i < j."""
    counts = model._n_support
    owner = np.repeat(np.arange(len(counts)), counts)
    coefficients = np.asarray(model._dual_coef_, np.float64)
    pairs = [(i, j) for i in range(len(counts)) for j in range(i + 1, len(counts))]
    weights = np.zeros((len(owner), len(pairs)))
    for k, (i, j) in enumerate(pairs):
        weights[owner == i, k] = coefficients[j - 1, owner == i]
        weights[owner == j, k] = coefficients[i, owner == j]
    return weights


def _many_class_svc(graph: Graph, pairs: str, classes: int) -> Answer:
    ordered = [(i, j) for i in range(classes) for j in range(i + 1, classes)]
    for_first, for_second = np.zeros((len(ordered), classes)), np.zeros((len(ordered), classes))
    for k, (i, j) in enumerate(ordered):
        for_first[k, i] = for_second[k, j] = 1.0
    zero = graph.constant(np.array(0.0))
    lost = graph.cast(graph.add("Less", pairs, zero), "float64")
    start = graph.constant(for_first.sum(axis=0))
    votes = graph.add("Gemm", lost, graph.constant(for_second - for_first), start)
    confidence = graph.add("MatMul", pairs, graph.constant(for_first - for_second))
    bound = graph.add("Add", graph.add("Abs", confidence), graph.constant(np.array(1.0)))
    third = graph.add("Mul", bound, graph.constant(np.array(3.0)))
    decision = graph.add("Add", votes, graph.add("Div", confidence, third))
    return Answer(classes, winner=winner(graph, votes), decision=decision)


def _ensemble(
    graph: Graph, columns: Columns, trees: Sequence[tuple[Tree, Array]], exact: bool
) -> tuple[str, str, Dtype]:
    """Index of the winner and scores (rows, classes): the sum of the leaves' weights.

    ``trees`` go with (nodes, classes) weights, of which only those of leaves count. Of two classes
    the scores are [-s, s], s being half the difference of their sums. Thresholds and sums are
    float64; the scores leave the node as float32 unless ``exact``.
    """
    classes = trees[0][1].shape[1]
    # A scaler in front is worth two nodes; the thresholds can say the same, to the last bit.
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
    """The same scores in float64: every tree answers the place of its leaf in a table of weights."""
    leaves = [np.flatnonzero(tree.left < 0) for tree, _ in trees]
    ends = np.cumsum([len(leaf) for leaf in leaves])
    starts = np.concatenate([[0], ends[:-1]])
    owner = np.repeat(np.arange(len(trees)), [len(leaf) for leaf in leaves])
    places = np.concatenate([np.arange(len(leaf)) for leaf in leaves])
    attributes = _nodes([tree for tree, _ in trees]) | {
        "target_treeids": owner.tolist(),
        "target_nodeids": np.concatenate(leaves).tolist(),
        "target_ids": owner.tolist(),
        "target_weights_as_tensor": numpy_helper.from_array(places.astype(np.float64), "places"),
    }
    place = graph.add("TreeEnsembleRegressor", x, domain=ML, n_targets=len(trees), **attributes)
    index = graph.add("Add", graph.cast(place, "int64"), graph.constant(starts.astype(np.int64)))
    table = np.concatenate([weights[leaf] for leaf, (_, weights) in zip(leaves, trees, strict=True)])
    if table.shape[1] == 2:
        half = (table[:, 1:] - table[:, :1]) / 2
        table = np.hstack([-half, half])
    weights = graph.add("Gather", graph.constant(table), index)
    return graph.add("ReduceSum", weights, graph.constant(np.array([1], np.int64)), keepdims=0)


def _one_sided(trees: Sequence[tuple[Tree, Array]]) -> list[tuple[Tree, Array]]:
    """One weight per leaf, speaking for the second class.

    ONNX Runtime takes two classes for a case of their own: with a single weight per leaf it
    answers [-s, s] and the second class where s > 0, but only if some weight is negative.
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
    inner = joined("left") >= 0
    missing = joined("missing_left") & inner
    attributes: dict[str, object] = {
        "nodes_treeids": np.repeat(np.arange(len(trees)), sizes).tolist(),
        "nodes_nodeids": np.concatenate([np.arange(size) for size in sizes]).tolist(),
        "nodes_modes": np.where(inner, "BRANCH_LEQ", "LEAF").tolist(),
        "nodes_featureids": np.where(inner, joined("feature"), 0).tolist(),
        "nodes_truenodeids": np.where(inner, joined("left"), 0).tolist(),
        "nodes_falsenodeids": np.where(inner, joined("right"), 0).tolist(),
        "nodes_values_as_tensor": numpy_helper.from_array(
            np.where(inner, joined("threshold"), 0.0), "splits"
        ),
    }
    if missing.any():
        attributes["nodes_missing_value_tracks_true"] = missing.astype(int).tolist()
    return attributes


def _leaves(trees: Sequence[tuple[Tree, Array]]) -> dict[str, object]:
    """A leaf names the classes it has a weight for, or else the first: none goes without."""
    tree_ids, node_ids, class_ids, weights = [], [], [], []
    for index, (tree, values) in enumerate(trees):
        named = (values != 0) & (tree.left < 0)[:, None]
        named[:, 0] |= (tree.left < 0) & ~named.any(axis=1)
        leaf, label = np.nonzero(named)
        tree_ids.append(np.full(len(leaf), index))
        node_ids.append(leaf)
        class_ids.append(label)
        weights.append(values[leaf, label])
    return {
        "class_treeids": np.concatenate(tree_ids).tolist(),
        "class_nodeids": np.concatenate(node_ids).tolist(),
        "class_ids": np.concatenate(class_ids).tolist(),
        "class_weights_as_tensor": numpy_helper.from_array(
            np.concatenate(weights).astype(np.float64), "weights"
        ),
    }


def _tree(graph: Graph, model: DecisionTreeClassifier, columns: Columns, exact: bool) -> Answer:
    tree = grown(model.tree_)
    return _votes(graph, columns, [(tree, tree.value)], exact)


def _forest(graph: Graph, model: RandomForestClassifier, columns: Columns, exact: bool) -> Answer:
    trees = [grown(estimator.tree_) for estimator in model.estimators_]
    return _votes(graph, columns, [(tree, tree.value) for tree in trees], exact)


def _votes(graph: Graph, columns: Columns, trees: Sequence[tuple[Tree, Array]], exact: bool) -> Answer:
    """Probabilities are the trees' mean: summed first and divided afterwards, so equal votes stay equal."""
    chosen, scores, dtype = _ensemble(graph, columns, trees, exact)
    classes = trees[0][1].shape[1]
    if classes == 2 and dtype == "float32" and _has_reciprocal(len(trees)):
        # One node for (scores + trees / 2) / trees.
        scores = graph.add("Scaler", scores, domain=ML, offset=[-len(trees) / 2], scale=[1 / len(trees)])
        return Answer(classes, winner=chosen, probabilities=scores, dtype=dtype)
    if len(trees) > 1:
        scores = graph.add("Div", scores, graph.constant(np.array(len(trees), dtype)))
    if classes == 2:
        scores = graph.add("Add", scores, graph.constant(np.array(0.5, dtype)))
    return Answer(classes, winner=chosen, probabilities=scores, dtype=dtype)


def _has_reciprocal(count: int) -> bool:
    """Whether to multiply with 1 / count leaves 1 and 1/2 of the votes what they are, in float32."""
    share = np.float32(1 / count)
    return all(np.float32(votes) * share == np.float32(votes / count) for votes in (count, count / 2))


def _boosted(graph: Graph, columns: Columns, trees: Sequence[tuple[Tree, Array]], exact: bool) -> Answer:
    """Scores that become probabilities by softmax, or for [-s, s] by the logistic function of s."""
    chosen, scores, dtype = _ensemble(graph, columns, trees, exact)
    classes = trees[0][1].shape[1]
    probabilities = graph.add("Sigmoid", scores) if classes == 2 else graph.add("Softmax", scores, axis=1)
    return Answer(classes, winner=chosen, probabilities=probabilities, decision=scores, dtype=dtype)


def _staged(stages: list[list[Tree]], rate: float, base: Array) -> list[tuple[Tree, Array]]:
    """Boosting: one tree per stage and class, or per stage for the second of two classes."""
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
) -> Answer:
    if model.init is not None and model.init != "zero":
        raise NoGraph("init= an estimator of your own has no graph", "leave init out")
    if model.loss != "log_loss":
        raise NoGraph(f"loss={model.loss!r} has no graph", "use loss='log_loss'")
    base = model._raw_predict_init(np.zeros((1, model.n_features_in_), np.float32)).ravel()
    stages = [[grown(tree.tree_) for tree in stage] for stage in model.estimators_]
    return _boosted(graph, columns, _staged(stages, model.learning_rate, base), exact)


def _hist_gradient_boosting(
    graph: Graph, model: HistGradientBoostingClassifier, columns: Columns, exact: bool
) -> Answer:
    if model.is_categorical_ is not None and np.any(model.is_categorical_):
        raise NoGraph(
            "its native categorical splits have no graph",
            "put a ColumnTransformer with OneHotEncoder or "
            "OrdinalEncoder in front and set categorical_features=None",
        )
    stages = [[boosted(predictor) for predictor in stage] for stage in model._predictors]
    base = np.asarray(model._baseline_prediction, np.float64).ravel()
    return _boosted(graph, columns, _staged(stages, 1.0, base), exact)


def _ada_boost(graph: Graph, model: AdaBoostClassifier, columns: Columns, exact: bool) -> Answer:
    if type(model.estimators_[0]) not in (DecisionTreeClassifier, ExtraTreeClassifier):
        raise NoGraph("only decision trees can be its estimator", "leave estimator= out or give it one")
    classes, total = len(model.classes_), float(model.estimator_weights_.sum())
    trees = []
    for estimator, weight in zip(model.estimators_, model.estimator_weights_, strict=False):
        tree, share = grown(estimator.tree_), weight / total
        votes = np.full((len(tree.left), classes), -share / (classes - 1))
        # An estimator may have seen fewer classes than the ensemble.
        own = np.searchsorted(model.classes_, estimator.classes_)
        votes[np.arange(len(votes)), own[tree.value.argmax(axis=1)]] = share
        trees.append((tree, 2.0 * votes if classes == 2 else votes))
    if classes == 2:
        return _boosted(graph, columns, trees, exact)
    chosen, scores, dtype = _ensemble(graph, columns, trees, exact)
    shared = graph.add("Div", scores, graph.constant(np.array(classes - 1, dtype)))
    probabilities = graph.add("Softmax", shared, axis=1)
    return Answer(classes, winner=chosen, probabilities=probabilities, decision=scores, dtype=dtype)


TREE_RECIPES: dict[type, TreeRecipe] = {
    DecisionTreeClassifier: _tree,
    ExtraTreeClassifier: _tree,
    RandomForestClassifier: _forest,
    ExtraTreesClassifier: _forest,
    GradientBoostingClassifier: _gradient_boosting,
    HistGradientBoostingClassifier: _hist_gradient_boosting,
    AdaBoostClassifier: _ada_boost,
}

RECIPES: dict[type, Recipe] = {
    LogisticRegression: _softmax_model,
    LogisticRegressionCV: _softmax_model,
    LinearDiscriminantAnalysis: _softmax_model,
    LinearSVC: _scores_model,
    RidgeClassifier: _scores_model,
    RidgeClassifierCV: _scores_model,
    Perceptron: _scores_model,
    PassiveAggressiveClassifier: _scores_model,
    SGDClassifier: _sgd,
    MLPClassifier: _mlp,
    GaussianNB: _gaussian,
    KNeighborsClassifier: _neighbors,
    SVC: _svc,
    NuSVC: _svc,
}
