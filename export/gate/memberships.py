"""Rows on either side of the splits that ask for a set of categories."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd

from unpickled.export.data.layout import Layout
from unpickled.export.gate.probes import with_cells
from unpickled.export.trees import Floats, Ints, Tree

Prepared = Callable[[pd.DataFrame], Floats]
# A row that reaches a split, the split's column, and the codes that go left.
Question = tuple[int, int, Ints]

# Rows that show which feature is behind a column of codes.
SAMPLE = 50


def across(
    prepared: Prepared,
    trees: Sequence[Tree],
    layout: Layout,
    base: pd.DataFrame,
    limit: int,
    random: np.random.Generator,
) -> pd.DataFrame:
    """At most ``limit`` rows: each reaches a split, with the category of a row that takes its other side."""
    if not any(tree.sets for tree in trees):
        return base.iloc[:0]
    codes = prepared(base)
    questions = list(_questions(trees, codes))
    sources = _sources(prepared, layout, base, {column for _, column, _ in questions})
    rows: list[int] = []
    givers: list[int] = []
    features: list[int] = []
    for index in random.permutation(len(questions)):
        row, column, members = questions[index]
        left = np.isin(codes[:, column], members)
        others = np.flatnonzero(left != left[row])
        if len(others) and column in sources and len(rows) < limit:
            rows.append(row)
            givers.append(int(random.choice(others)))
            features.append(sources[column])
    cells = np.array([base.iat[row, i] for row, i in zip(givers, features, strict=True)], dtype=object)
    return with_cells(base.iloc[rows].reset_index(drop=True), np.array(features, np.int64), cells)


def _questions(trees: Sequence[Tree], codes: Floats) -> Iterator[Question]:
    for tree in trees:
        visitor = tree.visitors(codes)
        for node, members in tree.sets.items():
            if visitor[node] >= 0:
                yield int(visitor[node]), int(tree.feature[node]), members


def _sources(prepared: Prepared, layout: Layout, base: pd.DataFrame, columns: set[int]) -> dict[int, int]:
    """For each of these columns the position of the first feature that changes its codes."""
    sample = base.iloc[:SAMPLE].reset_index(drop=True)
    before, sources = prepared(sample), dict[int, int]()
    for position, name in enumerate(layout.names):
        turned = sample.assign(**{str(name): np.roll(sample[name].to_numpy(), 1)})
        after = prepared(turned.astype(sample.dtypes.to_dict()))
        changed = ((after != before) & ~(np.isnan(after) & np.isnan(before))).any(axis=0)
        for column in columns - sources.keys():
            if changed[column]:
                sources[column] = position
    return sources
