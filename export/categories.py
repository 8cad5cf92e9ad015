"""The native categories of histogram gradient boosting: which of them a split sends to the left.

A split of a category column holds a set of categories. For the graph each distinct set becomes a column of
its own: 0 for a category of the set, 1 for any other, NaN for a missing or unknown one. The tree splits it
at 0.5.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

# (the column among those that the trees see, the set as bits).
CategorySet = tuple[int, bytes]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def is_native(model: Any) -> bool:
    """Whether a fitted model of histogram gradient boosting has category columns of its own."""
    return model.is_categorical_ is not None and bool(np.any(model.is_categorical_))


def category_sets(model: Any) -> list[CategorySet]:
    """The distinct sets of all trees, in the order of the columns that they become."""
    sets: dict[CategorySet, None] = {}
    for predictor in (predictor for stage in model._predictors for predictor in stage):
        for node in predictor.nodes[predictor.nodes["is_categorical"].astype(bool)]:
            sets[set_of(predictor, node)] = None
    return sorted(sets)


def set_of(predictor: Any, node: Any) -> CategorySet:
    """The set of a split, a node of the tree ``predictor``."""
    return int(node["feature_idx"]), predictor.raw_left_cat_bitsets[node["bitset_idx"]].tobytes()


def sides(bits: bytes) -> Floats:
    """(257,): NaN for a missing category, then for each code 0.0 if the set holds it, else 1.0."""
    left = np.unpackbits(np.frombuffer(bits, np.uint8), bitorder="little").astype(np.float64)
    return np.concatenate([[np.nan], 1.0 - left])


def inputs(model: Any) -> tuple[Ints, Ints]:
    """Positions of the category columns, which the trees see first, and those of the number columns."""
    positions = model._preprocessor._transformer_to_input_indices
    return np.asarray(positions["encoder"], int), np.asarray(positions["numerical"], int)


def encoder(model: Any) -> Any:
    """The fitted OrdinalEncoder of the category columns."""
    return model._preprocessor.named_transformers_["encoder"]


def columns(model: Any, rows: Any) -> Floats:
    """(rows, columns): the columns that the trees see, then one for each set."""
    seen = np.asarray(model._preprocessor.transform(rows), np.float64)
    sets = category_sets(model)
    places = [np.where(np.isnan(seen[:, i]), -1, seen[:, i]).astype(int) + 1 for i, _ in sets]
    split = [sides(bits)[place] for place, (_, bits) in zip(places, sets, strict=True)]
    return np.column_stack([seen, *split])
