"""Rows the gate makes up: numbers at and beyond their range, holes, unknown categories.

Every function takes and returns frames as table.py describes them.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from server.artifact import Feature

# How far beyond the training rows a number may lie: multiples of their range, then magnitudes.
_MULTIPLES = (0.5, 1.0, 10.0, 100.0, 1e3)
_MAGNITUDES = (
    *(10.0**power for power in (6, 9, 12, 15, 18, 21, 24, 27, 30, 33, 34, 35, 36, 37, 38)),
    float(np.finfo(np.float32).max),
    *(10.0**power for power in (75, 100, 150, 200, 300)),
    float(np.finfo(np.float64).max),
)
# Texts hardly any column knows.
_STRANGE = ("no such category", "", " ", "\u00e9\u0000z")


def sample(frame: pd.DataFrame, count: int) -> pd.DataFrame:
    """Seeded rows, in their own order."""
    order = np.random.default_rng(0).permutation(len(frame))[:count]
    return frame.iloc[np.sort(order)].reset_index(drop=True)


def filled(frame: pd.DataFrame, features: Iterable[Feature]) -> pd.DataFrame:
    """The rows with medians for missing numbers."""
    medians = {f.name: frame[f.name].fillna(f.median) for f in features if f.median is not None}
    return frame.assign(**medians)


def put(frame: pd.DataFrame, values: Mapping[str, object]) -> pd.DataFrame:
    """The rows with some columns replaced by one value each."""
    columns = {
        name: pd.Series([value] * len(frame), index=frame.index, dtype=frame[name].dtype)
        for name, value in values.items()
    }
    return frame.assign(**columns)


def each(base: pd.DataFrame, cells: Sequence[tuple[str, object]]) -> pd.DataFrame:
    """The rows once for every cell (column, value), with that one set: len(cells) * len(base) rows."""
    size, places = len(base), {name: i for i, name in enumerate(base.columns)}
    dtype = object if any(kind.kind == "O" for kind in base.dtypes) else base.dtypes.iloc[0]
    values = np.tile(base.to_numpy(dtype=dtype), (len(cells), 1))
    for row, (name, value) in enumerate(cells):
        values[row * size : (row + 1) * size, places[name]] = value
    return _typed(values, base)


def _typed(values: npt.NDArray[Any], like: pd.DataFrame) -> pd.DataFrame:
    frame = pd.DataFrame(values, columns=like.columns)
    return frame if values.dtype.kind != "O" else frame.astype(like.dtypes.to_dict())


def stacked(frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """All rows in one frame."""
    return pd.concat(list(frames), ignore_index=True)


def blank(feature: Feature) -> object:
    """What stands for a missing value in a frame."""
    return np.nan if feature.kind == "number" else None


def ladder(feature: Feature, side: int, top: float) -> list[float]:
    """Numbers ever further out on one side (-1 or 1), the first the end of the training range."""
    low, high = feature.minimum or 0.0, feature.maximum or 0.0
    edge, span = (low if side < 0 else high), (high - low) or max(abs(high), 1.0)
    steps = [edge + side * span * multiple for multiple in _MULTIPLES]
    steps += [side * magnitude for magnitude in _MAGNITUDES]
    out = [edge]
    for step in steps:
        if abs(step) <= top and step * side > out[-1] * side:
            out.append(step)
    return out


def inside(
    base: pd.DataFrame,
    features: Iterable[Feature],
    low: Mapping[str, float],
    high: Mapping[str, float],
    dtype: str,
) -> pd.DataFrame:
    """One feature at a time at its ends, those of training, zeros and the smallest numbers."""
    info = np.finfo(dtype)
    small = (0.0, -0.0, float(info.smallest_subnormal), -float(info.smallest_subnormal), float(info.tiny))
    cells = []
    for feature in features:
        first, last = low[feature.name], high[feature.name]
        cells += [(feature.name, end) for end in (first, last, feature.minimum, feature.maximum)]
        cells += [(feature.name, value) for value in small if first <= value <= last]
    return each(base, cells)


def together(base: pd.DataFrame, low: Mapping[str, float], high: Mapping[str, float]) -> pd.DataFrame:
    """All numbers at their lowest, at their highest, and at alternating ends."""
    names = list(low)
    alternating = {name: (low if i % 2 else high)[name] for i, name in enumerate(names)}
    reverse = {name: (high if i % 2 else low)[name] for i, name in enumerate(names)}
    return stacked(put(base, values) for values in (low, high, alternating, reverse))


def holes(base: pd.DataFrame, features: Sequence[Feature]) -> pd.DataFrame:
    """Each feature missing alone, all at once, and ten seeded mixtures."""
    random = np.random.default_rng(0)
    alone = each(base, [(feature.name, blank(feature)) for feature in features])
    sets = [list(features)] + [[f for f in features if random.random() < 0.5] for _ in range(10)]
    return stacked([alone, *(put(base, {f.name: blank(f) for f in some}) for some in sets)])


def strange(base: pd.DataFrame, feature: Feature) -> pd.DataFrame:
    """Texts the feature does not know, the empty one among them."""
    return each(base, [(feature.name, text) for text in _STRANGE if text not in feature.categories])
