"""A figure and its interval as a picture on one line, for a cell of a table."""

from collections.abc import Sequence
from typing import NamedTuple

# Its width, and the room at both sides for the ends of its scale.
_WIDTH, _ENDS = 230, 42

# The rules for what ``strip`` makes; the colors are those of the page.
STYLE = """
svg text { fill: var(--muted); font-size: 11px; }
svg .reach { stroke: var(--now); stroke-width: 2; }
svg .dot { fill: var(--now); }
svg .lane { stroke: var(--edge); }
svg .overall { stroke: var(--ink); stroke-width: 2; }
svg .beyond .reach { stroke: var(--wrong); }
svg .beyond .dot { fill: var(--wrong); }
"""


class Scale(NamedTuple):
    """The numbers at both ends of a strip, and what stands there."""

    lowest: float
    highest: float
    left: str
    right: str

    def across(self, number: float) -> float:
        """The place of a number, which is at an end if it lies beyond."""
        share = (number - self.lowest) / ((self.highest - self.lowest) or 1.0)
        return _ENDS + min(max(share, 0.0), 1.0) * (_WIDTH - 2 * _ENDS)


def strip(figure: Sequence[float], scale: Scale, mark: float | None = None, beyond: bool = False) -> str:
    """An SVG element beside figures in text, which tell the same.

    Args:
        figure: The lowest end of an interval, the figure, and the highest end.
        scale: The numbers at both ends.
        mark: Where an upright stroke stands.
        beyond: The figure is an alarm.
    """
    low, value, high = map(scale.across, figure)
    stroke = "" if mark is None else _upright(scale.across(mark))
    return (
        f'<svg width="{_WIDTH}" height="18" viewBox="0 0 {_WIDTH} 18" aria-hidden="true">'
        f'<g class="{"beyond" if beyond else "usual"}">'
        f'<text x="{_ENDS - 6}" y="13" text-anchor="end">{scale.left}</text>'
        f'<text x="{_WIDTH - _ENDS + 6}" y="13">{scale.right}</text>'
        f'<line class="lane" x1="{_ENDS}" y1="9" x2="{_WIDTH - _ENDS}" y2="9"/>{stroke}'
        f'<line class="reach" x1="{low:.1f}" y1="9" x2="{high:.1f}" y2="9"/>'
        f'<circle class="dot" cx="{value:.1f}" cy="9" r="4"/></g></svg>'
    )


def _upright(place: float) -> str:
    return f'<line class="overall" x1="{place:.1f}" y1="1" x2="{place:.1f}" y2="17"/>'
