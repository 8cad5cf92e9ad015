"""The splits of a CatBoost model, each listed once in its dump: which numbers and categories go where."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from unpickled.export.boosters import catboost_counters as counters
from unpickled.export.trees import Bools, Floats, Ints, before_rounding

_LARGEST = float(np.finfo(np.float32).max)
# The largest float64 that is rounded to the largest float32, not to infinity.
_LAST = float(np.nextafter((2.0 - 2.0**-24) * 2.0**127, 0.0))


@dataclass(frozen=True, slots=True, eq=False)
class Splits:
    """The splits by their index in the dump; ``sets`` as in Tree, of hashes.

    ``swapped``: the rows that go left here are those that CatBoost sends to the right.
    """

    feature: Ints
    threshold: Floats
    missing_left: Bools
    swapped: Bools
    sets: Mapping[int, Ints]


@dataclass(frozen=True, slots=True)
class _Sides:
    """A split of the categories in a column: whether the category with a hash goes right, and all others."""

    column: int
    right: Mapping[int, bool]
    others_right: bool

    @property
    def apart(self) -> Ints:
        """The hashes of the categories that do not go where all others go."""
        return np.array([key for key, right in self.right.items() if right != self.others_right], np.int64)


def read(info: Mapping[str, Any], tables: Mapping[str, Any]) -> Splits:
    """The splits of a dump's ``features_info`` and ``ctr_data``: of numbers, of categories, of counters.

    Raises NoGraph for counters of several columns.
    """
    feature, threshold, missing_left = _numbers(info)
    sides, start = [*_one_hot(info), *_counted(info, tables)], len(feature)
    others = np.zeros(len(sides))
    return Splits(
        feature=np.concatenate([feature, np.array([side.column for side in sides], np.int64)]),
        threshold=np.concatenate([threshold, others]),
        missing_left=np.concatenate([missing_left, others > 0.0]),
        swapped=np.array([False] * start + [not side.others_right for side in sides], bool),
        sets={index: side.apart for index, side in enumerate(sides, start)},
    )


def signed(number: int) -> int:
    """A hash of 32 bits, which the dump writes with and without a sign, with one."""
    return number - 2**32 if number >= 2**31 else number


def _numbers(info: Mapping[str, Any]) -> tuple[Ints, Floats, Bools]:
    """The column of each border, its threshold, and whether a missing number goes left."""
    features = info.get("float_features", ())
    counts = [len(item["borders"] or ()) for item in features]
    borders = np.array([border for item in features for border in item["borders"] or ()], np.float64)
    column = np.array([item["flat_feature_index"] for item in features], np.int64)
    # Without missing numbers in training ("AsIs"), NaN is compared with the border, and is not above it.
    left = np.array([item["nan_value_treatment"] != "AsTrue" for item in features], bool)
    with np.errstate(over="ignore"):
        threshold = np.where(borders == _LARGEST, _LAST, before_rounding(borders))
    return np.repeat(column, counts), threshold, np.repeat(left, counts)


def _one_hot(info: Mapping[str, Any]) -> Iterator[_Sides]:
    """The splits that send a single category to the right."""
    for item in info.get("categorical_features", ()):
        for value in item.get("values", ()):
            yield _Sides(item["flat_feature_index"], {signed(value): True}, False)


def _counted(info: Mapping[str, Any], tables: Mapping[str, Any]) -> Iterator[_Sides]:
    """The splits at a border of the numbers that a counter has for categories."""
    columns = [item["flat_feature_index"] for item in info.get("categorical_features", ())]
    for item in info.get("ctrs", ()):
        column = columns[counters.position(item)]
        values, other = counters.values(item, tables[item["identifier"]])
        for border in item["borders"]:
            right = {signed(key): bool(value > border) for key, value in values.items()}
            yield _Sides(column, right, bool(other > border))
