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
# A column and the value to set in it.
Cell = tuple[str, object]

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
    gaps = frame.isna().any()
    return with_columns(
        frame,
        {f.name: frame[f.name].fillna(f.median) for f in features if f.median is not None and gaps[f.name]},
    )


def with_columns(frame: pd.DataFrame, columns: Mapping[str, Any]) -> pd.DataFrame:
    """A copy of the frame with other values in some columns; its columns keep their order and types.

    A frame that gets thousands of columns one by one falls apart into as many pieces of memory.
    """
    if not columns:
        return frame.copy()
    numbers = _block(frame)
    if numbers is None:
        whole = {name: columns.get(name, frame[name]) for name in frame.columns}
        return pd.DataFrame(whole, index=frame.index, columns=frame.columns).astype(frame.dtypes.to_dict())
    numbers, positions = numbers.copy(), _positions(frame)
    for name, values in columns.items():
        numbers[:, positions[name]] = values
    return pd.DataFrame(numbers, index=frame.index, columns=frame.columns, copy=False)


def with_cells(
    frame: pd.DataFrame, positions: npt.NDArray[np.int64], values: npt.NDArray[Any]
) -> pd.DataFrame:
    """A copy of the frame with one other number in each row, in the column at the row's position."""
    numbers = _block(frame)
    if numbers is not None:
        numbers = numbers.copy()
        numbers[np.arange(len(frame)), positions] = values
        return pd.DataFrame(numbers, index=frame.index, columns=frame.columns, copy=False)
    columns = {}
    for position in np.unique(positions):
        moved = positions == position
        columns[frame.columns[position]] = np.where(moved, values, frame.iloc[:, position])
    return with_columns(frame, columns)


def _block(frame: pd.DataFrame) -> npt.NDArray[Any] | None:
    """The numbers of a frame that holds nothing else; None if it holds text."""
    return None if any(dtype.kind == "O" for dtype in frame.dtypes.unique()) else frame.to_numpy()


def _positions(frame: pd.DataFrame) -> dict[str, int]:
    return {name: position for position, name in enumerate(frame.columns)}


def each(base: pd.DataFrame, cells: Sequence[Cell]) -> pd.DataFrame:
    """The rows once for each cell, with the cell set: len(cells) * len(base) rows."""
    return copies(base, [[cell] for cell in cells])


def copies(base: pd.DataFrame, changes: Sequence[Iterable[Cell]]) -> pd.DataFrame:
    """The rows once for each list of cells, with these cells set: len(changes) * len(base) rows."""
    numbers = _block(base)
    if numbers is not None:
        return pd.DataFrame(_changed(base, numbers, changes), columns=base.columns, copy=False)
    parts = []
    for kind in ("number", "O"):
        part = base.loc[:, [(dtype.kind == "O") == (kind == "O") for dtype in base.dtypes]]
        if part.shape[1]:
            values = _changed(part, part.to_numpy(object if kind == "O" else None), changes)
            parts.append(pd.DataFrame(values, columns=part.columns, dtype=values.dtype))
    return parts[0] if len(parts) == 1 else pd.concat(parts, axis=1)[list(base.columns)]


def _changed(
    base: pd.DataFrame, values: npt.NDArray[Any], changes: Sequence[Iterable[Cell]]
) -> npt.NDArray[Any]:
    size, positions = len(base), _positions(base)
    changed = np.tile(values, (len(changes), 1))
    for row, cells in enumerate(changes):
        for name, value in cells:
            if name in positions:
                changed[row * size : (row + 1) * size, positions[name]] = value
    return changed


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
    features: Iterable[Feature], low: Mapping[str, float], high: Mapping[str, float], dtype: str
) -> list[Cell]:
    """Each feature at the ends of its training range, and at zeros and tiny numbers if these are allowed."""
    info = np.finfo(dtype)
    small = (0.0, -0.0, float(info.smallest_subnormal), -float(info.smallest_subnormal), float(info.tiny))
    cells: list[Cell] = []
    for feature in features:
        first, last = low[feature.name], high[feature.name]
        cells += [(feature.name, end) for end in (feature.minimum, feature.maximum)]
        cells += [(feature.name, value) for value in small if first <= value <= last]
    return cells


def corners(low: Mapping[str, float], high: Mapping[str, float]) -> list[Mapping[str, float]]:
    """All numbers at their lowest, all at their highest, and twice at alternating ends."""
    names = list(low)
    alternating = {name: (low if i % 2 else high)[name] for i, name in enumerate(names)}
    reverse = {name: (high if i % 2 else low)[name] for i, name in enumerate(names)}
    return [low, high, alternating, reverse]


def together(base: pd.DataFrame, low: Mapping[str, float], high: Mapping[str, float]) -> pd.DataFrame:
    """The rows at each of these corners."""
    return copies(base, [corner.items() for corner in corners(low, high)])


def mixed(frame: pd.DataFrame, count: int, random: np.random.Generator) -> pd.DataFrame:
    """Rows whose cells are drawn independently from each column, without missing values if possible."""
    gaps = frame.isna()
    columns = {}
    for position, name in enumerate(frame.columns):
        column = frame.iloc[:, position].to_numpy()
        present = column[~gaps.iloc[:, position].to_numpy()]
        present = present if len(present) else column
        columns[name] = present[random.integers(0, len(present), count)]
    if _block(frame) is not None:
        return pd.DataFrame(np.stack(list(columns.values()), axis=1), columns=frame.columns)
    return pd.DataFrame(columns, columns=frame.columns).astype(frame.dtypes.to_dict())


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
    return with_columns(frame, {name: numbers.astype(frame[name].dtype) for name, numbers in draws.items()})


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
    return with_columns(rows, dict(zip(names, values.T, strict=True)))


def outside(frames: Sequence[pd.DataFrame], features: Sequence[Feature]) -> Floats:
    """(rows, features): how far each number lies outside of training, in multiples of the range."""
    if not frames:
        return np.zeros((0, len(features)))
    rows, columns = stacked(frames), []
    for feature in features:
        unit, values = span(feature), rows[feature.name].to_numpy(dtype=np.float64)
        first, last = (feature.minimum or 0.0) / unit, (feature.maximum or 0.0) / unit
        beyond = np.maximum(first - values / unit, values / unit - last)
        inside = (values >= (feature.minimum or 0.0)) & (values <= (feature.maximum or 0.0))
        columns.append(np.where(inside, 0.0, np.clip(np.nan_to_num(beyond), 1e-300, 1e300)))
    return np.stack(columns, axis=1)


def holes(base: pd.DataFrame, features: Sequence[Feature]) -> pd.DataFrame:
    """All features missing at once, and ten seeded mixtures."""
    random = np.random.default_rng(0)
    sets = [list(features)] + [[f for f in features if random.random() < 0.5] for _ in range(10)]
    return copies(base, [[(f.name, blank(f)) for f in blanked] for blanked in sets])


def perforated(rows: pd.DataFrame, features: Sequence[Feature]) -> pd.DataFrame:
    """The rows, in each of which about a third of these features is missing; seeded."""
    random, holed = np.random.default_rng(0), {}
    for feature in features:
        column = rows[feature.name].to_numpy(copy=True)
        column[random.random(len(rows)) < 1 / 3] = blank(feature)
        holed[feature.name] = column
    return with_columns(rows, holed)


def unknown(feature: Feature) -> list[Cell]:
    """Categories that training has not seen, the empty text among them."""
    return [(feature.name, text) for text in _UNKNOWN if text not in feature.categories]
