"""A proof that the trees in a graph are the fitted ones, node by node.

Every split is compared: its feature, its two ways, the way of a missing value, and on which side of it the
two numbers beside its threshold fall; and every leaf with all of its values. Where a proof stands, rows
beside the splits only have to show that ONNX Runtime reads the nodes as they are meant, and fewer rows are
enough. Where none can be made, nothing is said against the graph.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

from unpickled.export import inside
from unpickled.export.convert import Conversion
from unpickled.export.gate import nodes
from unpickled.export.gate.nodes import Nodes
from unpickled.export.tree_classes import HISTOGRAMS

Array = npt.NDArray[Any]

# Numbers that are scaled at a time.
CELLS = 2_000_000
# Each takes a column at a time, and keeps the order of its numbers.
_ORDERLY = (StandardScaler, MinMaxScaler, RobustScaler, MaxAbsScaler)
_FIELDS = ("roots", "feature", "missing_left", "left", "right", "left_leaf", "right_leaf", "values")


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


def prove(pipeline: Any, conversion: Conversion) -> Proof | None:
    """The proof for a pipeline that ends in trees; None if its graph cannot be compared node by node."""
    estimators, written = list(inside.leaves(pipeline)), nodes.written(conversion.model)
    if len(estimators) != 1 or written is None:
        return None
    [(estimator, prepare)] = estimators
    fitted = nodes.fitted(estimator, written.values.shape[1])
    if fitted is None or not _are_equal(written, fitted):
        return None
    holds = _round if isinstance(estimator, HISTOGRAMS) else _round_to_single
    if not _divides(written, fitted, holds) and not (
        _is_orderly(pipeline, conversion) and _divides_before(written, fitted, conversion, prepare, holds)
    ):
        return None
    return Proof(len(fitted.roots), int(fitted.divides.sum()), len(fitted.values))


def _are_equal(written: Nodes, fitted: Nodes) -> bool:
    """Whether the two are the same trees but for the thresholds of their splits."""
    same = all(np.array_equal(getattr(written, name), getattr(fitted, name)) for name in _FIELDS)
    return same and written.sets == fitted.sets


def _divides(written: Nodes, fitted: Nodes, rounded: Callable[[Array], Array]) -> bool:
    """Whether each threshold of the graph is the last number that takes the fitted tree's way to the left."""
    split = fitted.has_threshold
    last, limit = written.threshold[split], fitted.threshold[split]
    # A split with an infinite limit parts the missing values from all numbers.
    right = (rounded(np.nextafter(last, np.inf)) > limit) | (np.isposinf(last) & np.isposinf(limit))
    return bool((rounded(last) <= limit).all() and right.all())


def _divides_before(
    written: Nodes,
    fitted: Nodes,
    conversion: Conversion,
    prepare: inside.Prepare,
    rounded: Callable[[Array], Array],
) -> bool:
    """Whether that holds for the thresholds as numbers from before the pipeline's own scalers.

    Scalers keep the order of a column's numbers, so the two numbers beside a threshold stand for all others.
    """
    split = fitted.has_threshold & ~(np.isposinf(written.threshold) & np.isposinf(fitted.threshold))
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
