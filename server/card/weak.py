"""Where a version is worst: slices of the rows, with their intervals."""

from collections.abc import Sequence
from html import escape

from unpickled.server.artifact.card import Card, SliceCard
from unpickled.server.card.parts import interval, percent
from unpickled.server.quote import counted
from unpickled.server.report.strip import Scale, strip
from unpickled.server.report.table import short_name, table

# Slices that are shown.
_MOST = 12


def slices(card: Card) -> str:
    """A table of the worst slices, with a remark about how to read it; a sentence where there are none."""
    if not card.slices:
        return '<p class="note">No part of the rows is large enough to be measured by itself.</p>'
    return _sentence(card.slices) + _table(card)


def _sentence(found: Sequence[SliceCard]) -> str:
    beyond = [each for each in found if each.beyond_chance]
    if not beyond:
        return "<p>No part of the rows is worse than the rest by more than chance explains.</p>"
    names = ", ".join(f"{short_name(each.feature)}: {short_name(each.value)}" for each in beyond[:3])
    more = f" and {len(beyond) - 3} more" if len(beyond) > 3 else ""
    are = "is" if len(beyond) == 1 else "are"
    return (
        f'<p class="caution">Worse than the rest by more than chance explains {are} <b>{names}</b>{more}.</p>'
    )


def _table(card: Card) -> str:
    shown = card.slices[:_MOST]
    scale, mark = _scale(card, shown)
    noun = "accuracy" if card.accuracy else "error"
    lines = (
        (
            f"{short_name(each.feature)}: {short_name(each.value)}",
            f"{each.rows:,}",
            escape(interval(each.figure, percent)),
            _strip(each, scale, mark),
            "yes" if each.beyond_chance else "no",
        )
        for each in shown
    )
    what = (
        "The accuracy of the rows with one category of a feature, or with a number in one range; "
        "the upright stroke is the accuracy of all rows."
        if card.accuracy
        else f"The mean absolute error{_first(card)} in shares of that of all rows, which is the upright "
        "stroke at 100%."
    )
    more = len(card.slices) - _MOST
    rest = f" The worst {_MOST} of {counted(len(card.slices), 'slice')}." if more > 0 else ""
    note = f'<p class="note">{what} Lines are 95% intervals.{rest}</p>'
    return table("", ("slice", "rows", noun, "", "beyond chance"), lines, note=note)


def _first(card: Card) -> str:
    return f" of {short_name(card.targets[0].name)}" if len(card.targets) > 1 else ""


def _scale(card: Card, shown: Sequence[SliceCard]) -> tuple[Scale, float]:
    if card.accuracy is not None:
        return Scale(0.0, 1.0, "0%", "100%"), card.accuracy.value
    ends = [end for each in shown for end in (each.figure.highest, each.figure.value) if end is not None]
    highest = max(1.0, *ends)
    return Scale(0.0, highest, "0%", f"{highest:.0%}"), 1.0


def _strip(found: SliceCard, scale: Scale, mark: float) -> str:
    measured = found.figure
    low = measured.value if measured.lowest is None else measured.lowest
    high = measured.value if measured.highest is None else measured.highest
    return strip((low, measured.value, high), scale, mark, found.beyond_chance)
