"""The slices of rows: those with one category of a feature, or with a number in one of its cells.

A card and a comparison have the same ones: the cells of the spreads of the training rows, which drift is
measured by as well.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from unpickled.server.artifact.manifest import Feature, Notation
from unpickled.server.artifact.reference import FEWEST, Spread
from unpickled.server.model import dates
from unpickled.server.quote import shortened

# The chance that any slice is taken for another one than the rest where all are alike.
LEVEL = 0.05
# Numbers are parted into so many cells.
CELLS = 4

Bools = npt.NDArray[np.bool_]


class Slice(NamedTuple):
    """The rows (a mask) with a ``value`` of a feature, as people read it."""

    feature: str
    value: str
    rows: Bools


def parted(frame: pd.DataFrame, features: Sequence[tuple[Feature, Spread | None]]) -> Iterator[Slice]:
    """The slices of rows by each feature that has a spread, with at least FEWEST rows inside and outside.

    Args:
        frame: The rows (rows, features), as the graph sees them.
        features: The features, each with the spread of its training rows.
    """
    for feature, spread in features:
        if spread is None:
            continue
        column = frame[feature.name]
        of_kind = _of_texts if feature.kind == "category" else _of_numbers
        for value, rows in of_kind(feature, spread, column):
            if FEWEST <= rows.sum() <= len(rows) - FEWEST:
                yield Slice(feature.name, value, rows)


def beyond_chance(chances: npt.NDArray[np.float64]) -> Bools:
    """(slices,): whether each is beyond chance, all of them taken together (Holm)."""
    order = np.argsort(chances, kind="stable")
    small = chances[order] * np.arange(len(chances), 0, -1) < LEVEL
    beyond = np.zeros(len(chances), bool)
    beyond[order] = np.logical_and.accumulate(small)
    return beyond


def _of_texts(feature: Feature, spread: Spread, column: pd.Series) -> Iterator[tuple[str, Bools]]:
    missing = column.isna().to_numpy()
    others = ~missing
    for category in spread.categories:
        rows = (column == category).to_numpy(bool)
        others &= ~rows
        yield shortened(category) or "empty text", rows
    yield "any other", others
    yield "missing", missing


def _of_numbers(feature: Feature, spread: Spread, column: pd.Series) -> Iterator[tuple[str, Bools]]:
    numbers = column.to_numpy(np.float64)
    missing = np.isnan(numbers)
    bounds = _few(spread)
    places = np.searchsorted(bounds, numbers)
    for place, words in enumerate(_words(feature, bounds)):
        yield words, (places == place) & ~missing
    yield "missing", missing


def _few(spread: Spread) -> list[float]:
    """The bounds of at most CELLS cells of about equally many training rows, out of those of the spread."""
    if not spread.bounds:
        return []
    shares = np.cumsum(spread.counts)[:-1] / sum(spread.counts)
    wanted = np.arange(1, CELLS) / CELLS
    nearest = np.abs(shares[:, None] - wanted).argmin(axis=0)
    return [spread.bounds[place] for place in sorted({*nearest.tolist()})]


def _words(feature: Feature, bounds: Sequence[float]) -> list[str]:
    """The cells between these bounds, as people read them."""
    if feature.boolean and len(bounds) == 1:
        return ["false", "true"]
    ends = [_date(bound, feature.date) if feature.date else f"{bound:.6g}" for bound in bounds]
    if not ends:
        return ["any number"]
    amid = [f"{low} to {high}" for low, high in pairwise(ends)]
    return [f"up to {ends[0]}", *amid, f"above {ends[-1]}"]


def _date(bound: float, notation: Notation) -> str:
    """The day or the minute of a bound, which lies anywhere between two dates."""
    unit = 60 if notation.times else dates.DAY
    return dates.written(bound // unit * unit, notation)
