"""The trees inside fitted estimators, in one shape whatever grew them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor
from sklearn.tree._tree import Tree as GrownTree

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Tree:
    """Arrays over nodes; node 0 is the root and ``left`` is -1 at a leaf.

    A float64 x goes left where ``x <= threshold``, and where it is NaN and ``missing_left``.
    ``value`` is (nodes, outputs).
    """

    left: Ints
    right: Ints
    feature: Ints
    threshold: Floats
    missing_left: Bools
    value: Floats

    @property
    def splits(self) -> Ints:
        """Indices of the nodes that are not leaves."""
        return np.flatnonzero(self.left >= 0)

    def visitors(self, rows: Floats) -> Ints:
        """For every node the index of one of these rows that reaches it, or -1. ``rows``: (n, features)."""
        visitor = np.full(len(self.left), -1, dtype=np.int64)
        index, node = np.arange(len(rows)), np.zeros(len(rows), dtype=np.int64)
        while len(index):
            visitor[node] = index
            inner = self.left[node] >= 0
            index, node = index[inner], node[inner]
            x = rows[index, self.feature[node]]
            left = np.where(np.isnan(x), self.missing_left[node], x <= self.threshold[node])
            node = np.where(left, self.left[node], self.right[node])
        return visitor


def grown(tree: GrownTree) -> Tree:
    """A decision tree's: it compares the float32 rounding of x, and says so in the thresholds."""
    return Tree(
        left=tree.children_left.astype(np.int64),
        right=tree.children_right.astype(np.int64),
        feature=np.maximum(tree.feature, 0).astype(np.int64),
        threshold=before_rounding(tree.threshold),
        missing_left=tree.missing_go_to_left.astype(bool),
        value=tree.value[:, 0, :].astype(np.float64),
    )


def boosted(predictor: TreePredictor) -> Tree:
    """A histogram gradient boosting tree's: it compares x itself. Numeric splits only."""
    nodes = predictor.nodes
    leaf = nodes["is_leaf"].astype(bool)
    return Tree(
        left=np.where(leaf, -1, nodes["left"].astype(np.int64)),
        right=np.where(leaf, -1, nodes["right"].astype(np.int64)),
        feature=np.where(leaf, 0, nodes["feature_idx"].astype(np.int64)),
        threshold=np.where(leaf, 0.0, nodes["num_threshold"]),
        missing_left=nodes["missing_go_to_left"].astype(bool),
        value=nodes["value"].astype(np.float64)[:, None],
    )


def before_rounding(threshold: Floats) -> Floats:
    """The largest float64 whose float32 rounding is <= threshold: no Cast is needed in front of it."""
    with np.errstate(over="ignore"):
        below = threshold.astype(np.float32)
    below = np.where(below > threshold, np.nextafter(below, np.float32(-np.inf)), below)
    above = np.nextafter(below, np.float32(np.inf))
    with np.errstate(over="ignore", invalid="ignore"):
        middle = below.astype(np.float64) / 2 + above.astype(np.float64) / 2
    # A number halfway between two float32 is rounded to the one with the even mantissa.
    even = below.view(np.int32) % 2 == 0
    limit = np.where(even, middle, np.nextafter(middle, -np.inf))
    return np.where(np.isfinite(threshold) & np.isfinite(limit), limit, threshold)
