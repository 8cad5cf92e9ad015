"""The verdict on a version beside an earlier one: whether it is better by more than noise."""

from collections.abc import Sequence
from typing import Literal

from unpickled.server.artifact.comparison import Contrast

Verdict = Literal["better", "worse", "no difference that these rows show"]


def verdict(contrasts: Sequence[Contrast]) -> Verdict:
    """The verdict by the interval of one metric, unless the accuracy is beyond chance the other way.

    The metric is the log loss, or the first one where there is none: the accuracy, or the error of a
    regressor.
    """
    side = favored(_deciding(contrasts))
    if not side or contradicted(contrasts):
        return "no difference that these rows show"
    return "better" if side > 0 else "worse"


def contradicted(contrasts: Sequence[Contrast]) -> bool:
    """Whether accuracy and log loss tell of opposite sides, both beyond chance."""
    return favored(contrasts[0]) * favored(_deciding(contrasts)) < 0


def favored(contrast: Contrast) -> int:
    """1 where the interval of a metric has this version better, -1 where worse, 0 where it holds 0."""
    lowest, highest = contrast.difference.lowest, contrast.difference.highest
    if lowest is None or highest is None or lowest <= 0 <= highest:
        return 0
    return 1 if (lowest > 0) == (contrast.better == "higher") else -1


def _deciding(contrasts: Sequence[Contrast]) -> Contrast:
    return next((contrast for contrast in contrasts if contrast.metric == "log loss"), contrasts[0])
