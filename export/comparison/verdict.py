"""The verdict on a version beside an earlier one: whether it is better by more than noise."""

from unpickled.export.comparison.paired import LEVEL
from unpickled.server.artifact.comparison import Comparison, Contrast, Verdict

NO_DIFFERENCE: Verdict = "no difference that these rows show"


def verdict(comparison: Comparison) -> Verdict:
    """The verdict by the log loss; without it, by the first metric: the accuracy, or a regressor's error.

    A metric favors a version if its interval does not hold 0, and its test finds chance rare. The accuracy
    has the last word where it favors the other one: then there is no difference.
    """
    side = favored(comparison)
    if not side or contradicted(comparison):
        return NO_DIFFERENCE
    return "better" if side > 0 else "worse"


def contradicted(comparison: Comparison) -> bool:
    """Whether accuracy and log loss favor one version each."""
    return favored(comparison) * _side(comparison.contrasts[0], comparison.chance) < 0


def favored(comparison: Comparison) -> int:
    """The side that the deciding metric favors: 1 for this version, -1 for the other one, 0 for none."""
    for contrast in comparison.contrasts:
        if contrast.metric == "log loss":
            return _side(contrast, comparison.loss_chance)
    return _side(comparison.contrasts[0], comparison.chance)


def _side(contrast: Contrast, chance: float | None) -> int:
    lowest, highest = contrast.difference.lowest, contrast.difference.highest
    holds_none = lowest is None or highest is None or lowest <= 0 <= highest
    if holds_none or chance is None or chance > LEVEL:
        return 0
    return 1 if (contrast.difference.value > 0) == (contrast.better == "higher") else -1
