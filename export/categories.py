"""The native categories of histogram gradient boosting: which of them a split sends to the left.

The trees see the codes of categories in columns before those of the numbers; NaN is a missing or unknown one.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def is_native(model: Any) -> bool:
    """Whether a fitted model of histogram gradient boosting has category columns of its own."""
    return model.is_categorical_ is not None and bool(np.any(model.is_categorical_))


def codes(predictor: Any, node: Any) -> Ints:
    """The codes of the categories that a split, a node of the tree ``predictor``, sends to the left."""
    bits = predictor.raw_left_cat_bitsets[node["bitset_idx"]].view(np.uint8)
    return np.flatnonzero(np.unpackbits(bits, bitorder="little"))


def inputs(model: Any) -> tuple[Ints, Ints]:
    """Positions of the category columns, which the trees see first, and those of the number columns."""
    positions = model._preprocessor._transformer_to_input_indices
    return np.asarray(positions["encoder"], int), np.asarray(positions["numerical"], int)


def encoder(model: Any) -> Any:
    """The fitted OrdinalEncoder of the category columns."""
    return model._preprocessor.named_transformers_["encoder"]


def columns(model: Any, rows: Any) -> Floats:
    """(rows, columns): the columns that the trees see."""
    return np.asarray(model._preprocessor.transform(rows), np.float64)
