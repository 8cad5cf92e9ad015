"""How a version compares with an earlier one on the same rows, measured before the file was written.

Figures about groups alone: none is of fewer than FEWEST rows (reference.py). The export compares
(export/comparison/), ``card/`` draws it.
"""

from typing import Literal

import msgspec

from unpickled.server.artifact.card import Measured
from unpickled.server.quote import quoted

Verdict = Literal["better", "worse", "no difference that these rows show"]


class Contrast(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One metric of both versions on the same rows.

    ``metric`` is its noun, such as "accuracy", "log loss", "ROC AUC" or "mean absolute error"; ``of`` the
    class or target that it is about, empty for all together. ``difference`` is this - other, with a paired
    interval.
    """

    metric: str
    better: Literal["higher", "lower"]
    this: float
    other: float
    difference: Measured
    of: str = ""


class Disagreement(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that the other version calls ``other`` and this one ``this``: class names.

    ``this_right`` and ``other_right`` count those of them where the one or the other is right.
    """

    other: str
    this: str
    rows: int
    this_right: int
    other_right: int


class SliceContrast(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of a slice (SliceCard) under both versions.

    ``difference`` is this - other: of the accuracy, or of the mean absolute error of the first target in
    shares of the other version's on all rows. ``worse`` and ``better``: this version is, by more than chance
    explains, all slices taken together.
    """

    feature: str
    value: str
    rows: int
    difference: Measured
    worse: bool
    better: bool = False


class Comparison(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """This version beside another one, on ``rows`` rows that this one was not fitted on.

    ``version`` and ``sha256`` are the number and the digest of the other's file. ``unseen``: neither was the
    other one fitted on them, as far as its manifest tells: where that is False, the other one's figures may
    be too good. ``chance`` is the probability that chance alone makes labels differ so much in rightness
    (McNemar's exact test), of a regressor that of the mean paired difference of absolute errors, and
    ``loss_chance`` that of the log loss (permutation tests).

    ``verdict`` is "better", "worse" or "no difference that these rows show". ``only_this`` and ``only_other``
    count rows that one version alone has right. ``refused`` counts rows that the other version does not
    take: they are in no figure. ``slices`` begin with those that got worse; those that got better follow,
    then all others, each kind with the largest losses first.
    """

    version: int
    sha256: str
    rows: int
    unseen: bool
    contrasts: tuple[Contrast, ...]
    verdict: Verdict
    chance: float | None = None
    loss_chance: float | None = None
    only_this: int = 0
    only_other: int = 0
    refused: int = 0
    disagreements: tuple[Disagreement, ...] = ()
    slices: tuple[SliceContrast, ...] = ()
    notes: tuple[str, ...] = ()


def headline(comparison: Comparison) -> str:
    """The verdict and the metric that it is by, such as "better in log loss": accuracy may fall meanwhile."""
    if comparison.verdict not in ("better", "worse"):
        return comparison.verdict
    decisive = _of_all(comparison, "log loss") or comparison.contrasts[0]
    return f"{comparison.verdict} in {decisive.metric}"


def sentence(comparison: Comparison, this: str = "the new version") -> str:
    """A clause with the figures of both, that which decides first, for a person.

    Such as: on 2,310 held-out rows, version 4 has a log loss of 0.31 against 0.36 of version 3 (-0.07 to
    -0.02), and is right on 93.2% of them against 91.4% (0.4 to 3.2 points, McNemar p = 0.011).

    Args:
        comparison: The figures.
        this: The subject, such as "version 4".
    """
    accuracy, loss = (_of_all(comparison, metric) for metric in ("accuracy", "log loss"))
    other = f"version {comparison.version}"
    if accuracy is None:
        figures = _error(comparison, this, other)
    elif loss is None:
        shares = f"{accuracy.this:.1%} of them and {other} on {accuracy.other:.1%}"
        figures = f"{this} is right on {shares}{_gain(comparison, accuracy)}"
    else:
        shares = f"{accuracy.this:.1%} of them against {accuracy.other:.1%}{_gain(comparison, accuracy)}"
        losses = f"{loss.this:.3g} against {loss.other:.3g} of {other}{_ends(loss.difference, 1, '.2g')}"
        figures = f"{this} has a log loss of {losses}, and is right on {shares}"
    return f"on {comparison.rows:,} held-out rows, {figures}"


def _of_all(comparison: Comparison, metric: str) -> Contrast | None:
    """The contrast of a metric of all classes or targets together."""
    return next((each for each in comparison.contrasts if each.metric == metric and not each.of), None)


def _gain(comparison: Comparison, accuracy: Contrast) -> str:
    """The interval of the difference of accuracy, and the test of it, in brackets."""
    ends = _ends(accuracy.difference, 100, ".1f").strip(" ()")
    parts = [f"{ends} points"] if ends else []
    if comparison.chance is not None:
        parts.append(f"McNemar p {_chance(comparison.chance)}")
    return f" ({', '.join(parts)})" if parts else ""


def _error(comparison: Comparison, this: str, other: str) -> str:
    """A clause about the first contrast of a regressor."""
    first = comparison.contrasts[0]
    subject = f" of {quoted(first.of)}" if first.of else ""
    test = "" if comparison.chance is None else f", p {_chance(comparison.chance)}"
    return (
        f"{this} has a {first.metric}{subject} of {first.this:.4g} against {first.other:.4g} of {other}"
        f"{_ends(first.difference, 1, '.2g')}{test}"
    )


def _ends(difference: Measured, scale: float, form: str) -> str:
    """The ends of an interval, in brackets."""
    lowest, highest = difference.lowest, difference.highest
    if lowest is None or highest is None:
        return ""
    # Adding 0 makes a 0 of -0.
    low, high = (float(f"{scale * end:{form}}") + 0.0 for end in (lowest, highest))
    return f" ({low:g} to {high:g})"


def _chance(chance: float) -> str:
    return "< 0.001" if chance < 0.001 else f"= {chance:.2g}"
