"""The trees inside fitted estimators, in one form for all kinds of estimators."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import IsolationForest
from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor
from sklearn.tree._tree import Tree as GrownTree

from unpickled.export.categories import codes
from unpickled.export.ordered import bisect, floats, keys

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Tree:
    """A tree as arrays over its nodes; node 0 is the root, and ``left`` is -1 at a leaf.

    A row goes left if its float64 x is ``<= threshold``, or if x is NaN and ``missing_left`` is true.
    ``sets`` has the splits of categories: the codes that go left, for a node that has no threshold; every
    other number goes right. ``value`` is (nodes, outputs).
    """

    left: Ints
    right: Ints
    feature: Ints
    threshold: Floats
    missing_left: Bools
    value: Floats
    sets: Mapping[int, Ints] = field(default_factory=dict)

    @property
    def splits(self) -> Ints:
        """Indices of the nodes that are not leaves."""
        return np.flatnonzero(self.left >= 0)

    def visitors(self, rows: Floats) -> Ints:
        """For each node the index of one of these rows (n, features) that reaches it; -1 if none does."""
        visitor = np.full(len(self.left), -1, dtype=np.int64)
        index, node = np.arange(len(rows)), np.zeros(len(rows), dtype=np.int64)
        while len(index):
            visitor[node] = index
            inner = self.left[node] >= 0
            index, node = index[inner], node[inner]
            x = rows[index, self.feature[node]]
            below = x <= self.threshold[node]
            for split, members in self.sets.items():
                here = node == split
                below[here] = np.isin(x[here], members)
            left = np.where(np.isnan(x), self.missing_left[node], below)
            node = np.where(left, self.left[node], self.right[node])
        return visitor


def grown(tree: GrownTree) -> Tree:
    """A decision tree. It compares x rounded to float32; the thresholds here include the rounding."""
    return Tree(
        left=tree.children_left.astype(np.int64),
        right=tree.children_right.astype(np.int64),
        feature=np.maximum(tree.feature, 0).astype(np.int64),
        threshold=before_rounding(tree.threshold),
        missing_left=tree.missing_go_to_left.astype(bool),
        # (nodes, outputs, classes), one of the last two being 1.
        value=tree.value.reshape(tree.node_count, -1).astype(np.float64),
    )


def isolating(forest: IsolationForest) -> list[Tree]:
    """The trees of an isolation forest; a leaf's value is its depth and what its own rows would add to it."""
    of_all = forest._max_features == forest.n_features_in_
    return [
        replace(
            fitted := grown(tree.tree_),
            feature=fitted.feature if of_all else features[fitted.feature],
            value=(depth + average - 1.0)[:, None],
        )
        for tree, features, depth, average in zip(
            forest.estimators_,
            forest.estimators_features_,
            forest._decision_path_lengths,
            forest._average_path_length_per_tree,
            strict=True,
        )
    ]


def boosted(predictor: TreePredictor) -> Tree:
    """A tree of histogram gradient boosting. It compares x without rounding, and codes with sets."""
    nodes = predictor.nodes
    leaf = nodes["is_leaf"].astype(bool)
    of_set = nodes["is_categorical"].astype(bool) & ~leaf
    return Tree(
        left=np.where(leaf, -1, nodes["left"].astype(np.int64)),
        right=np.where(leaf, -1, nodes["right"].astype(np.int64)),
        feature=np.where(leaf, 0, nodes["feature_idx"].astype(np.int64)),
        threshold=np.where(leaf | of_set, 0.0, nodes["num_threshold"]),
        missing_left=nodes["missing_go_to_left"].astype(bool),
        value=nodes["value"].astype(np.float64)[:, None],
        sets={int(index): codes(predictor, nodes[index]) for index in np.flatnonzero(of_set)},
    )


def hist_boosted(model: Any) -> list[list[Tree]]:
    """The trees of each stage of histogram gradient boosting."""
    return [[boosted(predictor) for predictor in stage] for stage in model._predictors]


def before_scaling(tree: Tree, steps: Sequence[tuple[str, Floats]]) -> Tree:
    """The tree for numbers from before these steps (Graph.shifted), so that the graph needs no scaler.

    Addition and multiplication keep the order of numbers even with rounding, so for each threshold there is
    a largest float64 that the steps take to it or below it. Bisection over all float64 finds it, so that
    every row takes the same way as behind the scaler.
    """
    splits = tree.splits
    features, limits = tree.feature[splits], tree.threshold[splits]

    def holds(key: Ints) -> Bools:
        return np.asarray(_stepped(floats(key), features, steps) <= limits)

    last, _ = bisect(holds, *_around(_unstepped(limits, features, steps), holds))
    threshold = tree.threshold.copy()
    threshold[splits] = floats(last)
    return replace(tree, threshold=threshold)


def _around(guess: Floats, holds: Callable[[Ints], Bools]) -> tuple[Ints, Ints]:
    """Keys to bisect between: close around the guess where it is right, else from one end to the other."""
    lowest, past_highest = keys(-np.inf), keys(np.inf) + 1
    place = keys(np.nan_to_num(guess))
    low, high = np.maximum(place - CLOSE, lowest), np.minimum(place + CLOSE, past_highest - 1)
    right = holds(low) & ~holds(high)
    return np.where(right, low, lowest), np.where(right, high, past_highest)


def _unstepped(x: Floats, features: Ints, steps: Sequence[tuple[str, Floats]]) -> Floats:
    """The numbers that the steps take to about x."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        for op, constant in reversed(steps):
            x = _INVERSE[op](x, constant[features])
    return x


def _stepped(x: npt.NDArray[Any], features: Ints, steps: Sequence[tuple[str, Floats]]) -> Floats:
    with np.errstate(over="ignore", under="ignore"):
        for op, constant in steps:
            x = _ARITHMETIC[op](x, constant[features])
    return x


_ARITHMETIC = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide}
_INVERSE = {"Add": np.subtract, "Sub": np.add, "Mul": np.divide, "Div": np.multiply}
# How many floats lie at most between a threshold that is computed backwards and the right one, as a rule.
CLOSE = 64


def before_rounding(threshold: Floats) -> Floats:
    """The largest float64 whose float32 rounding is <= threshold, so that the graph needs no Cast."""
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
