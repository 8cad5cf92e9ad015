"""The counters of a CatBoost model: the number that stands for a category, from its counts in training."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from unpickled.export.errors import NoGraph

_COUNTS = ("Counter", "FeatureFreq")
_CLASSES = ("Borders", "Buckets")

# The key of a category is its hash, as 64 bits with a sign, times this number twice, modulo 2**64.
_FACTOR = 0x4906BA494954CB65
_BACK = pow(_FACTOR, -2, 2**64)
_UNUSED = 2**64 - 1


def position(counter: Mapping[str, Any]) -> int:
    """The position among the category columns of the one that is counted; NoGraph for several columns."""
    elements = counter["elements"]
    if [element["combination_element"] for element in elements] != ["cat_feature_value"]:
        raise NoGraph("it counts the combinations of several columns", "fit it with max_ctr_complexity=1")
    return int(elements[0]["cat_feature_index"])


def values(counter: Mapping[str, Any], table: Mapping[str, Any]) -> tuple[dict[int, np.float32], np.float32]:
    """The number of each category, by the 32 bits of its hash, and that of all other categories."""
    kind, stride, cells = counter["ctr_type"], table["hash_stride"], table["hash_map"]
    if kind not in (*_COUNTS, *_CLASSES, "BinarizedTargetMeanValue"):
        raise NoGraph(f"the counter {kind!r} has no graph", "fit it with simple_ctr=['Borders']")
    lines = (cells[start : start + stride] for start in range(0, len(cells), stride))
    counts = {int(key): [float(count) for count in line] for key, *line in lines}
    counts.pop(_UNUSED, None)
    total = float(table["counter_denominator"])
    shares = {
        key * _BACK % 2**32: _number(counter, *_share(kind, counter["target_border_idx"], line, total))
        for key, line in counts.items()
    }
    return shares, _number(counter, 0.0, total if kind in _COUNTS else 0.0)


def _share(kind: str, border: int, line: list[float], total: float) -> tuple[float, float]:
    """How many of how many rows of a category count."""
    if kind in _COUNTS:
        return line[0], total
    if kind == "BinarizedTargetMeanValue":
        return line[0], line[1]
    return (line[border] if kind == "Buckets" else sum(line[border + 1 :])), sum(line)


def _number(counter: Mapping[str, Any], count: float, total: float) -> np.float32:
    """The share with its prior, shifted and scaled, in float32 as CatBoost computes."""
    single = np.float32
    above = single(count) + single(counter["prior_numerator"])
    share = above / (single(total) + single(counter["prior_denomerator"]))
    return single((share + single(counter["shift"])) * single(counter["scale"]))
