"""The way of rows through trees in operators of ``ai.onnx`` alone, which any execution provider may run.

All trees of all rows go down one level at a time, as deep as the deepest tree. A leaf leads to itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from unpickled.export.graph import Array, Dtype, Graph
from unpickled.export.trees import Tree

# A column, and the codes of the categories in a set of it.
_Set = tuple[int, tuple[float, ...]]


def leaf(graph: Graph, x: str, trees: Sequence[Tree], dtype: Dtype = "float64") -> str:
    """int64 (rows, trees): the leaf that a row of x reaches, among the leaves of all trees."""
    x, trees = _sides(graph, x, trees, dtype)
    branches = _Branches.of(trees)
    node = _started(graph, x, branches.roots)
    for _ in range(branches.depth):
        node = _down(graph, x, node, branches, dtype)
    places = np.cumsum(branches.is_leaf) - 1
    return graph.add("Gather", graph.constant(places.astype(np.int64)), node)


@dataclass(frozen=True, slots=True, eq=False)
class _Branches:
    """The nodes of all trees, one after the other; ``ways`` has the left and right way of each in turn."""

    roots: Array
    ways: Array
    feature: Array
    threshold: Array
    missing_right: Array
    is_leaf: Array
    depth: int

    @classmethod
    def of(cls, trees: Sequence[Tree]) -> "_Branches":
        roots = np.cumsum([0, *(len(tree.left) for tree in trees[:-1])], dtype=np.int64)
        is_leaf = np.concatenate([tree.left < 0 for tree in trees])
        place = np.arange(len(is_leaf))
        left, right = (
            np.concatenate([getattr(tree, side) + root for tree, root in zip(trees, roots, strict=True)])
            for side in ("left", "right")
        )
        ways = np.stack([np.where(is_leaf, place, left), np.where(is_leaf, place, right)], axis=1)
        threshold = np.concatenate([tree.threshold for tree in trees])
        missing_left = np.concatenate([tree.missing_left for tree in trees])
        return cls(
            roots=roots,
            ways=ways.ravel(),
            feature=np.where(is_leaf, 0, np.concatenate([tree.feature for tree in trees])),
            threshold=np.where(is_leaf, np.inf, threshold),
            missing_right=~is_leaf & ~missing_left,
            is_leaf=is_leaf,
            depth=max(map(_depth, trees)),
        )


def _depth(tree: Tree) -> int:
    """How many splits the longest way through a tree has."""
    level, depth = np.array([0]), 0
    while len(level := level[tree.left[level] >= 0]):
        level, depth = np.concatenate([tree.left[level], tree.right[level]]), depth + 1
    return depth


def _started(graph: Graph, x: str, roots: Array) -> str:
    """(rows, trees): the root of each tree."""
    rows = graph.add("Shape", x, start=0, end=1)
    shape = graph.add("Concat", rows, graph.constant(np.array([len(roots)], np.int64)), axis=0)
    return graph.add("Expand", graph.constant(roots[None, :]), shape)


def _down(graph: Graph, x: str, node: str, branches: _Branches, dtype: Dtype) -> str:
    """The node of each row and tree, one level further down."""
    feature = graph.add("Gather", graph.constant(branches.feature), node)
    number = graph.add("GatherElements", x, feature, axis=1)
    threshold = graph.add("Gather", graph.constant(branches.threshold.astype(dtype)), node)
    right = graph.add("Greater", number, threshold)
    if branches.missing_right.any():
        # NaN is greater than nothing.
        missing = graph.add("Gather", graph.constant(branches.missing_right), node)
        right = graph.add("Or", right, graph.add("And", graph.add("IsNaN", number), missing))
    way = graph.add("Add", graph.add("Add", node, node), graph.cast(right, "int64"))
    return graph.add("Gather", graph.constant(branches.ways), way)


def _sides(graph: Graph, x: str, trees: Sequence[Tree], dtype: Dtype) -> tuple[str, Sequence[Tree]]:
    """The numbers behind a column for each set of categories, and the trees that split these columns.

    Such a column is 0 for a category of its set, NaN for a missing one, and 1 for any other.
    """
    sets = dict.fromkeys(_set(tree, node) for tree in trees for node in tree.sets)
    if not sets:
        return x, trees
    places = {chosen: place for place, chosen in enumerate(sets)}
    columns = [_side(graph, x, feature, codes, dtype) for feature, codes in sets]
    return graph.add("Concat", *columns, x, axis=1), [_without_sets(tree, places) for tree in trees]


def _set(tree: Tree, node: int) -> _Set:
    return int(tree.feature[node]), tuple(sorted(tree.sets[node].tolist()))


def _without_sets(tree: Tree, places: Mapping[_Set, int]) -> Tree:
    """The tree with splits of columns, at these places before all others, instead of its sets."""
    feature, threshold = tree.feature + len(places), tree.threshold.copy()
    for node in tree.sets:
        feature[node], threshold[node] = places[_set(tree, node)], 0.5
    return replace(tree, feature=feature, threshold=threshold, sets={})


def _side(graph: Graph, x: str, feature: int, codes: Sequence[float], dtype: Dtype) -> str:
    """(rows, 1): the side of each row's category."""
    column = graph.add("Gather", x, graph.constant(np.array([feature], np.int64)), axis=1)
    equal = graph.cast(graph.add("Equal", column, graph.constant(np.array([codes], dtype))), dtype)
    member = graph.add("ReduceSum", equal, graph.constant(np.array([1], np.int64)), keepdims=1)
    side = graph.add("Sub", graph.constant(np.array(1.0, dtype)), member)
    gap = graph.constant(np.array(np.nan, dtype))
    return graph.add("Where", graph.add("IsNaN", column), gap, side)
