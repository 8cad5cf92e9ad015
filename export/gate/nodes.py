"""The nodes of trees: as scikit-learn has fitted them, and as a graph has them written.

The fitted ones are read from scikit-learn's own arrays, not from the form that the recipes write them from,
so that a mistake in that form is seen as well.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.tree import DecisionTreeClassifier, ExtraTreeClassifier

Array = npt.NDArray[Any]

_FORESTS = (DecisionTreeClassifier, ExtraTreeClassifier, RandomForestClassifier, ExtraTreesClassifier)


@dataclass(frozen=True, slots=True, eq=False)
class Nodes:
    """The nodes of all trees, one after the other; ``sizes`` (trees,) counts them.

    ``left`` and ``right`` are places in the node's own tree, 0 at a leaf like ``feature``, ``threshold`` and
    ``missing_left``. ``weights`` (nodes, columns) is 0 at a split.
    """

    sizes: Array
    leaf: Array
    left: Array
    right: Array
    feature: Array
    threshold: Array
    missing_left: Array
    weights: Array


def fitted(estimator: Any) -> Nodes | None:
    """The nodes of an estimator with what its leaves add to the scores; None for trees of other kinds."""
    if type(estimator) in _FORESTS:
        members = getattr(estimator, "estimators_", [estimator])
        trees = [member.tree_ for member in members]
        votes = np.concatenate([tree.value[:, 0, :] for tree in trees])
        return _grown(trees, votes if votes.shape[1] > 2 else (votes[:, 1:] - votes[:, :1]) / 2)
    if type(estimator) is GradientBoostingClassifier:
        base = estimator._raw_predict_init(np.zeros((1, estimator.n_features_in_), np.float32)).ravel()
        trees = [member.tree_ for member in estimator.estimators_.ravel()]
        values = [estimator.learning_rate * tree.value[:, 0, 0] for tree in trees]
        return _grown(trees, _by_output(values, np.asarray(base, np.float64)))
    if type(estimator) is HistGradientBoostingClassifier:
        return _hist_boosted(estimator)
    return None


def _by_output(values: list[Array], base: Array) -> Array:
    """(nodes, outputs): the values of each tree in the column of its output, the first ones with the base."""
    blocks = []
    for index, value in enumerate(values):
        output = index % len(base)
        block = np.zeros((len(value), len(base)))
        block[:, output] = value + base[output] if index < len(base) else value
        blocks.append(block)
    return np.concatenate(blocks)


def _grown(trees: list[Any], weights: Array) -> Nodes:
    def joined(name: str) -> Array:
        return np.concatenate([getattr(tree, name) for tree in trees])

    leaf = joined("children_left") == -1
    return _cleared(
        sizes=np.array([tree.node_count for tree in trees]),
        leaf=leaf,
        left=joined("children_left"),
        right=joined("children_right"),
        feature=joined("feature"),
        threshold=joined("threshold"),
        missing_left=joined("missing_go_to_left"),
        weights=weights,
    )


def _hist_boosted(estimator: HistGradientBoostingClassifier) -> Nodes | None:
    """The nodes of histogram gradient boosting; None if some split asks for a category."""
    trees = [predictor.nodes for stage in estimator._predictors for predictor in stage]
    nodes = np.concatenate(trees)
    leaf = nodes["is_leaf"].astype(bool)
    if (nodes["is_categorical"].astype(bool) & ~leaf).any():
        return None
    base = np.asarray(estimator._baseline_prediction, np.float64).ravel()
    return _cleared(
        sizes=np.array([len(tree) for tree in trees]),
        leaf=leaf,
        left=nodes["left"],
        right=nodes["right"],
        feature=nodes["feature_idx"],
        threshold=nodes["num_threshold"],
        missing_left=nodes["missing_go_to_left"],
        weights=_by_output([tree["value"] for tree in trees], base),
    )


def _cleared(sizes: Array, leaf: Array, weights: Array, **of_splits: Array) -> Nodes:
    """These nodes, with zeros at the leaves for what only splits have, and for splits no weights."""
    columns = {
        name: np.where(leaf, 0, column.astype(np.float64 if name == "threshold" else np.int64))
        for name, column in of_splits.items()
    }
    return Nodes(sizes=sizes, leaf=leaf, weights=np.where(leaf[:, None], weights, 0.0), **columns)


def written(ensemble: onnx.NodeProto, trees: int, outputs: int) -> Nodes | None:
    """The nodes of so many trees of the graph; None if they are not written in the order of their places.

    One tree more is allowed, which adds nothing: for two classes ONNX Runtime needs a negative weight.
    """
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
    weights = _weights(attributes, starts, leaf, outputs)
    if weights is None or not _adds_nothing(attributes, starts, weights, trees):
        return None
    end = int(starts[trees])
    missing = _ints(attributes, "nodes_missing_value_tracks_true")
    return _cleared(
        sizes=sizes[:trees],
        leaf=leaf[:end],
        left=_ints(attributes, "nodes_truenodeids")[:end],
        right=_ints(attributes, "nodes_falsenodeids")[:end],
        feature=_ints(attributes, "nodes_featureids")[:end],
        threshold=numpy_helper.to_array(attributes["nodes_values_as_tensor"].t)[:end],
        missing_left=missing[:end] if len(missing) else np.zeros(end, np.int64),
        weights=weights[:end],
    )


def _weights(
    attributes: dict[str, onnx.AttributeProto], starts: Array, leaf: Array, outputs: int
) -> Array | None:
    """(nodes, outputs): the sum of each leaf's weights; None if there are weights of anything else."""
    place = starts[_ints(attributes, "class_treeids")] + _ints(attributes, "class_nodeids")
    output = _ints(attributes, "class_ids")
    if not leaf[place].all() or not set(np.unique(output)) <= set(range(outputs)):
        return None
    weights = np.zeros((len(leaf), outputs))
    np.add.at(weights, (place, output), numpy_helper.to_array(attributes["class_weights_as_tensor"].t))
    return weights


def _adds_nothing(
    attributes: dict[str, onnx.AttributeProto], starts: Array, weights: Array, trees: int
) -> bool:
    """Whether there are no more trees than these but one whose rows all reach a leaf without weight."""
    if len(starts) == trees + 1:
        return True
    if len(starts) != trees + 2:
        return False
    root, end = int(starts[trees]), int(starts[trees + 1])
    threshold = numpy_helper.to_array(attributes["nodes_values_as_tensor"].t)[root]
    missing = _ints(attributes, "nodes_missing_value_tracks_true")
    right = root + int(_ints(attributes, "nodes_falsenodeids")[root])
    to_the_right = threshold == -np.inf and not (len(missing) and missing[root])
    return bool(end - root == 3 and right == root + 2 and to_the_right and not weights[right].any())


def _ints(attributes: dict[str, onnx.AttributeProto], name: str) -> Array:
    """The whole numbers of an attribute; none if the node lacks it."""
    return np.array(attributes[name].ints if name in attributes else [], dtype=np.int64)
