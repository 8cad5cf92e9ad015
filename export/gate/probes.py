"""Made-up rows for the gate: numbers at and beyond their range, missing values, unknown categories.

Every function takes and returns frames as ``Layout`` describes them.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from unpickled.server.artifact.manifest import Feature

Floats = npt.NDArray[np.float64]

# The rungs of a ladder: multiples of the training range beyond its end, then magnitudes.
_MULTIPLES = (0.5, 1.0, 10.0, 100.0, 1e3)
_MAGNITUDES = (
    *(10.0**power for power in (6, 9, 12, 15, 18, 21, 24, 27, 30, 33, 34, 35, 36, 37, 38)),
    float(np.finfo(np.float32).max),
    *(10.0**power for power in (75, 100, 150, 200, 300)),
    float(np.finfo(np.float64).max),
)
# Texts that hardly any column holds.
_UNKNOWN = ("no such category", "", " ", "\u00e9\u0000z")


def sample(frame: pd.DataFrame, count: int) -> pd.DataFrame:
    """A seeded sample of the rows, in their order."""
    order = np.random.default_rng(0).permutation(len(frame))[:count]
    return frame.iloc[np.sort(order)].reset_index(drop=True)


def filled(frame: pd.DataFrame, features: Iterable[Feature]) -> pd.DataFrame:
    """The rows with medians for missing numbers."""
    medians = {f.name: frame[f.name].fillna(f.median) for f in features if f.median is not None}
    return frame.assign(**medians)


def replaced(frame: pd.DataFrame, values: Mapping[str, object]) -> pd.DataFrame:
    """The rows with one value in all of a column, for some columns."""
    columns = {
        name: pd.Series([value] * len(frame), index=frame.index, dtype=frame[name].dtype)
        for name, value in values.items()
    }
    return frame.assign(**columns)


def each(base: pd.DataFrame, cells: Sequence[tuple[str, object]]) -> pd.DataFrame:
    """The rows once for each cell (column, value), with the cell set: len(cells) * len(base) rows."""
    size, positions = len(base), {name: i for i, name in enumerate(base.columns)}
    dtype = object if any(kind.kind == "O" for kind in base.dtypes) else base.dtypes.iloc[0]
    values = np.tile(base.to_numpy(dtype=dtype), (len(cells), 1))
    for row, (name, value) in enumerate(cells):
        values[row * size : (row + 1) * size, positions[name]] = value
    return _typed(values, base)


def _typed(values: npt.NDArray[Any], like: pd.DataFrame) -> pd.DataFrame:
    frame = pd.DataFrame(values, columns=like.columns)
    return frame if values.dtype.kind != "O" else frame.astype(like.dtypes.to_dict())


def stacked(frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """The rows of all frames in one."""
    return pd.concat(list(frames), ignore_index=True)


def blank(feature: Feature) -> object:
    """The value that stands for a missing one in a frame."""
    return np.nan if feature.kind == "number" else None


def span(feature: Feature) -> float:
    """The width of the training range; for a constant, its magnitude."""
    low, high = feature.minimum or 0.0, feature.maximum or 0.0
    return min(high - low, float(np.finfo(np.float64).max)) or max(abs(high), 1.0)


def ladder(feature: Feature, side: int, top: float) -> list[float]:
    """Numbers ever further out on one side (-1 or 1), from the end of the training range on."""
    edge, unit = (feature.minimum if side < 0 else feature.maximum) or 0.0, span(feature)
    steps = [edge + side * unit * multiple for multiple in _MULTIPLES]
    steps += [side * magnitude for magnitude in _MAGNITUDES]
    rungs = [edge]
    for step in steps:
        if abs(step) <= top and step * side > rungs[-1] * side:
            rungs.append(step)
    return rungs


def inside(
    base: pd.DataFrame,
    features: Iterable[Feature],
    low: Mapping[str, float],
    high: Mapping[str, float],
    dtype: str,
) -> pd.DataFrame:
    """One feature at a time at its limits, at the ends of its training range, at zeros and tiny numbers."""
    info = np.finfo(dtype)
    small = (0.0, -0.0, float(info.smallest_subnormal), -float(info.smallest_subnormal), float(info.tiny))
    cells = []
    for feature in features:
        first, last = low[feature.name], high[feature.name]
        cells += [(feature.name, end) for end in (first, last, feature.minimum, feature.maximum)]
        cells += [(feature.name, value) for value in small if first <= value <= last]
    return each(base, cells)


def together(base: pd.DataFrame, low: Mapping[str, float], high: Mapping[str, float]) -> pd.DataFrame:
    """All numbers at their lowest, all at their highest, and twice at alternating ends."""
    names = list(low)
    alternating = {name: (low if i % 2 else high)[name] for i, name in enumerate(names)}
    reverse = {name: (high if i % 2 else low)[name] for i, name in enumerate(names)}
    return stacked(replaced(base, values) for values in (low, high, alternating, reverse))


def mixed(frame: pd.DataFrame, count: int, random: np.random.Generator) -> pd.DataFrame:
    """Rows whose cells are drawn independently from each column, without missing values if possible."""
    columns = {}
    for name in frame.columns:
        present = frame[name].dropna()
        present = present if len(present) else frame[name]
        columns[name] = present.iloc[random.integers(0, len(present), count)].reset_index(drop=True)
    return _typed(pd.DataFrame(columns).to_numpy(), frame)


def between(values: Sequence[float]) -> list[float]:
    """Numbers that are not among these: one below, one above, and one between each two, a hundred at most."""
    low, high = min(values), max(values)
    middles = [first / 2 + second / 2 for first, second in pairwise(sorted(values))][:100]
    strange = [low - 1.5 - abs(low), *middles, high + 1.5 + abs(high)]
    return [number for number in strange if number not in values]


def known(frame: pd.DataFrame, features: Iterable[Feature]) -> pd.DataFrame:
    """The rows with numbers drawn from the ``values`` of these features, seeded."""
    random = np.random.default_rng(0)
    draws = {feature.name: random.choice(np.array(feature.values), len(frame)) for feature in features}
    return frame.assign(**{name: numbers.astype(frame[name].dtype) for name, numbers in draws.items()})


def ties(frame: pd.DataFrame, features: Sequence[Feature], count: int) -> pd.DataFrame:
    """Seeded rows that may be equally far from several rows of ``frame``.

    A third are mixed from its columns, a third are random numbers with as many decimals as its columns, and
    a third lie halfway between two rows. Midpoints are rounded to the column's precision: exact ties at
    other numbers never occur in real rows.
    """
    random = np.random.default_rng(0)
    parts = [mixed(frame, count // 3, random) for _ in range(3)]
    first, second = random.integers(0, len(frame), (2, len(parts[2])))
    complete = filled(frame, features)
    for feature in features:
        numbers = complete[feature.name].to_numpy()
        parts[1][feature.name] = _lattice(feature, numbers, len(parts[1]), random)
        decimals = _decimals(numbers)
        if decimals is not None:
            parts[2][feature.name] = (numbers[first] / 2 + numbers[second] / 2).round(decimals)
    return stacked(parts)


def _lattice(feature: Feature, values: Floats, count: int, random: np.random.Generator) -> Floats:
    """Random numbers within the feature's range, with as many decimals as its values."""
    low, high = feature.minimum or 0.0, feature.maximum or 0.0
    finite = np.isfinite(high - low)
    numbers = random.uniform(low, high, count) if finite else random.choice([low, high], count)
    decimals = _decimals(values)
    rounded = numbers if decimals is None else numbers.round(decimals)
    return np.asarray(np.clip(rounded, low, high).astype(values.dtype))


def _decimals(values: Floats) -> int | None:
    """The number of decimals that is enough for all values; None if six are not."""
    finite = values[np.isfinite(values)]
    return next((decimals for decimals in range(7) if np.array_equal(finite.round(decimals), finite)), None)


def spread(
    frame: pd.DataFrame,
    features: Sequence[Feature],
    low: Mapping[str, float],
    high: Mapping[str, float],
    count: int,
    seed: int,
) -> pd.DataFrame:
    """Seeded rows within these ends.

    ``count`` rows within training, then as many with one feature far out, with some, and with all. Distances
    are log-uniform on both sides, in multiples of the range. The last rows are four corners and all zeros.
    """
    random, names = np.random.default_rng(seed), [feature.name for feature in features]
    rows = mixed(filled(frame, features), 4 * count, random)
    edges = np.array([[f.minimum or 0.0, f.maximum or 0.0] for f in features])
    ends = np.array([[low[name], high[name]] for name in names])
    spans = np.array([span(feature) for feature in features])
    inside = edges[:, 0] + random.random((4 * count, len(names))) * (edges[:, 1] - edges[:, 0])
    upper = random.random(inside.shape) < 0.5
    edge = np.where(upper, edges[:, 1], edges[:, 0])
    reach = np.where(
        upper, ends[:, 1] / spans - edges[:, 1] / spans, edges[:, 0] / spans - ends[:, 0] / spans
    )
    reach = np.clip(np.nan_to_num(reach), 0.0, 1e300)
    # Half of the rows stay within a million ranges, as most would lie among the largest numbers otherwise.
    reach[::2] = np.minimum(reach[::2], 1e6)
    distance = reach * 10.0 ** -random.uniform(0.0, np.log10(np.maximum(reach, 1.0)) + 2.0)
    outside = np.zeros(inside.shape, dtype=bool)
    outside[np.arange(count, 2 * count), random.integers(0, len(names), count)] = True
    outside[2 * count : 3 * count] = random.random((count, len(names))) < 0.4
    outside[3 * count :] = True
    values = np.where(outside, edge + np.where(upper, 1, -1) * distance * spans, inside)
    positions, corner = np.arange(len(names)), np.arange(len(names)) % 2
    values[-5:] = ends[:, 0], ends[:, 1], ends[positions, corner], ends[positions, 1 - corner], 0.0 * spans
    values = np.clip(values, ends[:, 0], ends[:, 1]).astype(rows[names].dtypes.iloc[0])
    values = np.where(values < ends[:, 0], np.nextafter(values, np.inf, dtype=values.dtype), values)
    values = np.where(values > ends[:, 1], np.nextafter(values, -np.inf, dtype=values.dtype), values)
    rows[names] = values
    return rows


def outside(rows: pd.DataFrame, features: Sequence[Feature]) -> Floats:
    """(rows, features): how far each number lies outside of training, in multiples of the range."""
    columns = []
    for feature in features:
        unit, values = span(feature), rows[feature.name].to_numpy(dtype=np.float64)
        first, last = (feature.minimum or 0.0) / unit, (feature.maximum or 0.0) / unit
        beyond = np.maximum(first - values / unit, values / unit - last)
        inside = (values >= (feature.minimum or 0.0)) & (values <= (feature.maximum or 0.0))
        columns.append(np.where(inside, 0.0, np.clip(np.nan_to_num(beyond), 1e-300, 1e300)))
    return np.stack(columns, axis=1)


def holes(base: pd.DataFrame, features: Sequence[Feature]) -> pd.DataFrame:
    """Each feature missing alone, all at once, and ten seeded mixtures."""
    random = np.random.default_rng(0)
    alone = each(base, [(feature.name, blank(feature)) for feature in features])
    sets = [list(features)] + [[f for f in features if random.random() < 0.5] for _ in range(10)]
    return stacked([alone, *(replaced(base, {f.name: blank(f) for f in blanked}) for blanked in sets)])


def perforated(rows: pd.DataFrame, features: Sequence[Feature]) -> pd.DataFrame:
    """The rows, in each of which about a third of these features is missing; seeded."""
    random, holed = np.random.default_rng(0), {}
    for feature in features:
        column = rows[feature.name].to_numpy(copy=True)
        column[random.random(len(rows)) < 1 / 3] = blank(feature)
        holed[feature.name] = column
    return rows.assign(**holed)


def unknown(base: pd.DataFrame, feature: Feature) -> pd.DataFrame:
    """The rows with categories that training has not seen, the empty text among them."""
    return each(base, [(feature.name, text) for text in _UNKNOWN if text not in feature.categories])
