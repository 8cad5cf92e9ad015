"""Trees without the nodes that make no difference."""

import numpy as np

from unpickled.export.trees import Bools, Ints, Tree


def pruned(tree: Tree, unreachable: Bools) -> Tree:
    """The tree without the leaves that no row reaches, and without splits whose sides answer alike.

    ``unreachable`` says of each node whether it is a leaf that no row reaches; an empty set sends no row to
    the left. The answers do not change.
    """
    left, right = tree.left.copy(), tree.right.copy()
    # The node that takes each node's place, -1 if no row reaches it.
    standing = np.where(unreachable, -1, np.arange(len(left)))
    empty = np.zeros(len(left), bool)
    empty[[node for node, codes in tree.sets.items() if not len(codes)]] = True
    for level in _levels(tree.left, tree.right, 0)[::-1]:
        nodes = level[tree.left[level] >= 0]
        below, above = np.where(empty[nodes], -1, standing[left[nodes]]), standing[right[nodes]]
        single = (below < 0) | (above < 0) | _alike(tree, below, above)
        standing[nodes] = np.where(single, np.where(below < 0, above, below), nodes)
        left[nodes], right[nodes] = below, above
    kept = np.concatenate(_levels(left, right, int(standing[0])))
    place = np.full(len(left) + 1, -1, np.int64)
    place[kept] = np.arange(len(kept))
    return Tree(
        left=place[left[kept]],
        right=place[right[kept]],
        feature=tree.feature[kept],
        threshold=tree.threshold[kept],
        missing_left=tree.missing_left[kept],
        value=tree.value[kept],
        sets={int(place[node]): codes for node, codes in tree.sets.items() if place[node] >= 0},
    )


def _levels(left: Ints, right: Ints, root: int) -> list[Ints]:
    """The nodes below a root, level by level."""
    levels, level = [], np.array([root], np.int64)
    while len(level):
        levels.append(level)
        inner = level[left[level] >= 0]
        level = np.stack([left[inner], right[inner]], axis=1).ravel()
    return levels


def _alike(tree: Tree, one: Ints, other: Ints) -> Bools:
    """Whether two nodes are leaves with one answer."""
    leaves = (tree.left[one] < 0) & (tree.left[other] < 0)
    return np.asarray(leaves & (tree.value[one] == tree.value[other]).all(axis=1))
