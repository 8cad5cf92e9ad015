"""The nodes of trees: as scikit-learn has fitted them, and as a graph has them written.

The fitted ones are read from scikit-learn's own arrays, not from the form that the converters write them
from, so that a mistake in that form is seen as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper
from sklearn.ensemble import AdaBoostClassifier, IsolationForest

from unpickled.export.tree_classes import FORESTS, GRADIENT_BOOSTINGS, HISTOGRAMS, TREES

Array = npt.NDArray[Any]

# The values of nodes_modes for a split at a threshold, and for one that asks for a set of categories.
_LEQ, _MEMBER = 0, 6


@dataclass(frozen=True, slots=True, eq=False)
class Nodes:
    """The splits of all trees, one after the other, and the leaves of all trees.

    ``left`` and ``right`` are places among the leaves where ``left_leaf`` and ``right_leaf`` are true, else
    among the splits. ``roots`` (trees,) are places among the splits: a tree of one leaf has a split with this
    leaf on both sides. ``values`` is (leaves, outputs). ``sets`` has the codes of the categories that go
    left, for the place of each split that asks for them; such a split has no threshold.
    """

    roots: Array
    feature: Array
    threshold: Array
    missing_left: Array
    left: Array
    right: Array
    left_leaf: Array
    right_leaf: Array
    values: Array
    sets: Mapping[int, tuple[int, ...]] = field(default_factory=dict)

    @property
    def divides(self) -> Array:
        """(splits,): whether a split has two sides."""
        alike = (self.left == self.right) & self.left_leaf & self.right_leaf
        return np.asarray(~alike)

    @property
    def has_threshold(self) -> Array:
        """(splits,): whether a split has two sides, parted by a threshold."""
        divides = self.divides.copy()
        divides[list(self.sets)] = False
        return divides


def fitted(estimator: Any, outputs: int) -> Nodes | None:
    """The nodes of an estimator whose leaves add to so many outputs; None for trees of other kinds.

    One output of a forest of two classes is the second one.
    """
    if type(estimator) in (*TREES, *FORESTS):
        trees = [member.tree_ for member in getattr(estimator, "estimators_", [estimator])]
        votes = np.concatenate([tree.value.reshape(tree.node_count, -1) for tree in trees])
        return _grown(trees, votes[:, 1:] if votes.shape[1] == 2 and outputs == 1 else votes)
    if type(estimator) is IsolationForest:
        return _isolating(estimator)
    if type(estimator) is AdaBoostClassifier:
        return _ada_boosted(estimator)
    if type(estimator) in GRADIENT_BOOSTINGS:
        base = estimator._raw_predict_init(np.zeros((1, estimator.n_features_in_), np.float32)).ravel()
        trees = [member.tree_ for member in estimator.estimators_.ravel()]
        values = [estimator.learning_rate * tree.value[:, 0, 0] for tree in trees]
        return _grown(trees, _by_output(values, np.asarray(base, np.float64)))
    if type(estimator) in HISTOGRAMS:
        return _hist_boosted(estimator)
    return None


def _ada_boosted(model: AdaBoostClassifier) -> Nodes | None:
    """The nodes of AdaBoost, whose leaves add the tree's weight to the class that the tree answers.

    With two classes there is one sum, from which the weight is taken for the first one. None for trees of
    other kinds.
    """
    members, classes = model.estimators_, len(model.classes_)
    if not all(type(member) in TREES for member in members) or getattr(model, "algorithm", "") == "SAMME.R":
        return None
    blocks = []
    for member, weight in zip(members, model.estimator_weights_, strict=False):
        answers = member.classes_.take(member.tree_.value[:, 0, :].argmax(axis=1))
        votes = (answers[:, None] == model.classes_).astype(np.float64)
        blocks.append(weight * (2.0 * votes[:, 1:] - 1.0 if classes == 2 else votes))
    return _grown([member.tree_ for member in members], np.concatenate(blocks))


def _isolating(forest: IsolationForest) -> Nodes:
    """The nodes of an isolation forest, whose leaves add the expected length of a way."""
    trees = [member.tree_ for member in forest.estimators_]
    ways = zip(forest._decision_path_lengths, forest._average_path_length_per_tree, strict=True)
    nodes = _grown(trees, np.concatenate([depth + average - 1.0 for depth, average in ways])[:, None])
    if forest._max_features == forest.n_features_in_:
        return nodes
    # Each tree counts the columns of its own choice.
    columns = np.stack(forest.estimators_features_)
    owner = np.searchsorted(nodes.roots, np.arange(len(nodes.feature)), side="right") - 1
    return replace(nodes, feature=np.where(nodes.divides, columns[owner, nodes.feature], 0))


def _by_output(values: list[Array], base: Array) -> Array:
    """(nodes, outputs): the values of each tree in the column of its output, the first ones with the base."""
    blocks = []
    for index, value in enumerate(values):
        output = index % len(base)
        block = np.zeros((len(value), len(base)))
        block[:, output] = value + base[output] if index < len(base) else value
        blocks.append(block)
    return np.concatenate(blocks)


def _grown(trees: list[Any], values: Array) -> Nodes:
    def joined(name: str) -> Array:
        return np.concatenate([getattr(tree, name) for tree in trees])

    return _numbered(
        sizes=np.array([tree.node_count for tree in trees]),
        leaf=joined("children_left") == -1,
        left=joined("children_left"),
        right=joined("children_right"),
        feature=joined("feature"),
        threshold=joined("threshold"),
        missing_left=joined("missing_go_to_left"),
        values=values,
    )


def _hist_boosted(estimator: Any) -> Nodes:
    """The nodes of histogram gradient boosting."""
    predictors = [predictor for stage in estimator._predictors for predictor in stage]
    trees = [predictor.nodes for predictor in predictors]
    sizes, nodes = np.array([len(tree) for tree in trees]), np.concatenate(trees)
    leaf, base = nodes["is_leaf"].astype(bool), np.asarray(estimator._baseline_prediction, np.float64).ravel()
    fitted = _numbered(
        sizes=sizes,
        leaf=leaf,
        left=nodes["left"],
        right=nodes["right"],
        feature=nodes["feature_idx"],
        threshold=nodes["num_threshold"],
        missing_left=nodes["missing_go_to_left"],
        values=_by_output([tree["value"] for tree in trees], base),
    )
    # A tree of one leaf has a split too.
    place = np.cumsum(~leaf | (np.repeat(sizes, sizes) == 1)) - 1
    owner = np.repeat(np.arange(len(trees)), sizes)
    sets = {
        int(place[node]): _bits(predictors[owner[node]].raw_left_cat_bitsets[nodes["bitset_idx"][node]])
        for node in np.flatnonzero(nodes["is_categorical"].astype(bool) & ~leaf)
    }
    return replace(fitted, sets=sets)


def _bits(words: Array) -> tuple[int, ...]:
    """The places of the bits that are set in these words of 32 bits."""
    return tuple(
        32 * place + bit for place, word in enumerate(words.tolist()) for bit in range(32) if word >> bit & 1
    )


def _numbered(
    sizes: Array,
    leaf: Array,
    left: Array,
    right: Array,
    feature: Array,
    threshold: Array,
    missing_left: Array,
    values: Array,
) -> Nodes:
    """Nodes whose children are places in their own tree, which has this size."""
    starts = np.concatenate([[0], np.cumsum(sizes[:-1])]).astype(np.int64)
    start = np.repeat(starts, sizes)
    # A tree of one leaf has a split too, with this leaf on both sides.
    alone = leaf & (np.repeat(sizes, sizes) == 1)
    split = ~leaf | alone
    itself = np.arange(len(leaf))
    left, right = (np.where(alone, itself, start + side)[split] for side in (left, right))
    place = np.where(leaf, np.cumsum(leaf), np.cumsum(split)) - 1

    def of_splits(column: Array, dtype: Any) -> Array:
        return np.asarray(np.where(alone, 0, column)[split].astype(dtype))

    return Nodes(
        roots=(np.cumsum(split) - 1)[starts],
        feature=of_splits(feature, np.int64),
        threshold=of_splits(threshold, np.float64),
        missing_left=of_splits(missing_left, bool),
        left=place[left],
        right=place[right],
        left_leaf=leaf[left],
        right_leaf=leaf[right],
        values=values[leaf],
    )


def written(model: onnx.ModelProto) -> Nodes | None:
    """The nodes of the graph's only trees; None if there are no such, or more, or none that can be read."""
    ensembles = [node for node in model.graph.node if node.op_type.startswith("TreeEnsemble")]
    if len(ensembles) != 1:
        return None
    read = {"TreeEnsemble": _summed, "TreeEnsembleClassifier": _classified}.get(ensembles[0].op_type)
    return read(model, ensembles[0]) if read else None


def _summed(model: onnx.ModelProto, ensemble: onnx.NodeProto) -> Nodes | None:
    attributes = {attribute.name: attribute for attribute in ensemble.attribute}
    outputs, splits = attributes["n_targets"].i, _ints(attributes, "nodes_featureids")
    output, weight = _ints(attributes, "leaf_targetids"), _tensor(attributes, "leaf_weights")
    modes = _tensor(attributes, "nodes_modes")
    if not np.isin(modes, (_LEQ, _MEMBER)).all() or (output >= outputs).any():
        return None
    values = _looked_up(model, ensemble.output[0], output, weight)
    if values is None:
        values = np.zeros((len(weight), outputs))
        values[np.arange(len(weight)), output] = weight
    missing = _ints(attributes, "nodes_missing_value_tracks_true")
    return Nodes(
        roots=_ints(attributes, "tree_roots"),
        feature=splits,
        threshold=_tensor(attributes, "nodes_splits"),
        missing_left=missing.astype(bool) if len(missing) else np.zeros(len(splits), bool),
        left=_ints(attributes, "nodes_truenodeids"),
        right=_ints(attributes, "nodes_falsenodeids"),
        left_leaf=_ints(attributes, "nodes_trueleafs").astype(bool),
        right_leaf=_ints(attributes, "nodes_falseleafs").astype(bool),
        values=values,
        sets=dict(zip(np.flatnonzero(modes == _MEMBER).tolist(), _members(attributes), strict=True)),
    )


def _members(attributes: dict[str, onnx.AttributeProto]) -> list[tuple[int, ...]]:
    """The sets of categories, each of which ends with NaN. No category has a negative code."""
    if "membership_values" not in attributes:
        return []
    numbers = _tensor(attributes, "membership_values")
    sets = np.split(numbers, np.flatnonzero(np.isnan(numbers)) + 1)[:-1]
    return [tuple(int(number) for number in members[:-1] if number >= 0) for members in sets]


def _looked_up(model: onnx.ModelProto, places: str, tree: Array, place: Array) -> Array | None:
    """(leaves, outputs): the leaves' lines in a table, if the trees answer places to look up there."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    tables: list[Array] = []
    for op, constant in (("Cast", None), ("Add", 1), ("Gather", 0)):
        reader = [node for node in model.graph.node if places in node.input]
        if len(reader) != 1 or reader[0].op_type != op:
            return None
        if constant is not None:
            if reader[0].input[constant] not in constants:
                return None
            tables.append(numpy_helper.to_array(constants[reader[0].input[constant]]))
        places = reader[0].output[0]
    starts, table = tables
    return np.asarray(table[starts[tree] + place.astype(np.int64)])


def _classified(model: onnx.ModelProto, ensemble: onnx.NodeProto) -> Nodes | None:
    """The nodes of the older operator; None if they are not written in the order of their places."""
    attributes = {attribute.name: attribute for attribute in ensemble.attribute}
    tree, node = (_ints(attributes, f"nodes_{name}") for name in ("treeids", "nodeids"))
    sizes = np.bincount(tree)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    if not np.array_equal(tree, np.repeat(np.arange(len(sizes)), sizes)):
        return None
    modes = np.array(list(attributes["nodes_modes"].strings))
    leaf = modes == b"LEAF"
    orderly = np.array_equal(node, np.arange(len(node)) - starts[tree])
    if not orderly or not (leaf | (modes == b"BRANCH_LEQ")).all():
        return None
    values = _weights(attributes, starts, leaf)
    missing = _ints(attributes, "nodes_missing_value_tracks_true")
    return (
        None
        if values is None
        else _numbered(
            sizes=sizes,
            leaf=leaf,
            left=_ints(attributes, "nodes_truenodeids"),
            right=_ints(attributes, "nodes_falsenodeids"),
            feature=_ints(attributes, "nodes_featureids"),
            threshold=_tensor(attributes, "nodes_values_as_tensor"),
            missing_left=missing if len(missing) else np.zeros(len(leaf), np.int64),
            values=values,
        )
    )


def _weights(attributes: dict[str, onnx.AttributeProto], starts: Array, leaf: Array) -> Array | None:
    """(nodes, outputs): the sum of each leaf's weights; None if there are weights of anything else."""
    place = starts[_ints(attributes, "class_treeids")] + _ints(attributes, "class_nodeids")
    output, outputs = _ints(attributes, "class_ids"), len(attributes["classlabels_int64s"].ints)
    if not leaf[place].all() or (output >= outputs).any():
        return None
    weights = np.zeros((len(leaf), outputs))
    np.add.at(weights, (place, output), _tensor(attributes, "class_weights_as_tensor"))
    return weights


def _ints(attributes: dict[str, onnx.AttributeProto], name: str) -> Array:
    """The whole numbers of an attribute; none if the node lacks it."""
    return np.array(attributes[name].ints if name in attributes else [], dtype=np.int64)


def _tensor(attributes: dict[str, onnx.AttributeProto], name: str) -> Array:
    return np.asarray(numpy_helper.to_array(attributes[name].t))
