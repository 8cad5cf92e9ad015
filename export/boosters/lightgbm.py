"""The trees of LightGBM, read from the text that a fitted model writes of itself.

The text has all digits of every threshold and leaf. LightGBM compares doubles, and takes a number that is no
further from 0 than ``ZERO`` for 0. Its trees see the columns of the rows as ``Sight`` says.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from unpickled.export.boosters.boosted import Boosted, Link
from unpickled.export.boosters.library import Library
from unpickled.export.boosters.reading import once
from unpickled.export.errors import NoGraph
from unpickled.export.trees import Bools, Floats, Ints, Tree

# 1e-35 as a float32, in float64.
ZERO = float(np.float32(1e-35))

# A node's way of deciding, as bits: a set of categories, missing values to the left, and which are missing.
_OF_CATEGORIES, _TO_THE_LEFT = 1, 2
_NONE, _ZEROS, _NANS = range(3)

_LINKS: dict[str, Link] = {
    "binary": "logistic",
    "cross_entropy": "logistic",
    "cross_entropy_lambda": "softplus",
    "multiclass": "softmax",
    "multiclassova": "logistic",
    "regression": "identity",
    "regression_l1": "identity",
    "huber": "identity",
    "fair": "identity",
    "quantile": "identity",
    "mape": "identity",
    "poisson": "exp",
    "gamma": "exp",
    "tweedie": "exp",
}

# A section of the text: the words left and right of the first "=" in each line.
Section = Mapping[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """A model, and how its splits take the missing values of each column that they split by thresholds."""

    boosted: Boosted
    missing: Mapping[int, set[int]]


def boosted(model: Any) -> Boosted:
    """The trees that ``predict`` adds up: all, or those up to the best iteration if the fit stopped early.

    Raises NoGraph for a model that no graph computes.
    """
    return read(model).boosted


@once
def read(model: Any) -> Read:
    """The trees, and what else ``Sight`` has to know about them. Raises NoGraph as ``boosted`` does."""
    head, sections = _sections(model)
    _check(model, sections)
    outputs = int(head["num_tree_per_iteration"])
    trees = [_tree(section, index % outputs, outputs) for index, section in enumerate(sections)]
    link, slope = _link(model, head.get("objective", ""))
    divisor = len(trees) / outputs if "average_output" in head else 1.0
    return Read(Boosted(trees, np.zeros(outputs), link, divisor, slope), _missing(sections, trees))


def _missing(sections: Sequence[Section], trees: Sequence[Tree]) -> dict[int, set[int]]:
    missing: dict[int, set[int]] = {}
    for section, tree in zip(sections, trees, strict=True):
        way = _numbers(section, "decision_type", np.int64)
        for node in set(range(len(way))) - set(tree.sets):
            missing.setdefault(int(tree.feature[node]), set()).add(int(way[node] >> 2))
    return missing


def categories(model: Any) -> list[list[Any]]:
    """The categories of each column that had pandas' dtype category in the fit, in the columns' order."""
    return list(model.booster_.pandas_categorical or ())


def places(model: Any) -> dict[int, Sequence[Any]]:
    """Position -> categories of the columns of pandas' dtype category, as far as the model tells.

    It lists those whose categories have no order: where there are others, nothing tells them apart.
    """
    known = categories(model)
    line = model.booster_.model_to_string(num_iteration=1).partition("[categorical_feature: ")[2]
    positions = [int(word) for word in line.partition("]")[0].split(",") if word]
    return dict(zip(positions, known, strict=True)) if len(positions) == len(known) else {}


def spelled(label: object) -> str:
    """The name by which LightGBM knows a column."""
    return str(label).replace(" ", "_")


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """How the trees of a model see the columns of the rows.

    ``zeros`` are the positions of the columns in which 0 counts as missing, ``codes`` those that are split by
    sets of whole numbers, for which LightGBM cuts off the digits behind the point. ``categories`` belong to
    the columns of pandas' dtype category, in their order: the trees see the places of the categories, and NaN
    for one that is not among them.
    """

    zeros: Ints
    codes: Ints
    categories: Sequence[Sequence[Any]]

    @classmethod
    def of(cls, model: Any) -> "Sight":
        """The sight of a fitted model. Raises NoGraph if its trees disagree, or no graph computes it."""
        trees, missing = read(model).boosted.trees, read(model).missing
        codes = {int(tree.feature[node]) for tree in trees for node in tree.sets}
        if codes & set(missing) or any({_ZEROS, _NANS} <= kinds for kinds in missing.values()):
            raise NoGraph(
                "its first trees, those of init_model, take a column otherwise than the later ones",
                "fit it with the parameters and the categorical_feature of init_model",
            )
        zeros = sorted(feature for feature, kinds in missing.items() if _ZEROS in kinds)
        return cls(np.array(zeros, np.int64), np.array(sorted(codes), np.int64), categories(model))

    def columns(self, rows: Any) -> Floats:
        """(rows, columns): what the trees see of rows as the model takes them."""
        seen = _codes(rows, self.categories) if isinstance(rows, pd.DataFrame) else _dense(rows)
        seen[:, self.codes] = np.trunc(seen[:, self.codes])
        of_zeros = seen[:, self.zeros]
        seen[:, self.zeros] = np.where(np.abs(of_zeros) <= ZERO, np.nan, of_zeros)
        return seen


def _dense(rows: Any) -> Floats:
    return np.array(rows.toarray() if hasattr(rows, "toarray") else rows, dtype=np.float64)


def _codes(rows: pd.DataFrame, categories: Sequence[Sequence[Any]]) -> Floats:
    """The rows as numbers, with the place of each category."""
    remaining, columns = iter(categories), []
    for position in range(rows.shape[1]):
        column = rows.iloc[:, position]
        if isinstance(column.dtype, pd.CategoricalDtype):
            code = column.cat.set_categories(next(remaining)).cat.codes.to_numpy(np.float64)
            columns.append(np.where(code < 0, np.nan, code))
        else:
            columns.append(column.to_numpy(np.float64, na_value=np.nan))
    return np.column_stack(columns)


def _sections(model: Any) -> tuple[Section, list[Section]]:
    """The lines of the model's text about the whole, and those about each tree."""
    text = model.booster_.model_to_string().partition("\nend of trees")[0]
    head, *trees = text.split("\nTree=")
    return _section(head), [_section(tree) for tree in trees]


def _section(text: str) -> Section:
    return {key: value for key, _, value in (line.partition("=") for line in text.splitlines())}


def _check(model: Any, trees: list[Section]) -> None:
    """Raise NoGraph for trees that are not added up as they are."""
    if any(tree.get("is_linear", "0") != "0" for tree in trees):
        raise NoGraph("linear_tree=True has no graph", "leave it out: then each leaf is a number")
    if _is_on(model.get_params().get("pred_early_stop")):
        raise NoGraph("pred_early_stop=True leaves out trees row by row, which no graph does", "leave it out")


def _is_on(parameter: object) -> bool:
    return str(parameter).lower() in ("true", "1", "+")


def _link(model: Any, objective: str) -> tuple[Link, float]:
    """The link of an objective such as "binary sigmoid:1", and the slope with which it takes scores."""
    name, *words = objective.split(" ")
    settings = dict(word.partition(":")[::2] for word in words)
    if not name:
        if LIGHTGBM.classifies(model):
            raise NoGraph(
                "with an objective of your own its answers are no probabilities",
                "use one of LightGBM's, such as 'binary' or 'multiclass'",
            )
        return "identity", 1.0
    if name not in _LINKS:
        raise NoGraph(f"objective={name!r} has no graph", "use 'binary', 'multiclass' or 'regression'")
    if "sqrt" in settings:
        return "square", 1.0
    return _LINKS[name], _slope(model, float(settings.get("sigmoid", 1.0)))


def _slope(model: Any, written: float) -> float:
    chosen = model.get_params().get("sigmoid", written)
    if float(chosen) != written:
        raise NoGraph(
            f"LightGBM keeps sigmoid={chosen} as {written:g} once the model is pickled",
            f"fit it with sigmoid={written:g}",
        )
    return written


def _tree(section: Section, output: int, outputs: int) -> Tree:
    """A tree whose splits come first, then its leaves in LightGBM's order."""
    leaf = _numbers(section, "leaf_value", np.float64)
    splits = len(leaf) - 1
    way = _numbers(section, "decision_type", np.int64)
    limit = _numbers(section, "threshold", np.float64)
    of_sets = (way & _OF_CATEGORIES) > 0
    threshold = np.where(of_sets, 0.0, _limits(limit))
    value = np.zeros((splits + len(leaf), outputs))
    value[splits:, output] = leaf
    return Tree(
        left=_children(section, "left_child", len(leaf)),
        right=_children(section, "right_child", len(leaf)),
        feature=_padded(_numbers(section, "split_feature", np.int64), len(leaf), 0),
        threshold=_padded(threshold, len(leaf), 0),
        missing_left=_padded(_missing_left(way, threshold) & ~of_sets, len(leaf), 0),
        value=value,
        sets=dict(_sets(section, limit, of_sets)),
    )


def _numbers(section: Section, key: str, dtype: type) -> npt.NDArray[Any]:
    return np.array(section.get(key, "").split(), dtype=dtype)


def _children(section: Section, key: str, leaves: int) -> Ints:
    """The places of the children: LightGBM counts leaves from -1 downwards."""
    child = _numbers(section, key, np.int64)
    return _padded(np.where(child < 0, leaves - 2 - child, child), leaves, -1)


def _padded(of_splits: npt.NDArray[Any], leaves: int, filler: int) -> npt.NDArray[Any]:
    return np.concatenate([of_splits, np.full(leaves, filler, of_splits.dtype)])


def _limits(threshold: Floats) -> Floats:
    """For each split the last float64 that goes left; all numbers within ZERO of 0 go where 0 goes."""
    near = np.abs(threshold) <= ZERO
    below = np.nextafter(-ZERO, -np.inf)
    return np.where(near, np.where(threshold >= 0, ZERO, below), threshold)


def _missing_left(way: Ints, threshold: Floats) -> Bools:
    """Whether NaN goes left: with 0 if the feature knows no missing values, else the node's own way."""
    known = way >> 2 != _NONE
    return np.where(known, (way & _TO_THE_LEFT) > 0, threshold >= 0)


def _sets(section: Section, place: Floats, of_sets: Bools) -> Iterator[tuple[int, Ints]]:
    """(node, codes) of each split by categories; ``place`` is where its set begins among all."""
    bounds = _numbers(section, "cat_boundaries", np.int64)
    words = _numbers(section, "cat_threshold", np.int64).astype("<u4")
    for node in np.flatnonzero(of_sets).tolist():
        start, end = bounds[int(place[node]) : int(place[node]) + 2]
        bits = np.unpackbits(words[start:end].view(np.uint8), bitorder="little")
        yield node, np.flatnonzero(bits)


def column_names(model: Any) -> list[str] | None:
    """The names of the columns of the fit. LightGBM 4.6 calls those of an array "Column_0" and so on."""
    known = getattr(model, "feature_names_in_", None)
    if known is None or list(known) == [f"Column_{place}" for place in range(len(known))]:
        return None
    return list(known)


LIGHTGBM = Library(
    name="lightgbm",
    classifiers=("LGBMClassifier",),
    regressors=("LGBMRegressor",),
    boosted=boosted,
    sight=Sight.of,
    categories=places,
    knows_dtypes=lambda model: bool(categories(model)),
    spelled=spelled,
    column_names=column_names,
    rounds_integers=True,
)
