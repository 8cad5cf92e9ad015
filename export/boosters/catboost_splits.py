"""The splits of a CatBoost model, each listed once in its dump: which numbers and categories go where."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unpickled.export.boosters import catboost_counters as counters
from unpickled.export.errors import NoGraph
from unpickled.export.trees import Bools, Floats, Ints, before_rounding

_LARGEST = float(np.finfo(np.float32).max)
# The largest float64 that is rounded to the largest float32, not to infinity.
_LAST = float(np.nextafter((2.0 - 2.0**-24) * 2.0**127, 0.0))


@dataclass(frozen=True, slots=True, eq=False)
class Splits:
    """The splits by their index in the dump; ``sets`` and ``texts`` as in Tree and Boosted.

    ``swapped``: the rows that go left here are those that CatBoost sends to the right.
    """

    feature: Ints
    threshold: Floats
    missing_left: Bools
    swapped: Bools
    sets: Mapping[int, Ints]
    texts: Mapping[int, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class _Sides:
    """A split of the categories in a column: whether the category with a hash goes right, and all others."""

    column: int
    right: Mapping[int, bool]
    others_right: bool


def read(info: Mapping[str, Any], tables: Mapping[str, Any]) -> Splits:
    """The splits of a dump's ``features_info`` and ``ctr_data``: of numbers, of categories, of counters.

    Raises NoGraph for counters of several columns, and for categories whose text is not known.
    """
    hashes = {item["value"]: _signed(item["hash"]) for item in info.get("cat_features_hash", ())}
    numbers, sides = _numbers(info), [*_one_hot(info), *_counted(info, tables)]
    texts = {
        column: _texts(column, frozenset().union(*(s.right for s in sides if s.column == column)), hashes)
        for column in sorted({side.column for side in sides})
    }
    start, count = len(numbers[0]), len(sides)
    return Splits(
        feature=np.concatenate([numbers[0], np.array([side.column for side in sides], np.int64)]),
        threshold=np.concatenate([numbers[1], np.zeros(count)]),
        missing_left=np.concatenate([numbers[2], np.zeros(count, bool)]),
        swapped=np.array([False] * start + [not side.others_right for side in sides], bool),
        sets={
            index: _unlike_others(side, [hashes[text] for text in texts[side.column]])
            for index, side in enumerate(sides, start)
        },
        texts=texts,
    )


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
            yield _Sides(item["flat_feature_index"], {_signed(value): True}, False)


def _counted(info: Mapping[str, Any], tables: Mapping[str, Any]) -> Iterator[_Sides]:
    """The splits at a border of the numbers that a counter has for categories."""
    columns = [item["flat_feature_index"] for item in info.get("categorical_features", ())]
    for item in info.get("ctrs", ()):
        column = columns[counters.position(item)]
        values, other = counters.values(item, tables[item["identifier"]])
        for border in item["borders"]:
            right = {_signed(key): bool(value > border) for key, value in values.items()}
            yield _Sides(column, right, bool(other > border))


def _signed(number: int) -> int:
    """A hash of 32 bits, which the dump writes with and without a sign, with one."""
    return number - 2**32 if number >= 2**31 else number


def _texts(column: int, known: frozenset[int], hashes: Mapping[str, int]) -> tuple[str, ...]:
    """The texts of these hashes, in order; NoGraph if the text of one is not known."""
    texts = sorted(text for text, key in hashes.items() if key in known)
    if len({hashes[text] for text in texts}) < len(known):
        raise NoGraph(
            f"its column {column} was trained on categories that the rows given lack",
            "give all of the training rows",
        )
    return tuple(texts)


def _unlike_others(side: _Sides, keys: Sequence[int]) -> Ints:
    """The codes of the categories that do not go where unknown ones go."""
    right = np.array([side.right.get(key, side.others_right) for key in keys], bool)
    return np.flatnonzero(right != side.others_right).astype(np.int64)
