"""The slices of rows under two versions: where the later one got worse, and where better."""

from collections.abc import Callable, Iterable

import numpy as np
from msgspec.structs import replace

from unpickled.export.card.intervals import mean
from unpickled.export.comparison.paired import chance_of_mean, coin, mcnemar, widened
from unpickled.export.comparison.sides import Floats
from unpickled.export.slices import Slice, beyond_chance
from unpickled.server.artifact.card import Measured
from unpickled.server.artifact.comparison import SliceContrast

# The most slices that are kept.
MOST = 30


def of_labels(slices: Iterable[Slice], gains: Floats) -> tuple[SliceContrast, ...]:
    """The slices of a classifier's rows, in the order that a Comparison has.

    Args:
        slices: The slices.
        gains: (rows,): 1 where this version alone is right, -1 where the other one alone is, else 0.
    """
    return _judged(slices, gains, _gain, 1)


def of_numbers(slices: Iterable[Slice], losses: Floats) -> tuple[SliceContrast, ...]:
    """The slices of a regressor's rows, in the order that a Comparison has.

    Args:
        slices: The slices.
        losses: (rows,): the absolute error of this version less that of the other one, in shares of the
            other one's mean.
    """
    return _judged(slices, losses, _loss, -1)


def _gain(gains: Floats) -> tuple[Measured, float]:
    """The difference of the accuracy of some rows, and the chance of it."""
    apart = int((gains > 0).sum()), int((gains < 0).sum())
    return widened(mean(gains), coin(*apart, len(gains))), mcnemar(*apart)


def _loss(losses: Floats) -> tuple[Measured, float]:
    """The difference of the errors of some rows, and the chance of it."""
    return mean(losses), chance_of_mean(losses)


def _judged(
    slices: Iterable[Slice], apart: Floats, measure: Callable[[Floats], tuple[Measured, float]], sign: int
) -> tuple[SliceContrast, ...]:
    """A contrast for each slice; ``sign`` is that of differences (rows,) in favor of this version."""
    contrasts, chances = [], []
    for part in slices:
        difference, chance = measure(apart[part.rows])
        chances.append(chance)
        contrasts.append(
            SliceContrast(
                feature=part.feature,
                value=part.value,
                rows=int(part.rows.sum()),
                difference=difference,
                worse=False,
            )
        )
    told = [
        replace(contrast, worse=gain < 0, better=gain > 0) if beyond else contrast
        for contrast, beyond in zip(contrasts, beyond_chance(np.array(chances)).tolist(), strict=True)
        for gain in (sign * contrast.difference.value,)
    ]
    told.sort(key=lambda each: (not each.worse, not each.better, sign * each.difference.value))
    return tuple(told[:MOST])
