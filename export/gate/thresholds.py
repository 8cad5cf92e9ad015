"""Rows beside the splits of the trees in a pipeline, where a rounding error would change the answer."""

import itertools
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import pandas as pd

from unpickled.export.data.layout import Layout
from unpickled.export.gate.memberships import across
from unpickled.export.gate.probes import with_cells
from unpickled.export.gate.sweep import frames, in_blocks
from unpickled.export.gate.trees import seen
from unpickled.export.gate.trees import trees as trees_of
from unpickled.export.inside import Prepare, leaves
from unpickled.export.ordered import bisect, floats, keys
from unpickled.export.progress import Tick, uncounted
from unpickled.export.trees import Bools, Floats, Ints, Tree

# How often bisection between two float64 halves the number of floats between them.
BISECTION = 63
# Up to FEW rows take DEPTH of these steps at once: the pipeline takes hardly longer for a few more rows.
FEW, DEPTH = 600, 3
# Numbers in the rows that show which column moves which.
SOURCE_CELLS = 20_000_000


def near(
    pipeline: Any,
    layout: Layout,
    frame: pd.DataFrame,
    limit: int,
    seed: int = 0,
    tick: Tick = uncounted,
    closed: Collection[str] = (),
) -> pd.DataFrame:
    """At most ``limit`` rows beside splits: for each split the two numbers on either side that are nearest.

    A row of ``frame`` that reaches the split is moved along one feature until it lies beside the split. The
    number is found by bisection through the pipeline's preprocessing, from the row's own number to one beyond
    training, so it is exact for any steps that are monotone in that feature on each side of the row. Features
    in ``closed`` take no number but those in ``frame``, and are not moved. A row that reaches a set of
    categories gets one of another row that takes the other side.
    """
    random = np.random.default_rng(seed)
    base = frame.iloc[np.sort(random.permutation(len(frame))[:1000])].reset_index(drop=True)
    fitted = [(trees_of(leaf), leaf, prepare) for leaf, prepare in leaves(pipeline)]
    groups = [(trees, seen(leaf, prepare)) for trees, leaf, prepare in fitted if trees]
    parts = []
    for trees, prepare in groups:
        # A threshold has four rows beside it, a set of categories one.
        count = max(limit // len(groups) // (5 if any(tree.sets for tree in trees) else 4), 1)
        parts.append(_beside(prepare, trees, layout, base, count, random, tick, closed))
        parts.append(across(_prepared(prepare, layout), trees, layout, base, count, random))
    parts = [part for part in parts if len(part)]
    return pd.concat(parts, ignore_index=True) if parts else frame.iloc[:0]


def _prepared(prepare: Prepare, layout: Layout) -> Callable[[pd.DataFrame], Floats]:
    return lambda rows: _matrix(prepare(layout.rows(rows)))


def _matrix(rows: Any) -> Floats:
    dense = rows.toarray() if hasattr(rows, "toarray") else rows
    return np.asarray(dense, dtype=np.float64)


def _beside(
    prepare: Prepare,
    trees: list[Tree],
    layout: Layout,
    base: pd.DataFrame,
    limit: int,
    random: np.random.Generator,
    tick: Tick,
    closed: Collection[str],
) -> pd.DataFrame:
    prepared = _prepared(prepare, layout)
    source = _sources(prepared, layout, base, closed)
    row, column, threshold = _splits(trees, prepared(base), source, limit, random)
    if not len(row):
        return base.iloc[:0]
    rows = base.iloc[row].reset_index(drop=True)
    feature = source[column]

    depth = DEPTH if len(rows) <= FEW else 1
    steps, total = itertools.count(1), BISECTION // depth + 3
    # A row has a copy for each place that it is moved to at once.
    copies = np.tile(np.arange(len(rows)), 2**depth - 1)
    copied = rows.iloc[copies].reset_index(drop=True)

    def goes_left(places: Ints) -> Bools:
        tick(min(next(steps), total), total)
        row = copies[: places.size]
        moved = _moved(copied.iloc[: len(row)], feature[row], places.ravel(), layout)
        sides = [
            prepared(block)[np.arange(len(block)), column[row[block.index]]] <= threshold[row[block.index]]
            for block in in_blocks(moved)
        ]
        return np.concatenate(sides).reshape(places.shape)

    first, last = _bounds(base, feature, layout)
    here = _here(rows, feature, layout, first)
    at_first, at_here, at_last = goes_left(first), goes_left(here), goes_left(last)
    above = at_here != at_last
    crossed = np.flatnonzero(above | (at_first != at_here))
    at_low = np.where(above, at_here, at_first)
    low, high = bisect(
        lambda places: goes_left(places) == at_low,
        np.where(above, here, first),
        np.where(above, last, here),
        depth,
    )
    beside = np.stack([low, high, low - 1, high + 1])[:, crossed]
    parts = [_moved(rows.iloc[crossed], feature[crossed], position, layout) for position in beside]
    return pd.concat(parts, ignore_index=True)


def _sources(
    prepared: Callable[[pd.DataFrame], Floats], layout: Layout, base: pd.DataFrame, closed: Collection[str]
) -> Ints:
    """For each prepared column the number feature, none of ``closed``, that changes it most; else -1."""
    count = int(np.clip(SOURCE_CELLS // max(base.shape[1] ** 2, 1), 3, 20))
    sample = base.iloc[:count].reset_index(drop=True)
    before = prepared(sample)
    source, strength = np.full(before.shape[1], -1, dtype=np.int64), np.zeros(before.shape[1])
    moves = [
        (i, [(name, _far(base[name], sample[name], layout.dtype))])
        for i, (name, kind) in enumerate(zip(layout.names, layout.kinds, strict=True))
        if kind == "number"
        and name not in closed
        and np.isfinite(base[name].to_numpy(dtype=np.float64)).any()
    ]
    moved = (prepared(part) for part in frames(sample, [move for _, move in moves]))
    changes = (
        np.nan_to_num(np.abs(rows - before)).max(axis=0)
        for part in moved
        for rows in part.reshape(-1, *before.shape)
    )
    for (i, _), change in zip(moves, changes, strict=True):
        stronger = change > strength
        source[stronger], strength[stronger] = i, change[stronger]
    return source


def _far(column: pd.Series, sample: pd.Series, dtype: str) -> Floats:
    """For each number of the sample, the end of its column's range that is further from it."""
    values = column.to_numpy(dtype=np.float64)
    values = values[np.isfinite(values)]
    far = np.where(sample > np.median(values), values.min(), values.max())
    return np.asarray(far.astype(dtype))


def _splits(
    trees: list[Tree], rows: Floats, source: Ints, limit: int, random: np.random.Generator
) -> tuple[Ints, Ints, Floats]:
    """(index of a row that reaches it, column, threshold) of at most ``limit`` splits, over all columns."""
    visitors: list[Ints] = []
    columns: list[Ints] = []
    thresholds: list[Floats] = []
    for tree in trees:
        nodes, threshold = _limits(tree)
        visitor, feature = tree.visitors(rows)[nodes], tree.feature[nodes]
        useful = (visitor >= 0) & (source[feature] >= 0) & np.isfinite(threshold)
        visitors.append(visitor[useful])
        columns.append(feature[useful])
        thresholds.append(threshold[useful])
    row, column, threshold = np.concatenate(visitors), np.concatenate(columns), np.concatenate(thresholds)
    order = random.permutation(len(row))
    turn = np.empty(len(row), dtype=np.int64)
    last_turn: dict[int, int] = {}
    for position, index in enumerate(column[order].tolist()):
        turn[position] = last_turn[index] = last_turn.get(index, -1) + 1
    chosen = order[np.argsort(turn, kind="stable")[:limit]]
    return row[chosen], column[chosen], threshold[chosen]


def _limits(tree: Tree) -> tuple[Ints, Floats]:
    """The nodes with thresholds, and the thresholds; a set has one before and one at each of its codes."""
    nodes = np.setdiff1d(tree.splits, list(tree.sets))
    sets = [(node, code - before) for node in tree.sets for code in tree.sets[node] for before in (1.0, 0.0)]
    of_sets = np.array(sets, np.float64).reshape(-1, 2)
    threshold = np.concatenate([tree.threshold[nodes], of_sets[:, 1]])
    return np.concatenate([nodes, of_sets[:, 0].astype(np.int64)]), threshold


def _bounds(base: pd.DataFrame, feature: Ints, layout: Layout) -> tuple[Ints, Ints]:
    """For each split, the keys of a number below all training values and of one above them."""
    low, high = np.zeros(len(layout.names)), np.zeros(len(layout.names))
    for i in np.unique(feature):
        values = base[layout.names[i]].to_numpy(dtype=np.float64)
        values = values[np.isfinite(values)]
        margin = 1.0 + np.ptp(values) + np.abs(values).max()
        low[i], high[i] = values.min() - margin, values.max() + margin
    return keys(low[feature], layout.dtype), keys(high[feature], layout.dtype)


def _here(rows: pd.DataFrame, feature: Ints, layout: Layout, otherwise: Ints) -> Ints:
    """The key of each row's own number, as a function that turns back may cross a split on both sides."""
    columns = [rows[name].to_numpy() if layout.kinds[i] == "number" else None for i, name in enumerate(rows)]
    numbers = np.array([columns[i][row] for row, i in enumerate(feature)], dtype=np.float64)
    finite = np.isfinite(numbers)
    return np.where(finite, keys(np.where(finite, numbers, 0.0), layout.dtype), otherwise)


def _moved(rows: pd.DataFrame, feature: Ints, places: Ints, layout: Layout) -> pd.DataFrame:
    """Copies of the rows, each with one feature set to the number with the given key."""
    return with_cells(rows, feature, floats(places, layout.dtype))
