"""The node for forests whose leaves several of three or more classes share: ``TreeEnsembleClassifier``.

TreeEnsemble has one weight for each leaf. With a table of the leaves beside it, such a forest would be exact
in double precision, but take 1.1 to 3.9 times as long for 1,000 rows as in this operator, whose scores are
float32.
"""

from collections.abc import Sequence

import numpy as np
from onnx import numpy_helper

from unpickled.export.graph import ML, Array, Graph
from unpickled.export.trees import Tree


def votes(graph: Graph, x: str, trees: Sequence[Tree]) -> tuple[str, str]:
    """The winner's index, int64 (rows,), and the sums of the leaf values, float32 (rows, classes).

    Thresholds and sums are float64; the sums leave the node as float32.
    """
    classes = trees[0].value.shape[1]
    chosen, scores = graph.add_many(
        "TreeEnsembleClassifier",
        (x,),
        2,
        ML,
        classlabels_int64s=list(range(classes)),
        **_nodes(trees),
        **_leaves(trees),
    )
    return chosen, scores


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


def _leaves(trees: Sequence[Tree]) -> dict[str, object]:
    """Attributes with the leaf weights by class. A leaf without weights gets a 0, as each needs an entry."""
    tree_ids, node_ids, class_ids, weights = [], [], [], []
    for index, tree in enumerate(trees):
        values = tree.value
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
