"""A circle among the nodes of a tree would make a run that never ends: each node is reached in one way only.

ONNX Runtime starts at the roots and follows the children. Where no node is the child of two, and no root that
of any, the way down cannot come back.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from unpickled.server.artifact.protobuf import DAMAGED, INTS, STRINGS, Walk
from unpickled.server.errors import ArtifactError

# Key of the fields of a run, and where it begins and ends.
Run = tuple[int, int, int]
_Array = npt.NDArray[Any]

_ENDLESS = "its trees reach a node in two ways, or lead back to one above: a run of them might never end"
_DISORDER = "its trees are not those of an export: a node is missing, or not at its place"
# LEAF is the only mode with so few letters; none has a J, which is the key of a string.
_LEAF, _KEY = 4, STRINGS


def check(walk: Walk, kind: str, attributes: Mapping[str, Run]) -> None:
    """Raise ArtifactError unless the trees of a node end.

    Args:
        walk: The walk over the file.
        kind: The node's operator.
        attributes: The run of numbers or of texts of each of its attributes.
    """
    if kind == "TreeEnsemble":
        _check_splits(_Attributes(walk, attributes))
    elif kind in ("TreeEnsembleClassifier", "TreeEnsembleRegressor"):
        _check_nodes(_Attributes(walk, attributes))


class _Attributes:
    def __init__(self, walk: Walk, runs: Mapping[str, Run]) -> None:
        self._walk = walk
        self._runs = runs

    def numbers(self, name: str) -> _Array:
        """uint32: the numbers of an attribute; 2**32 - 1 stands for those that are no place of a node."""
        key, start, end = self._runs.get(name, (INTS, 0, 0))
        if key != INTS:
            raise ArtifactError(DAMAGED)
        return self._walk.numbers(start, end)

    def leaves(self) -> _Array:
        """bool (nodes,): whether each mode is that of a leaf."""
        _, start, end = self._runs.get("nodes_modes", (STRINGS, 0, 0))
        text = np.frombuffer(self._walk.data, np.uint8, end - start, start)
        keys = np.flatnonzero(text[:-1] == _KEY)
        sizes = text[keys + 1]
        if not np.array_equal(np.append(keys, len(text)), np.append(0, keys + 2 + sizes)):
            raise ArtifactError(DAMAGED)
        return np.asarray(sizes == _LEAF)


def _check_splits(attributes: _Attributes) -> None:
    """TreeEnsemble: splits and leaves are counted apart, over all trees."""
    left, right = attributes.numbers("nodes_truenodeids"), attributes.numbers("nodes_falsenodeids")
    left_leaf, right_leaf = attributes.numbers("nodes_trueleafs"), attributes.numbers("nodes_falseleafs")
    if not len(left) == len(right) == len(left_leaf) == len(right_leaf):
        raise ArtifactError(_DISORDER)
    children, leaf = np.concatenate([left, right]), np.concatenate([left_leaf, right_leaf]) != 0
    leaves = attributes.numbers("leaf_targetids")
    if (children[leaf] >= len(leaves)).any():
        raise ArtifactError(_DISORDER)
    _check_once(np.concatenate([children[~leaf], attributes.numbers("tree_roots")]), len(left))


def _check_nodes(attributes: _Attributes) -> None:
    """The older operators: nodes are counted within their tree, and a leaf is one of them."""
    tree, node = attributes.numbers("nodes_treeids"), attributes.numbers("nodes_nodeids")
    left, right = attributes.numbers("nodes_truenodeids"), attributes.numbers("nodes_falsenodeids")
    split = ~attributes.leaves()
    if not len(tree) == len(node) == len(left) == len(right) == len(split):
        raise ArtifactError(_DISORDER)
    first = np.append(True, tree[1:] != tree[:-1])[: len(tree)]
    starts = np.flatnonzero(first)
    sizes = np.diff(np.append(starts, len(tree)))
    start = np.repeat(starts, sizes)
    orderly = (np.diff(tree[starts].astype(np.int64)) > 0).all()
    if not orderly or not np.array_equal(node, np.arange(len(node)) - start):
        raise ArtifactError(_DISORDER)
    within = np.concatenate([left[split], right[split]])
    if (within >= np.tile(np.repeat(sizes, sizes)[split], 2)).any():
        raise ArtifactError(_DISORDER)
    _check_once(np.concatenate([within + np.tile(start[split], 2), starts]), len(tree))


def _check_once(places: _Array, count: int) -> None:
    """Each of the places is one of ``count`` nodes, and none occurs twice."""
    if (places >= count).any():
        raise ArtifactError(_DISORDER)
    if (np.bincount(places, minlength=1) > 1).any():
        raise ArtifactError(_ENDLESS)
