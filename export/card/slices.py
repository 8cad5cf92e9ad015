"""Slices: the rows with one category of a feature, or with a number in one of its cells."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import hypergeom, t

from unpickled.export.card import intervals
from unpickled.export.card.effort import affordable, drawn
from unpickled.export.card.intervals import Floats
from unpickled.server.artifact.card import MOST_SLICES, Measured, SliceCard
from unpickled.server.artifact.manifest import Feature, Notation
from unpickled.server.artifact.reference import FEWEST, Spread
from unpickled.server.model import dates
from unpickled.server.quote import shortened

# The chance that any slice is taken for a worse one where all are alike.
LEVEL = 0.05
# Numbers are parted into so many cells.
CELLS = 4
# The most cells of a table that are looked at.
_MOST = 5_000_000

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


def worst(
    frame: pd.DataFrame,
    features: Sequence[tuple[Feature, Spread | None]],
    losses: Floats,
    are_errors: bool,
    rng: np.random.Generator,
) -> list[SliceCard]:
    """The slices that are the least likely to be as bad by chance, the worst first.

    Args:
        frame: The rows (rows, features), as the graph sees them.
        features: The features, each with the spread of its training rows.
        losses: Whether the label of each row is wrong, or the absolute error of its prediction (rows,).
        are_errors: Whether they are errors.
        rng: Draws the rows of a large table.
    """
    some = drawn(len(frame), affordable(len(frame), _MOST, max(len(features), 1)), rng)
    losses = losses[some]
    slices = list(parted(frame.iloc[some], features))
    if not slices or not losses.mean():
        return []
    chances = _chances_of_errors if are_errors else _chances_of_wrong
    masks = [each.rows for each in slices]
    likely = chances(losses, masks)
    beyond = _beyond(likely)
    worse = [
        place for place in np.argsort(likely, kind="stable") if losses[masks[place]].mean() > losses.mean()
    ]
    kept = sorted(worse[:MOST_SLICES], key=lambda place: -losses[masks[place]].mean())
    return [
        SliceCard(
            feature=slices[place].feature,
            value=slices[place].value,
            rows=int(masks[place].sum()),
            figure=_figure(losses, masks[place], are_errors),
            beyond_chance=bool(beyond[place]),
        )
        for place in kept
    ]


def _figure(losses: Floats, rows: Bools, are_errors: bool) -> Measured:
    """The accuracy of these rows, or their mean error in shares of that of all."""
    if are_errors:
        return intervals.mean(losses[rows] / losses.mean(), least=0.0)
    count = int(rows.sum())
    return intervals.share(count - float(losses[rows].sum()), count)


def _chances_of_wrong(losses: Floats, slices: Sequence[Bools]) -> Floats:
    """(slices,): the chance of so many wrong rows, were they spread over the slices as if drawn (Fisher)."""
    sizes = np.array([rows.sum() for rows in slices])
    wrong = np.array([losses[rows].sum() for rows in slices])
    chances: Floats = hypergeom.sf(wrong - 1, len(losses), losses.sum(), sizes)
    return chances


def _chances_of_errors(losses: Floats, slices: Sequence[Bools]) -> Floats:
    """(slices,): the chance of so large a mean error, by Student's t.

    Errors have long tails: the larger deviation is taken for both, of the slice and of all other rows.
    """
    distances = []
    for rows in slices:
        inside, outside = losses[rows], losses[~rows]
        deviation = max(inside.std(ddof=1), outside.std(ddof=1))
        width = deviation * np.sqrt(1 / len(inside) + 1 / len(outside))
        distances.append((inside.mean() - outside.mean()) / width if width else 0.0)
    freedom = np.array([min(rows.sum(), (~rows).sum()) - 1 for rows in slices])
    chances: Floats = t.sf(np.array(distances), freedom)
    return chances


def _beyond(chances: Floats) -> Bools:
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
