"""The counters of a CatBoost model: the number that stands for a category, from its counts in training.

A counter may count the combinations of several categories, and of answers to questions about other columns.
Its numbers are a column of their own for the trees.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from unpickled.export.boosters.catboost_borders import ends, signed
from unpickled.export.errors import NoGraph
from unpickled.export.trees import Bools, Floats, Ints

_COUNTS = ("Counter", "FeatureFreq")
_CLASSES = ("Borders", "Buckets")

# Keys are hashes of 64 bits, made with this factor; that of no combination marks cells without one.
_FACTOR = np.uint64(0x4906BA494954CB65)
_UNUSED = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Question:
    """Whether a column is above a threshold; or, with ``value``, whether it holds the category of a hash."""

    column: int
    threshold: float = 0.0
    missing_above: bool = False
    value: int | None = None

    def answers(self, x: Floats) -> Bools:
        """The answers for the numbers or hashes of the column."""
        if self.value is not None:
            return np.asarray(x == self.value)
        return np.asarray(~(x <= self.threshold) if self.missing_above else x > self.threshold)


@dataclass(frozen=True, slots=True, eq=False)
class Counter:
    """The number of each combination that training had, in order of their keys, and of any other one.

    A combination is the categories of ``columns`` and the answers to ``questions``.
    """

    columns: tuple[int, ...]
    questions: tuple[Question, ...]
    keys: np.ndarray[Any, np.dtype[np.uint64]]
    numbers: Floats
    other: float

    def looked_up(self, keys: np.ndarray[Any, np.dtype[np.uint64]]) -> Floats:
        """The number for each key."""
        place = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[place] == keys, self.numbers[place], self.other)

    def column(self, seen: Floats) -> Floats:
        """(rows,): the numbers for rows (rows, columns) of numbers and hashes."""
        categories = [seen[:, place].astype(np.int64) for place in self.columns]
        asked = [question.answers(seen[:, question.column]) for question in self.questions]
        return self.looked_up(key(*categories, *(answers.astype(np.int64) for answers in asked)))


def key(*parts: Ints) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """The keys of combinations, from the hashes of the categories and then the answers, 0 or 1."""
    combined = np.zeros(1, np.uint64)
    with np.errstate(over="ignore"):
        for part in parts:
            combined = _FACTOR * (combined + _FACTOR * part.astype(np.uint64))
    return combined


def check(dump: Mapping[str, Any]) -> None:
    """Refuse counters of several targets or of several divisions of one: the dump has one of them only."""
    items, options = dump["features_info"].get("ctrs", ()), dump["model_info"]["params"]
    features = options["cat_feature_params"]
    listed = [*features["simple_ctrs"], *itertools.chain(*features["per_feature_ctrs"].values())]
    if any(len(item["elements"]) > 1 for item in items):
        listed += features["combinations_ctrs"]
    divisions = {str(item["target_binarization"]) for item in listed if "target_binarization" in item}
    if items and options["loss_function"]["type"] == "MultiRMSE":
        raise NoGraph("it counts categories for several targets", "fit a model for each target")
    if items and len(divisions) > 1:
        raise NoGraph(
            "it counts categories with several divisions of the target",
            "give all counters one TargetBorderCount",
        )


def read(info: Mapping[str, Any], tables: Mapping[str, Any]) -> Iterator[tuple[Counter, list[float]]]:
    """The counters of a dump's ``features_info`` and ``ctr_data``, each with the borders that split it."""
    for item in info.get("ctrs", ()):
        columns = tuple(_columns(info, item["elements"]))
        questions = tuple(_questions(info, item["elements"]))
        keys, numbers, other = _numbers(item, tables[item["identifier"]])
        yield Counter(columns, questions, keys, numbers, other), item["borders"]


def _columns(info: Mapping[str, Any], elements: list[dict[str, Any]]) -> Iterator[int]:
    for element in elements:
        if element["combination_element"] == "cat_feature_value":
            yield _place(info["categorical_features"], element["cat_feature_index"])


def _questions(info: Mapping[str, Any], elements: list[dict[str, Any]]) -> Iterator[Question]:
    """The questions of a combination: those about numbers come first."""
    for element in elements:
        if element["combination_element"] == "float_feature":
            feature = info["float_features"][element["float_feature_index"]]
            above = feature["nan_value_treatment"] == "AsTrue"
            [threshold] = ends(np.array([element["border"]]))
            yield Question(feature["flat_feature_index"], float(threshold), above)
    for element in elements:
        if element["combination_element"] == "cat_feature_exact_value":
            place = _place(info["categorical_features"], element["cat_feature_index"])
            yield Question(place, value=signed(element["value"]))


def _place(features: list[dict[str, Any]], index: int) -> int:
    return int(features[index]["flat_feature_index"])


def _numbers(
    counter: Mapping[str, Any], table: Mapping[str, Any]
) -> tuple[np.ndarray[Any, np.dtype[np.uint64]], Floats, float]:
    """The keys in order, the number of each, and the number of all other keys."""
    kind, stride, cells = counter["ctr_type"], table["hash_stride"], table["hash_map"]
    if kind not in (*_COUNTS, *_CLASSES, "BinarizedTargetMeanValue"):
        raise NoGraph(f"the counter {kind!r} has no graph", "fit it with simple_ctr=['Borders']")
    lines = (cells[start : start + stride] for start in range(0, len(cells), stride))
    counts = {int(cell): [float(count) for count in line] for cell, *line in lines}
    counts.pop(_UNUSED, None)
    total = float(table["counter_denominator"])
    keys = sorted(counts)
    shares = (_share(kind, counter["target_border_idx"], counts[cell], total) for cell in keys)
    numbers = np.array([_number(counter, *share) for share in shares], np.float64)
    other = _number(counter, 0.0, total if kind in _COUNTS else 0.0)
    return np.array(keys, np.uint64), numbers, other


def _share(kind: str, border: int, line: list[float], total: float) -> tuple[float, float]:
    """How many of how many rows of a category count."""
    if kind in _COUNTS:
        return line[0], total
    if kind == "BinarizedTargetMeanValue":
        return line[0], line[1]
    return (line[border] if kind == "Buckets" else sum(line[border + 1 :])), sum(line)


def _number(counter: Mapping[str, Any], count: float, total: float) -> float:
    """The share with its prior, shifted and scaled, in float32 as CatBoost computes."""
    single = np.float32
    above = single(count) + single(counter["prior_numerator"])
    share = above / (single(total) + single(counter["prior_denomerator"]))
    return float((share + single(counter["shift"])) * single(counter["scale"]))
