"""The slices of rows under two versions: where the later one got worse, and where better."""

from collections.abc import Callable, Iterable

import numpy as np
from msgspec.structs import replace

from unpickled.export.card.intervals import mean
from unpickled.export.comparison.paired import chance_of_mean, mcnemar
from unpickled.export.comparison.sides import Floats
from unpickled.export.slices import Slice, beyond_chance
from unpickled.server.artifact.comparison import SliceContrast

# The most slices that are kept: those that got worse first, then the largest losses.
MOST = 30


def of_labels(slices: Iterable[Slice], gains: Floats) -> tuple[SliceContrast, ...]:
    """The slices of a classifier's rows, the worst first.

    Args:
        slices: The slices.
        gains: (rows,): 1 where this version alone is right, -1 where the other one alone is, else 0.
    """
    return _judged(
        slices, gains, gains, lambda inside: mcnemar(int((inside > 0).sum()), int((inside < 0).sum()))
    )


def of_numbers(slices: Iterable[Slice], losses: Floats) -> tuple[SliceContrast, ...]:
    """The slices of a regressor's rows, the worst first.

    Args:
        slices: The slices.
        losses: (rows,): the absolute error of this version less that of the other one, in shares of the
            other one's mean.
    """
    return _judged(slices, losses, -losses, chance_of_mean)


def _judged(
    slices: Iterable[Slice], differences: Floats, gains: Floats, chance: Callable[[Floats], float]
) -> tuple[SliceContrast, ...]:
    """A contrast for each slice; ``gains`` (rows,) are above 0 where this version is better."""
    contrasts, chances = [], []
    for part in slices:
        inside = differences[part.rows]
        chances.append(chance(inside))
        contrasts.append(
            (
                float(gains[part.rows].mean()),
                SliceContrast(
                    feature=part.feature,
                    value=part.value,
                    rows=len(inside),
                    difference=mean(inside),
                    worse=False,
                ),
            )
        )
    told = [
        (gain, replace(contrast, worse=bool(beyond and gain < 0), better=bool(beyond and gain > 0)))
        for (gain, contrast), beyond in zip(contrasts, beyond_chance(np.array(chances)), strict=True)
    ]
    told.sort(key=lambda each: (not each[1].worse, each[0]))
    return tuple(contrast for _, contrast in told[:MOST])
