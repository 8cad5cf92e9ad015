"""The trees of a fitted CatBoost model, from its own JSON.

CatBoost rounds numbers to float32, and sends those above a float32 border to the right. A tree of its default
kind asks one question per level; the answers, as bits, are the place of the leaf. Categories are compared by
hash: the JSON says which text has which hash, but only for texts that it is given.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from unpickled.export.boosters import catboost_counters, catboost_splits
from unpickled.export.boosters.boosted import Boosted, Link
from unpickled.export.boosters.catboost_borders import signed
from unpickled.export.boosters.catboost_counters import Counter
from unpickled.export.boosters.catboost_splits import Splits
from unpickled.export.boosters.library import Library
from unpickled.export.boosters.pruning import pruned
from unpickled.export.boosters.reading import once
from unpickled.export.errors import NoGraph
from unpickled.export.trees import Bools, Floats, Ints, Tree

_PROBABILITIES: dict[str, Link] = {
    "Logloss": "logistic",
    "CrossEntropy": "logistic",
    "MultiClass": "softmax",
    "MultiClassOneVsAll": "sigmoids",
}
_REGRESSIONS = (
    *("Expectile", "Huber", "LogCosh", "LogLinQuantile", "Lq", "MAE", "MAPE", "MultiQuantile", "MultiRMSE"),
    *("Poisson", "Quantile", "RMSE", "RMSPE", "Tweedie"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """A model, and its counters: their columns follow those of the rows."""

    boosted: Boosted
    counters: tuple[Counter, ...]


def boosted(model: Any) -> Boosted:
    """The trees of a fitted CatBoostClassifier or CatBoostRegressor, as ``read`` reads them."""
    return read(model).boosted


@once
def read(model: Any) -> Read:
    """The trees and counters of a fitted CatBoostClassifier or CatBoostRegressor.

    They split columns of text by the hashes of texts. Raises NoGraph for a model that no graph computes.
    """
    _check_columns(model)
    dump = _dump(model)
    catboost_counters.check(dump)
    splits = catboost_splits.read(dump, width(model))
    scale, bias = dump["scale_and_bias"]
    if scale != 1:
        raise NoGraph(f"its sums are scaled by {scale}", "call set_scale_and_bias with a scale of 1")
    if "oblivious_trees" in dump:
        trees = [_symmetric(tree, splits, len(bias)) for tree in dump["oblivious_trees"]]
    else:
        trees = [_grown(tree, splits) for tree in dump["trees"]]
    return Read(Boosted(trees, np.array(bias, np.float64), _link(model, dump)), splits.counters)


@once
def _known(model: Any) -> dict[str, int]:
    """The hashes of the texts that the model was asked about so far."""
    return {}


def hashes(model: Any, texts: Collection[str], known: dict[str, int] | None = None) -> dict[str, int]:
    """The hash of each text, as the model's library computes it; the model has columns of text.

    Those that are not ``known`` are added there, which takes as long as writing the model.
    """
    known = _known(model) if known is None else known
    asked = sorted(set(texts) - known.keys())
    if asked:
        pool = np.zeros((len(asked), width(model)), object)
        pool[:, model.get_cat_feature_indices()] = np.array(asked, object)[:, None]
        listed = _dump(model, pool)["features_info"]["cat_features_hash"]
        known.update({item["value"]: signed(item["hash"]) for item in listed})
    return known


def column_names(model: Any) -> list[str] | None:
    """The names of the columns of the fit. CatBoost calls those of an array "0", "1" and so on."""
    known = list(model.feature_names_ or ())
    return None if known == [str(place) for place in range(len(known))] else known


def width(model: Any) -> int:
    """The number of columns of the fit; ``n_features_in_`` is 0 in a copy, and in a model that was loaded."""
    return len(model.feature_names_ or ())


def threshold(model: Any) -> float | None:
    """The threshold of a classifier of two classes, if it was moved."""
    if not CATBOOST.classifies(model) or len(model.classes_) != 2:
        return None
    moved = float(model.get_probability_threshold())
    return None if moved == 0.5 else moved


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """How the trees of a model see rows: numbers, hashes for texts, and then the numbers of counters."""

    model: Any
    places: tuple[int, ...]
    counters: tuple[Counter, ...]
    hashes: dict[str, int]

    @classmethod
    def of(cls, model: Any) -> "Sight":
        """The sight of a fitted model."""
        return cls(model, tuple(model.get_cat_feature_indices()), read(model).counters, _known(model))

    def columns(self, rows: Any) -> Floats:
        """(rows, columns): the numbers that the trees see."""
        if not self.places:
            return np.asarray(rows.toarray() if hasattr(rows, "toarray") else rows, np.float64)
        cells = np.array(rows, object)
        for place in self.places:
            cells[:, place] = self._hashed(list(map(str, cells[:, place])))
        seen = cells.astype(np.float64)
        return np.column_stack([seen, *(counter.column(seen) for counter in self.counters)])

    def _hashed(self, texts: list[str]) -> list[int]:
        known = hashes(self.model, texts, self.hashes)
        return [known[text] for text in texts]


def _check_columns(model: Any) -> None:
    if len(model.get_text_feature_indices()):
        raise NoGraph("it counts words in text_features", "count them before the pipeline")
    if len(model.get_embedding_feature_indices()):
        raise NoGraph("its embedding_features have no graph", "give their numbers as columns")


def _dump(model: Any, pool: Any = None) -> dict[str, Any]:
    """The model's JSON, with the hashes of the texts in these rows."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "model.json")
        try:
            model.save_model(str(path), format="json", pool=pool)
        except Exception as error:
            if "invalid float value" not in str(error):
                raise
            raise NoGraph(
                "one of its borders is infinite, as CatBoost rounds numbers beyond 3.4e38 to infinity",
                "scale such columns in front of it, as with StandardScaler",
            ) from error
        dump: dict[str, Any] = json.loads(path.read_bytes())
    return dump


def _link(model: Any, dump: dict[str, Any]) -> Link:
    loss = dump["model_info"]["params"]["loss_function"]["type"]
    if CATBOOST.classifies(model):
        if loss not in _PROBABILITIES:
            raise NoGraph(f"the loss {loss!r} has no graph", f"use one of {', '.join(_PROBABILITIES)}")
        return _PROBABILITIES[loss]
    if loss not in _REGRESSIONS:
        raise NoGraph(f"the loss {loss!r} has no graph", f"use one of {', '.join(_REGRESSIONS)}")
    # The answers depend on the parameters that the estimator was made with: one that was loaded has none.
    parameters = model.get_params()
    asked = parameters.get("objective", parameters.get("loss_function"))
    return "exp" if isinstance(asked, str) and asked.startswith(("Poisson", "Tweedie")) else "identity"


def _symmetric(tree: dict[str, Any], splits: Splits, outputs: int) -> Tree:
    """A tree that asks one question on each level; the one asked last here is the lowest bit of the leaf."""
    asked = np.array([split["split_index"] for split in tree["splits"] or ()], np.int64)[::-1]
    levels = np.repeat(asked, 2 ** np.arange(len(asked)))
    leaves = np.array(tree["leaf_values"], np.float64).reshape(-1, outputs)
    inner = np.arange(len(levels))
    nodes = np.concatenate([np.zeros((len(inner), outputs)), leaves])
    unreachable = np.concatenate([np.zeros(len(inner), bool), _contradictory(asked, splits)])
    return pruned(_tree(2 * inner + 1, 2 * inner + 2, levels, nodes, splits), unreachable)


def _contradictory(asked: Ints, splits: Splits) -> Bools:
    """Whether a leaf wants a number above one threshold, and not above a lower one."""
    bits = np.arange(2 ** len(asked))[:, None] >> np.arange(len(asked))[::-1] & 1 == 1
    contradictory = np.zeros(len(bits), bool)
    for i, j in permutations(range(len(asked)), 2):
        low, high = int(asked[i]), int(asked[j])
        numbers = low not in splits.sets and splits.feature[low] == splits.feature[high]
        if numbers and splits.threshold[low] <= splits.threshold[high]:
            contradictory |= bits[:, j] & ~bits[:, i]
    return contradictory


def _grown(tree: dict[str, Any], splits: Splits) -> Tree:
    """A tree whose nodes ask questions of their own. Its inner nodes come first, as in a symmetric one."""
    inner: list[dict[str, Any]] = []
    leaves: list[dict[str, Any]] = []
    level = [tree]
    for node in level:
        (inner if "split" in node else leaves).append(node)
        level += [node[side] for side in ("left", "right") if side in node]
    place = {id(node): index for index, node in enumerate((*inner, *leaves))}
    left, right = (
        np.array([place[id(node[side])] for node in inner], np.int64) for side in ("left", "right")
    )
    asked = np.array([node["split"]["split_index"] for node in inner], np.int64)
    values = np.array([np.atleast_1d(node["value"]) for node in leaves], np.float64)
    value = np.concatenate([np.zeros((len(inner), values.shape[1])), values])
    return pruned(_tree(left, right, asked, value, splits), np.zeros(len(value), bool))


def _tree(left: Ints, right: Ints, asked: Ints, value: Floats, splits: Splits) -> Tree:
    """The tree of these inner nodes, and of the leaves that come after them."""
    swapped, leaves = splits.swapped[asked], len(value) - len(asked)
    sides = np.where(swapped, right, left), np.where(swapped, left, right)
    return Tree(
        left=np.concatenate([sides[0], np.full(leaves, -1)]),
        right=np.concatenate([sides[1], np.full(leaves, -1)]),
        feature=np.concatenate([splits.feature[asked], np.zeros(leaves, np.int64)]),
        threshold=np.concatenate([splits.threshold[asked], np.zeros(leaves)]),
        missing_left=np.concatenate([splits.missing_left[asked], np.zeros(leaves, bool)]),
        value=value,
        sets={node: splits.sets[index] for node, index in enumerate(asked.tolist()) if index in splits.sets},
    )


CATBOOST = Library(
    name="catboost",
    classifiers=("CatBoostClassifier",),
    regressors=("CatBoostRegressor",),
    boosted=boosted,
    sight=Sight.of,
    texts=lambda model: list(model.get_cat_feature_indices()),
    column_names=column_names,
    width=width,
    threshold=threshold,
)
