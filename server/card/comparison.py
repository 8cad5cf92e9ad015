"""Two versions side by side, drawn: metrics with paired intervals, disagreements, slices that got worse."""

from collections.abc import Callable, Iterator, Sequence
from html import escape

from msgspec.structs import replace

from unpickled.server.artifact.card import Measured
from unpickled.server.artifact.comparison import (
    Comparison,
    Contrast,
    Disagreement,
    SliceContrast,
    Verdict,
    headline,
    sentence,
)
from unpickled.server.card import parts
from unpickled.server.card.parts import below, paragraph
from unpickled.server.quote import counted
from unpickled.server.report.strip import Scale, strip
from unpickled.server.report.table import short_name, table

# Metrics between 0 and 1, whose differences are told in points.
_SHARES = frozenset({"accuracy", "precision", "recall", "ROC AUC", "average precision"})
# Slices that are shown.
_MOST = 12
_VERDICTS: dict[Verdict, Verdict] = {"better": "worse", "worse": "better"}

_METRICS = """<p class="note">A dot is the difference on the same rows, its line the 95% interval: right of
the stroke, version {this} is better. A line is red where all of it is on the worse side.{points}</p>"""


def section(comparison: Comparison, this: int) -> str:
    """A section about two versions, HTML.

    Args:
        comparison: The figures, seen from version ``this``: as its manifest has them, or mirrored.
        this: The number of that version.
    """
    other = comparison.version
    return parts.section(
        f"Version {this} beside version {other}",
        paragraph(f"{_verdict(comparison)}: {sentence(comparison, f'version {this}')}", "lead"),
        _caution(comparison, this),
        *(paragraph(note, "note") for note in _notes(comparison)),
        below("Metrics", _metrics(comparison, this), _contrasts(comparison, this)),
        below("Where they disagree", _apart(comparison, this), _disagreements(comparison, this)),
        below("Parts of the rows", _slices(comparison, this)),
    )


def mirrored(comparison: Comparison, version: int, sha256: str = "") -> Comparison:
    """A comparison as the other one of both versions would have it.

    Args:
        comparison: The figures in the manifest of a version.
        version: The number of that version.
        sha256: The digest of its file.
    """
    return replace(
        comparison,
        version=version,
        sha256=sha256,
        contrasts=tuple(
            replace(each, this=each.other, other=each.this, difference=_negated(each.difference))
            for each in comparison.contrasts
        ),
        verdict=_VERDICTS.get(comparison.verdict, comparison.verdict),
        only_this=comparison.only_other,
        only_other=comparison.only_this,
        disagreements=tuple(
            replace(
                each,
                other=each.this,
                this=each.other,
                this_right=each.other_right,
                other_right=each.this_right,
            )
            for each in comparison.disagreements
        ),
        slices=tuple(
            replace(each, difference=_negated(each.difference), worse=each.better, better=each.worse)
            for each in sorted(comparison.slices, key=lambda each: (not each.better, not each.worse))
        ),
    )


def _negated(measured: Measured) -> Measured:
    """The difference the other way around; adding 0 makes a 0 of -0."""
    lowest, highest = (None if end is None else -end + 0.0 for end in (measured.highest, measured.lowest))
    return Measured(value=-measured.value + 0.0, lowest=lowest, highest=highest)


def _verdict(comparison: Comparison) -> str:
    if comparison.verdict in _VERDICTS:
        return f"{headline(comparison)} by more than chance explains"
    return comparison.verdict


def _caution(comparison: Comparison, this: int) -> str:
    """A warning about rows that may have been seen: the earlier version compared nothing with the later."""
    if comparison.unseen:
        return ""
    earlier = min(this, comparison.version)
    return paragraph(
        f"version {earlier} may have been fitted on some of these rows, as its file does not say that it was "
        "made with the same split of the same table: its figures may be too good",
        "caution",
    )


def _notes(comparison: Comparison) -> Iterator[str]:
    if comparison.refused:
        rows = counted(comparison.refused, "row")
        yield f"{rows} more are in no figure, as the earlier version does not take them"
    yield from comparison.notes


def _metrics(comparison: Comparison, this: int) -> str:
    """How the pictures of the metrics are to be read."""
    has_shares = any(each.metric in _SHARES for each in comparison.contrasts)
    return _METRICS.format(
        this=this, points=" Differences of percentages are in points." if has_shares else ""
    )


def _contrasts(comparison: Comparison, this: int) -> str:
    """A line for each metric, with its interval as a picture on the scale of its kind."""
    groups: dict[tuple[str, str], list[Contrast]] = {}
    for each in comparison.contrasts:
        groups.setdefault(_unit(each), []).append(each)
    scales = {unit: _scale([each.difference for each in group]) for unit, group in groups.items()}
    heads = ("metric", f"version {this}", f"version {comparison.version}", "difference", "")
    lines = ((*_contrast(each), _strip(each, scales[_unit(each)])) for each in comparison.contrasts)
    return table("", heads, lines)


def _unit(contrast: Contrast) -> tuple[str, str]:
    """Metrics with the same unit share a scale: shares, R2, and the errors of a target."""
    if contrast.metric in _SHARES:
        return "share", ""
    return ("error", contrast.of) if contrast.metric.endswith("error") else (contrast.metric, "")


def _contrast(contrast: Contrast) -> tuple[str, str, str, str]:
    name = "R²" if contrast.metric == "R2" else escape(contrast.metric)
    if contrast.of:
        name = f"{name} of {short_name(contrast.of)}"
    if contrast.metric not in _SHARES:
        return name, f"{contrast.this:.4g}", f"{contrast.other:.4g}", _interval(contrast.difference, _signed)
    return name, f"{contrast.this:.1%}", f"{contrast.other:.1%}", _interval(contrast.difference, _points)


def _interval(difference: Measured, write: Callable[[float], str]) -> str:
    if difference.lowest is None or difference.highest is None:
        return write(difference.value)
    return f"{write(difference.value)} ({write(difference.lowest)} to {write(difference.highest)})"


def _points(share: float) -> str:
    """A difference in points of percent."""
    return f"{100 * share + 0.0:+.1f}" if round(100 * share, 1) else "0.0"


def _signed(number: float) -> str:
    return f"{number:+.3g}" if number else "0"


def _scale(differences: Sequence[Measured]) -> Scale:
    """As far to both sides of 0 as any of these differences."""
    ends = [end for each in differences for end in _ends(each)]
    furthest = max(map(abs, ends)) or 1.0
    return Scale(-furthest, furthest, "worse", "better")


def _ends(difference: Measured) -> tuple[float, float, float]:
    """The lowest end, the difference and the highest end."""
    low = difference.value if difference.lowest is None else difference.lowest
    high = difference.value if difference.highest is None else difference.highest
    return low, difference.value, high


def _strip(contrast: Contrast, scale: Scale) -> str:
    figures = _figures(contrast.difference, contrast.better == "higher")
    return strip(figures, scale, 0.0, figures[2] < 0)


def _figures(difference: Measured, higher_is_better: bool) -> tuple[float, float, float]:
    """A difference between the ends of its interval, on a line whose right side is the better one."""
    low, value, high = _ends(difference)
    return (low, value, high) if higher_is_better else (-high, -value, -low)


def _apart(comparison: Comparison, this: int) -> str:
    """A sentence about rows that one version alone has right; nothing about a regressor."""
    if comparison.contrasts[0].metric != "accuracy":
        return ""
    return paragraph(
        f"version {this} alone is right on {counted(comparison.only_this, 'row')}, version "
        f"{comparison.version} alone on {counted(comparison.only_other, 'row')}"
    )


def _disagreements(comparison: Comparison, this: int) -> str:
    if comparison.contrasts[0].metric != "accuracy":
        return ""
    other = comparison.version
    heads = (
        f"version {other} \N{RIGHTWARDS ARROW} version {this}",
        "rows",
        f"version {this} is right",
        f"version {other} is right",
    )
    return table("", heads, map(_disagreement, comparison.disagreements)) or (
        '<p class="note">No two classes are taken for each other in ten rows or more.</p>'
    )


def _disagreement(found: Disagreement) -> tuple[str, ...]:
    counts = (found.rows, found.this_right, found.other_right)
    pair = f"{short_name(found.other)} \N{RIGHTWARDS ARROW} {short_name(found.this)}"
    return pair, *(f"{count:,}" for count in counts)


def _slices(comparison: Comparison, this: int) -> str:
    if not comparison.slices:
        return ""
    is_classifier = comparison.contrasts[0].metric == "accuracy"
    shown = comparison.slices[:_MOST]
    scale = _scale([each.difference for each in shown])
    # Red is for slices that are worse beyond chance, all of them taken together: of many, some lines miss 0.
    lines = (
        (*_slice(each), strip(_figures(each.difference, is_classifier), scale, 0.0, each.worse), _word(each))
        for each in shown
    )
    heads = ("slice", "rows", "difference", "", "beyond chance")
    return _got_worse(comparison.slices, this) + table("", heads, lines, note=_note(comparison, this))


def _note(comparison: Comparison, this: int) -> str:
    is_classifier = comparison.contrasts[0].metric == "accuracy"
    earlier = min(this, comparison.version)
    noun = (
        "accuracy, in points"
        if is_classifier
        else f"mean absolute error, in percent of that of version {earlier} on all rows"
    )
    more = len(comparison.slices) - _MOST
    rest = f" The first {_MOST} of {len(comparison.slices)} slices." if more > 0 else ""
    together = "Chance is that of all slices together."
    return f'<p class="note">Differences are those of the {noun}. {together}{rest}</p>'


def _slice(found: SliceContrast) -> tuple[str, str, str]:
    name = f"{short_name(found.feature)}: {short_name(found.value)}"
    return name, f"{found.rows:,}", _interval(found.difference, _points)


def _word(found: SliceContrast) -> str:
    if found.worse:
        return "worse"
    return "better" if found.better else "no"


def _got_worse(slices: Sequence[SliceContrast], this: int) -> str:
    worse = [f"{each.feature}: {each.value}" for each in slices if each.worse]
    if not worse:
        return paragraph("no part of the rows got worse by more than chance explains")
    names = ", ".join(worse[:3])
    more = f" and {len(worse) - 3} more" if len(worse) > 3 else ""
    return paragraph(f"version {this} is worse by more than chance explains where {names}{more}", "caution")
