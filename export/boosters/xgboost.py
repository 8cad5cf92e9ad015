"""The trees of XGBoost, read from the JSON that a fitted estimator writes of itself.

XGBoost computes in float32: a row goes left if its number, rounded to float32, is less than that of the
split, and the leaves are added to the base score one by one. So leaves and base are float32 here, whatever
their dtype. Trees see the columns that ``columns`` makes of the rows.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from unpickled.export.boosters.boosted import Boosted, Link
from unpickled.export.boosters.library import Library
from unpickled.export.boosters.reading import once
from unpickled.export.errors import NoGraph
from unpickled.export.trees import Floats, Ints, Tree, before_rounding

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
# The lists of a tree that are read.
_DTYPES: dict[str, type] = {
    "left_children": np.int64,
    "right_children": np.int64,
    "split_indices": np.int64,
    "split_conditions": np.float32,
    "default_left": np.bool_,
    "categories_nodes": np.int64,
    "categories_segments": np.int64,
    "categories_sizes": np.int64,
    "categories": np.int64,
}
_OF_CLASSES = ("binary:logistic", "binary:hinge", "reg:logistic", "multi:softprob", "multi:softmax")

# The objectives that a remedy names, by whether the estimator is a classifier.
_USUAL = {True: "'binary:logistic' or 'multi:softprob'", False: "'reg:squarederror'"}


def boosted(estimator: Any) -> Boosted:
    """The model of a fitted estimator. Raises NoGraph for one that no graph computes."""
    learner = _learner(estimator)
    link = _link(estimator, learner["objective"]["name"])
    booster, model = learner["gradient_booster"], _model(learner)
    if booster["name"] == "gblinear":
        raise NoGraph("booster='gblinear' has no graph", "use LogisticRegression or Ridge")
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


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """How the trees of a model see the columns of the rows.

    ``missing`` is the number, rounded to float32, that counts as missing beside NaN; NaN if none does.
    ``codes`` are the positions of the columns that are split by sets of whole numbers: XGBoost rounds such a
    number to float32, and then cuts off the digits behind the point. ``categories`` belong to those of them
    that had pandas' dtype category in the fit, by position: the trees see the places of the categories.
    """

    missing: float
    codes: list[int]
    categories: Mapping[int, list[Any]]

    @classmethod
    def of(cls, estimator: Any) -> "Sight":
        """The sight of a fitted estimator. Raises NoGraph for one that no graph has."""
        learner = _learner(estimator)
        codes = [position for position, kind in enumerate(learner["feature_types"]) if kind == "c"]
        missing = float(np.float32(np.nan if estimator.missing is None else estimator.missing))
        if codes and not np.isnan(missing):
            raise NoGraph(
                f"with categories, missing={estimator.missing} counts a category as missing",
                "leave missing= out and give NaN for a missing value",
            )
        # Without types of its own, a fit has codes of columns of pandas' dtype category alone.
        if codes and estimator.feature_types is None and "cats" not in _model(learner):
            raise NoGraph(
                "before XGBoost 3.1 a model does not keep the categories of the fit",
                "fit it with a newer XGBoost",
            )
        return cls(missing, codes, _categories(learner))

    def columns(self, rows: Any) -> Floats:
        """(rows, columns): what the trees see of rows as the estimator takes them."""
        seen = self._places(rows) if isinstance(rows, pd.DataFrame) else _dense(rows)
        seen[_rounded(seen) == self.missing] = np.nan
        seen[:, self.codes] = np.floor(_rounded(seen[:, self.codes]))
        return seen

    def _places(self, rows: pd.DataFrame) -> Floats:
        """The rows as numbers, with the place of each category."""
        seen = []
        for position, (_, column) in enumerate(rows.items()):
            if position in self.categories:
                known = listed(self.categories[position], column.cat.categories)
                code = pd.Index(known).get_indexer(column)
                seen.append(np.where(code < 0, np.nan, code))
            else:
                seen.append(column.to_numpy(np.float64, na_value=np.nan))
        return np.column_stack(seen)


def listed(known: list[Any], labels: Sequence[Any]) -> list[Any]:
    """The categories of a column in the model's order; ``labels`` are those of the rows' pandas dtype.

    XGBoost 3.2 counts characters where it should count bytes, so that behind a letter like ä it keeps parts
    of the texts. The parts tell which of the labels are meant, as XGBoost cuts up those of new rows alike.
    Raises NoGraph if they do not.
    """
    if are_whole(known):
        return known
    labels = list(labels)
    joined = "".join(labels).encode()
    ends = np.cumsum([0, *map(len, labels)]).tolist()
    parts = [joined[start:end].decode(errors="surrogateescape") for start, end in pairwise(ends)]
    if len(set(parts)) != len(parts) or set(parts) != set(known):
        raise NoGraph(
            "XGBoost keeps parts only of categories with letters beyond ASCII, and they are not those of "
            "the rows",
            "give the data frame that it was fitted on",
        )
    label = dict(zip(parts, labels, strict=True))
    return [label[part] for part in known]


def are_whole(known: Sequence[Any]) -> bool:
    """Whether these are the categories of the fit, and not parts of their texts."""
    return all(not isinstance(category, str) or category.isascii() for category in known)


def categories(estimator: Any) -> dict[int, list[Any]]:
    """Position -> categories of the columns that had pandas' dtype category in the fit.

    XGBoost keeps them from 3.1 on. It refuses a category that is none of them.
    """
    return _categories(_learner(estimator))


def places(estimator: Any) -> dict[int, list[Any]]:
    """The same; empty if XGBoost has parts only of the texts of some column."""
    known = categories(estimator)
    return known if all(map(are_whole, known.values())) else {}


def _categories(learner: Mapping[str, Any]) -> dict[int, list[Any]]:
    known = _model(learner).get("cats", {}).get("enc", [])
    return {position: labels for position, labels in enumerate(map(_decoded, known)) if labels}


def _dense(rows: Any) -> Floats:
    """The rows as an array. XGBoost takes a zero that a sparse matrix leaves out for missing."""
    if not hasattr(rows, "tocoo"):
        return np.array(rows, dtype=np.float64)
    entries = rows.tocoo()
    dense = np.full(entries.shape, np.nan)
    dense[entries.row, entries.col] = entries.data
    return dense


def _decoded(encoding: Mapping[str, list[int]]) -> list[Any]:
    """The categories of a column: numbers, or the bytes of all texts with the place where each ends."""
    if "type" in encoding:
        return encoding["values"]
    joined = np.array(encoding["values"], np.int8).tobytes()
    ends = encoding["offsets"]
    return [joined[start:end].decode(errors="surrogateescape") for start, end in pairwise(ends)]


def _model(learner: Mapping[str, Any]) -> Any:
    booster = learner["gradient_booster"]
    return booster.get("gbtree", booster)["model"]


@once
def _learner(estimator: Any) -> Any:
    """The contents of the model's JSON, with arrays for the lists of a tree.

    Its numbers have as many digits as a float32 needs.
    """
    learner = json.loads(bytes(estimator.get_booster().save_raw("json")))["learner"]
    for tree in _model(learner).get("trees", ()):
        tree.update({name: np.array(tree[name], dtype) for name, dtype in _DTYPES.items() if name in tree})
    return learner


def _link(estimator: Any, objective: str) -> Link:
    of_classes = XGBOOST.classifies(estimator)
    if callable(estimator.objective):
        raise NoGraph(
            "an objective of your own has no graph", "use one of XGBoost's, such as reg:squarederror"
        )
    known = _OF_CLASSES if of_classes else _LINKS
    several = getattr(estimator, "n_classes_", 2) > 2
    if objective not in known or (of_classes and several != (_LINKS[objective] == "softmax")):
        raise NoGraph(f"objective={objective!r} has no graph", f"use {_USUAL[of_classes]}")
    return _LINKS[objective]


def _base(learner: Mapping[str, Any], link: Link) -> Floats:
    """The start of the sum of each output; the file has it as an answer, not as a raw score."""
    sizes = learner["learner_model_param"]
    written = json.loads(sizes["base_score"])
    outputs = max(int(sizes["num_class"]), int(sizes["num_target"]), 1)
    base = np.broadcast_to(np.asarray(written, np.float32), outputs)
    if link == "logistic":
        return _rounded(-np.log((np.float32(1) / base - np.float32(1)).astype(np.float64)))
    return _rounded(np.log(base.astype(np.float64)) if link == "exp" else base)


def _rounded(numbers: npt.NDArray[Any]) -> Floats:
    with np.errstate(over="ignore"):
        return numbers.astype(np.float32).astype(np.float64)


def _used(learner: Mapping[str, Any], model: Mapping[str, Any]) -> tuple[list[Any], list[int]]:
    """The trees that ``predict`` uses, up to the best ones if the fit stopped early; the output of each."""
    best = learner["attributes"].get("best_iteration")
    count = None if best is None else model["iteration_indptr"][int(best) + 1]
    return model["trees"][:count], model["tree_info"][:count]


def _tree(tree: Mapping[str, Any], output: int, outputs: int) -> Tree:
    left, right = tree["left_children"].copy(), tree["right_children"].copy()
    leaf = left < 0
    condition = tree["split_conditions"]
    value = np.zeros((len(left), outputs))
    value[leaf, output] = condition[leaf]
    missing_left = tree["default_left"].copy()
    sets = _sets(tree)
    swapped = np.array(list(sets), np.int64)
    # XGBoost sends the set to the right, and every other code with the missing ones or to the left.
    left[swapped], right[swapped] = right[swapped], left[swapped]
    missing_left[swapped] = ~missing_left[swapped]
    return Tree(
        left=left,
        right=right,
        feature=np.where(leaf, 0, tree["split_indices"]),
        threshold=np.where(leaf, 0.0, _limits(condition)),
        missing_left=missing_left,
        value=value,
        sets=sets,
    )


def _weighted(tree: Tree, base: Floats, weight: float) -> Tree:
    """A tree of dart: XGBoost adds the base score to each leaf and subtracts it again before it weighs it."""
    start = base.astype(np.float32)
    leaves = np.float32(weight) * ((tree.value.astype(np.float32) + start) - start)
    own = tree.value.any(axis=0)
    return replace(tree, value=np.where(own, leaves, np.float32(0)).astype(np.float64))


def _limits(splits: npt.NDArray[np.float32]) -> Floats:
    """For each split the largest float64 that, rounded to float32, is less than it."""
    return before_rounding(np.nextafter(splits, np.float32(-np.inf)).astype(np.float64))


def _sets(tree: Mapping[str, Ints]) -> dict[int, Ints]:
    places = (tree[f"categories_{name}"].tolist() for name in ("nodes", "segments", "sizes"))
    codes = tree["categories"]
    return {node: codes[start : start + size] for node, start, size in zip(*places, strict=True)}


XGBOOST = Library(
    name="xgboost",
    classifiers=("XGBClassifier", "XGBRFClassifier"),
    regressors=("XGBRegressor", "XGBRFRegressor"),
    boosted=boosted,
    sight=Sight.of,
    categories=places,
    knows_dtypes=lambda estimator: bool(categories(estimator)),
    spelled=str,
    takes_gaps=True,
    single=True,
)
