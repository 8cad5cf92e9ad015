"""A proof that the trees in a graph are the fitted ones, node by node.

Every split is compared: its feature, its two ways, the way of a missing value, and on which side of it the
two numbers beside its threshold fall; and every leaf with all of its values. The fitted trees are read from
scikit-learn's own arrays, not from the form that the recipes write them from, so that a mistake in that form
is seen as well. Where a proof stands, rows beside the splits only have to show that ONNX Runtime reads the
nodes as they are meant, and fewer rows are enough. Where none can be made, nothing is said against the graph.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pandas as pd
from onnx import numpy_helper
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
from sklearn.tree import DecisionTreeClassifier, ExtraTreeClassifier

from unpickled.export import inside
from unpickled.export.convert import Conversion

Array = npt.NDArray[Any]

# Numbers that are scaled at a time.
CELLS = 2_000_000
# Each takes a column at a time, and keeps the order of its numbers.
_ORDERLY = (StandardScaler, MinMaxScaler, RobustScaler, MaxAbsScaler)
_FORESTS = (DecisionTreeClassifier, ExtraTreeClassifier, RandomForestClassifier, ExtraTreesClassifier)
_FIELDS = ("sizes", "leaf", "left", "right", "feature", "missing_left")


@dataclass(frozen=True, slots=True)
class Proof:
    """How many trees, splits and leaves of a graph were compared with the fitted ones and are equal."""

    trees: int
    splits: int
    leaves: int

    def __str__(self) -> str:
        splits = f"{self.splits:,} split{'' if self.splits == 1 else 's'}"
        leaves = f"{self.leaves:,} lea{'f' if self.leaves == 1 else 'ves'}"
        return f"{splits} and {leaves} of {self.trees:,} tree{'' if self.trees == 1 else 's'}"


@dataclass(frozen=True, slots=True, eq=False)
class _Nodes:
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


def prove(pipeline: Any, conversion: Conversion) -> Proof | None:
    """The proof for a pipeline that ends in trees; None if its graph cannot be compared node by node."""
    estimators = list(inside.leaves(pipeline))
    ensembles = [node for node in conversion.model.graph.node if node.op_type.startswith("TreeEnsemble")]
    if len(estimators) != 1 or [node.op_type for node in ensembles] != ["TreeEnsembleClassifier"]:
        return None
    [(estimator, prepare)] = estimators
    fitted = _fitted(estimator)
    if fitted is None:
        return None
    written = _written(ensembles[0], len(fitted.sizes), fitted.weights.shape[1])
    if written is None or not _are_equal(written, fitted):
        return None
    holds = _round if isinstance(estimator, HistGradientBoostingClassifier) else _round_to_single
    if not _divides(written, fitted, holds) and not (
        _is_orderly(pipeline, conversion) and _divides_before(written, fitted, conversion, prepare, holds)
    ):
        return None
    return Proof(len(fitted.sizes), int((~fitted.leaf).sum()), int(fitted.leaf.sum()))


def _are_equal(written: _Nodes, fitted: _Nodes) -> bool:
    """Whether the two are the same trees but for the thresholds of their splits."""
    same = all(np.array_equal(getattr(written, name), getattr(fitted, name)) for name in _FIELDS)
    return same and np.array_equal(written.weights, fitted.weights)


def _divides(written: _Nodes, fitted: _Nodes, rounded: Callable[[Array], Array]) -> bool:
    """Whether each threshold of the graph is the last number that takes the fitted tree's way to the left."""
    split = ~fitted.leaf
    last, limit = written.threshold[split], fitted.threshold[split]
    # A split with an infinite limit parts the missing values from all numbers.
    right = (rounded(np.nextafter(last, np.inf)) > limit) | (np.isposinf(last) & np.isposinf(limit))
    return bool((rounded(last) <= limit).all() and right.all())


def _divides_before(
    written: _Nodes,
    fitted: _Nodes,
    conversion: Conversion,
    prepare: inside.Prepare,
    rounded: Callable[[Array], Array],
) -> bool:
    """Whether that holds for the thresholds as numbers from before the pipeline's own scalers.

    Scalers keep the order of a column's numbers, so the two numbers beside a threshold stand for all others.
    """
    split = ~fitted.leaf & ~(np.isposinf(written.threshold) & np.isposinf(fitted.threshold))
    feature, last, limit = fitted.feature[split], written.threshold[split], fitted.threshold[split]
    if not (np.isfinite(last).all() and np.isfinite(np.nextafter(last, np.inf)).all()):
        return False
    layout = conversion.layout

    def scaled(numbers: Array) -> Array:
        rows = pd.DataFrame(numbers, columns=list(layout.names), copy=False)
        return rounded(np.asarray(prepare(layout.rows(rows)), np.float64))

    turn = _turns(feature)
    count = max(1, CELLS // len(layout.names))
    for start in range(0, int(turn.max(initial=-1)) + 1, count):
        these = np.flatnonzero((turn >= start) & (turn < start + count))
        place = (turn[these] - start, feature[these])
        numbers = np.zeros((int(place[0].max()) + 1, len(layout.names)))
        numbers[place] = last[these]
        left = scaled(numbers)[place] <= limit[these]
        numbers[place] = np.nextafter(last[these], np.inf)
        right = scaled(numbers)[place] > limit[these]
        if not (left.all() and right.all()):
            return False
    return True


def _turns(feature: Array) -> Array:
    """For each split, how many splits of the same feature come before it."""
    order = np.argsort(feature, kind="stable")
    _, first, counts = np.unique(feature[order], return_index=True, return_counts=True)
    turn = np.empty(len(feature), dtype=np.int64)
    turn[order] = np.arange(len(feature)) - np.repeat(first, counts)
    return turn


def _is_orderly(pipeline: Any, conversion: Conversion) -> bool:
    """Whether column i of the trees is number i of a row, scaled, and its order kept."""
    step, layout = inside.unwrapped(pipeline), conversion.layout
    numbers = set(layout.kinds) == {"number"} and layout.dtype == "float64" and not layout.narrow
    if not isinstance(step, Pipeline) or not numbers or layout.positions != tuple(range(layout.width)):
        return False
    *before, last = inside.parts(step)
    return last.estimator.n_features_in_ == layout.width and all(
        _keeps_order(part.estimator) for part in before
    )


def _keeps_order(step: Any) -> bool:
    if type(step) is SimpleImputer:
        return isinstance(step.missing_values, float) and np.isnan(step.missing_values)
    return type(step) in _ORDERLY


def _round(numbers: Array) -> Array:
    """Histogram gradient boosting compares numbers as they are."""
    return numbers


def _round_to_single(numbers: Array) -> Array:
    """Other trees of scikit-learn round a number to float32 first."""
    with np.errstate(over="ignore"):
        return numbers.astype(np.float32).astype(np.float64)


def _fitted(estimator: Any) -> _Nodes | None:
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


def _grown(trees: list[Any], weights: Array) -> _Nodes:
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


def _hist_boosted(estimator: HistGradientBoostingClassifier) -> _Nodes | None:
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


def _cleared(sizes: Array, leaf: Array, weights: Array, **of_splits: Array) -> _Nodes:
    """These nodes, with zeros at the leaves for what only splits have, and for splits no weights."""
    columns = {
        name: np.where(leaf, 0, column.astype(np.float64 if name == "threshold" else np.int64))
        for name, column in of_splits.items()
    }
    return _Nodes(sizes=sizes, leaf=leaf, weights=np.where(leaf[:, None], weights, 0.0), **columns)


def _written(ensemble: onnx.NodeProto, trees: int, outputs: int) -> _Nodes | None:
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
