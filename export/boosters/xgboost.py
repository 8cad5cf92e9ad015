"""The trees of XGBoost, read from the JSON that a fitted estimator writes of itself.

XGBoost computes in float32: a row goes left if its number, rounded to float32, is less than that of the split,
and the leaves are added to the base score one by one. Everything here is a float32, whatever its dtype.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from unpickled.export.boosters.boosted import Boosted, Link
from unpickled.export.errors import NoGraph
from unpickled.export.trees import Floats, Ints, Tree, before_rounding

CLASSIFIERS = ("XGBClassifier", "XGBRFClassifier")
REGRESSORS = ("XGBRegressor", "XGBRFRegressor")

_LINKS: dict[str, Link] = {
    "binary:logistic": "logistic",
    "binary:hinge": "sign",
    "multi:softprob": "softmax",
    "multi:softmax": "softmax",
    "reg:squarederror": "identity",
    "reg:squaredlogerror": "identity",
    "reg:absoluteerror": "identity",
    "reg:pseudohubererror": "identity",
    "reg:quantileerror": "identity",
    "reg:logistic": "logistic",
    "reg:gamma": "exp",
    "reg:tweedie": "exp",
    "count:poisson": "exp",
}
_OF_CLASSES = ("binary:logistic", "binary:hinge", "reg:logistic", "multi:softprob", "multi:softmax")


def is_classifier(step: Any) -> bool:
    """Whether it is a classifier of XGBoost."""
    return _is_xgboost(step) and type(step).__name__ in CLASSIFIERS


def is_regressor(step: Any) -> bool:
    """Whether it is a regressor of XGBoost."""
    return _is_xgboost(step) and type(step).__name__ in REGRESSORS


def _is_xgboost(step: Any) -> bool:
    return type(step).__module__.startswith("xgboost.")


def boosted(estimator: Any) -> Boosted:
    """The model of a fitted estimator. Raises NoGraph for one that no graph computes."""
    learner = _learner(estimator)
    link = _link(estimator, learner["objective"]["name"])
    booster = learner["gradient_booster"]
    if booster["name"] == "gblinear":
        raise NoGraph("booster='gblinear' has no graph", "use LogisticRegression or Ridge")
    model = booster.get("gbtree", booster)["model"]
    if any(tree["tree_param"]["size_leaf_vector"] not in ("0", "1") for tree in model["trees"]):
        raise NoGraph(
            "multi_strategy='multi_output_tree' has no graph", "leave it out: then each tree has one output"
        )
    base = _base(learner, link)
    trees = [_tree(tree, output, len(base)) for tree, output in zip(*_used(learner, model), strict=True)]
    if "weight_drop" in booster:
        weights = booster["weight_drop"][: len(trees)]
        trees = [_weighted(tree, base, weight) for tree, weight in zip(trees, weights, strict=True)]
    return Boosted(trees, base, link)


def missing(estimator: Any) -> float:
    """The number, rounded to float32, that stands for a missing one beside NaN; NaN if none does."""
    return float(np.float32(np.nan if estimator.missing is None else estimator.missing))


def _learner(estimator: Any) -> Any:
    """What the model's JSON says. Its numbers have as many digits as a float32 needs."""
    return json.loads(bytes(estimator.get_booster().save_raw("json")))["learner"]


def _link(estimator: Any, objective: str) -> Link:
    if callable(estimator.objective):
        raise NoGraph(
            "an objective of your own has no graph", "use one of XGBoost's, such as reg:squarederror"
        )
    known = [name for name in _LINKS if not is_classifier(estimator) or name in _OF_CLASSES]
    several = getattr(estimator, "n_classes_", 2) > 2
    if objective not in known or (is_classifier(estimator) and several != (_LINKS[objective] == "softmax")):
        raise NoGraph(
            f"objective={objective!r} has no graph",
            "use 'binary:logistic' or 'multi:softprob'"
            if is_classifier(estimator)
            else "use 'reg:squarederror'",
        )
    return _LINKS[objective]


def _base(learner: Mapping[str, Any], link: Link) -> Floats:
    """What the sum of each output starts with; the file has it as an answer, not as a raw score."""
    sizes = learner["learner_model_param"]
    written = json.loads(sizes["base_score"])
    outputs = max(int(sizes["num_class"]), int(sizes["num_target"]), 1)
    base = np.broadcast_to(np.asarray(written, np.float32), outputs)
    if link == "logistic":
        return _rounded(-np.log((np.float32(1) / base - np.float32(1)).astype(np.float64)))
    return _rounded(np.log(base.astype(np.float64)) if link == "exp" else base)


def _rounded(numbers: npt.NDArray[Any]) -> Floats:
    return numbers.astype(np.float32).astype(np.float64)


def _used(learner: Mapping[str, Any], model: Mapping[str, Any]) -> tuple[list[Any], list[int]]:
    """The trees that predict() uses, and the output of each: those up to the best one if the fit ended early."""
    best = learner["attributes"].get("best_iteration")
    count = None if best is None else model["iteration_indptr"][int(best) + 1]
    return model["trees"][:count], model["tree_info"][:count]


def _tree(tree: Mapping[str, Any], output: int, outputs: int) -> Tree:
    left, right = (np.array(tree[side], np.int64) for side in ("left_children", "right_children"))
    leaf = left < 0
    condition = np.array(tree["split_conditions"], np.float32)
    value = np.zeros((len(left), outputs))
    value[leaf, output] = condition[leaf]
    missing_left = np.array(tree["default_left"], bool)
    sets = _sets(tree)
    swapped = np.array(list(sets), np.int64)
    # XGBoost sends the set to the right, and every other code with the missing ones or to the left.
    left[swapped], right[swapped] = right[swapped], left[swapped]
    missing_left[swapped] = ~missing_left[swapped]
    return Tree(
        left=left,
        right=right,
        feature=np.where(leaf, 0, np.array(tree["split_indices"], np.int64)),
        threshold=np.where(leaf, 0.0, _limits(condition)),
        missing_left=missing_left,
        value=value,
        sets=sets,
    )


def _weighted(tree: Tree, base: Floats, weight: float) -> Tree:
    """A tree of dart: XGBoost adds the base score to its leaves and subtracts it again before it weighs them."""
    start = base.astype(np.float32)
    leaves = np.float32(weight) * ((tree.value.astype(np.float32) + start) - start)
    own = tree.value.any(axis=0)
    return replace(tree, value=np.where(own, leaves, np.float32(0)).astype(np.float64))


def _limits(splits: npt.NDArray[np.float32]) -> Floats:
    """For each split the largest float64 that, rounded to float32, is less than it."""
    return before_rounding(np.nextafter(splits, np.float32(-np.inf)).astype(np.float64))


def _sets(tree: Mapping[str, Sequence[int]]) -> dict[int, Ints]:
    segments = zip(
        tree["categories_nodes"], tree["categories_segments"], tree["categories_sizes"], strict=True
    )
    codes = np.array(tree["categories"], np.int64)
    return {node: codes[start : start + size] for node, start, size in segments}
