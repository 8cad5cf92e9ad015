"""The slices of rows where a model is worst."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import hypergeom, t

from unpickled.export.card import intervals
from unpickled.export.card.effort import affordable, drawn
from unpickled.export.card.intervals import Floats
from unpickled.export.slices import Bools, beyond_chance, parted
from unpickled.server.artifact.card import MOST_SLICES, Measured, SliceCard
from unpickled.server.artifact.manifest import Feature
from unpickled.server.artifact.reference import Spread

# The most cells of a table that are looked at.
_MOST = 5_000_000


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
    beyond = beyond_chance(likely)
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
