"""The splits of a CatBoost model, each listed once in its dump: which numbers and categories go where."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from unpickled.export.boosters import catboost_counters
from unpickled.export.boosters.catboost_borders import ends, signed
from unpickled.export.boosters.catboost_counters import Counter
from unpickled.export.trees import Bools, Floats, Ints


@dataclass(frozen=True, slots=True, eq=False)
class Splits:
    """The splits by their index in the dump; ``sets`` as in Tree, of hashes.

    ``swapped``: the rows that go left here are those that CatBoost sends to the right. The columns of the
    ``counters`` follow those of the rows.
    """

    feature: Ints
    threshold: Floats
    missing_left: Bools
    swapped: Bools
    sets: Mapping[int, Ints]
    counters: tuple[Counter, ...]


def read(dump: Mapping[str, Any], width: int) -> Splits:
    """The splits of a model of so many columns: first of numbers, then of categories, then of counters."""
    info = dump["features_info"]
    feature, threshold, missing_left = _numbers(info)
    one_hot = list(_one_hot(info))
    listed = list(catboost_counters.read(info, dump.get("ctr_data", {})))
    borders = np.array([border for _, borders in listed for border in borders], np.float64)
    owner = np.repeat(np.arange(len(listed)), [len(borders) for _, borders in listed]).astype(np.int64)
    start, end = len(feature), len(feature) + len(one_hot)
    count = end + len(borders)
    return Splits(
        feature=np.concatenate([feature, np.array([place for place, _ in one_hot], np.int64), width + owner]),
        threshold=np.concatenate([threshold, np.zeros(len(one_hot)), borders]),
        missing_left=np.concatenate([missing_left, np.zeros(count - start, bool)]),
        swapped=(np.arange(count) >= start) & (np.arange(count) < end),
        sets={index: np.array([value], np.int64) for index, (_, value) in enumerate(one_hot, start)},
        counters=tuple(counter for counter, _ in listed),
    )


def _numbers(info: Mapping[str, Any]) -> tuple[Ints, Floats, Bools]:
    """The column of each border, its threshold, and whether a missing number goes left."""
    features = info.get("float_features", ())
    counts = [len(item["borders"] or ()) for item in features]
    borders = np.array([border for item in features for border in item["borders"] or ()], np.float64)
    column = np.array([item["flat_feature_index"] for item in features], np.int64)
    # Without missing numbers in training ("AsIs"), NaN is compared with the border, and is not above it.
    left = np.array([item["nan_value_treatment"] != "AsTrue" for item in features], bool)
    return np.repeat(column, counts), ends(borders), np.repeat(left, counts)


def _one_hot(info: Mapping[str, Any]) -> Iterator[tuple[int, int]]:
    """The column and the hash of each split that sends a single category to the right."""
    for item in info.get("categorical_features", ()):
        for value in item.get("values", ()):
            yield item["flat_feature_index"], signed(value)
