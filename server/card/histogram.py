"""The spread of a column of numbers as a picture: bars whose area is the share of the rows."""

import math
from collections.abc import Iterator, Sequence
from html import escape
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from unpickled.server.artifact.manifest import Feature
from unpickled.server.artifact.reference import Spread
from unpickled.server.card.plot import day, figure

# Sizes in units of the picture, which scales with the page: all of it, and the room for ends of the range.
WIDTH, HEIGHT = 280, 70
_ENDS = 16
# The room for a share above a bar that is cut: its height, and its width.
_ABOVE, _LABEL = 12, 34
# The part of the height that a usual bar takes, so that some may be denser.
_USUAL = 0.35
# No bar is thinner, however wide the others are.
_THINNEST = 1.0
# A scale is logarithmic where the bounds, all above 0, lie further apart.
_FAR = 100


class _Bar(NamedTuple):
    """A cell: its numbers, its ends in units of the picture, and its share of all rows."""

    lowest: float
    highest: float
    left: float
    right: float
    share: float

    @property
    def density(self) -> float:
        return self.share / max(self.right - self.left, _THINNEST)


def histogram(feature: Feature, spread: Spread, rows: int) -> str:
    """The parts of an SVG picture; a bar that is far denser than the others is cut, and its share told."""
    write = day if feature.date else figure
    logarithmic = _is_long(feature, spread)
    ends = _ends(feature, spread, math.inf if logarithmic else 1.0)
    # The bounds of a file that somebody has edited may be below the minimum.
    logarithmic = logarithmic and ends[0] > 0
    bars = _bars(ends, [count / rows for count in spread.counts], logarithmic)
    densities = [bar.density for bar in bars]
    most = min(max(densities), median(densities) / _USUAL) or max(densities)
    drawn = "".join(_drawn(bar, most, f"{write(bar.lowest)} to {write(bar.highest)}") for bar in bars)
    below = " and below" if feature.minimum is not None and feature.minimum < ends[0] else ""
    above = " and above" if feature.maximum is not None and feature.maximum > ends[-1] else ""
    scale = f'<text x="{WIDTH / 2}" y="{HEIGHT - 3}" text-anchor="middle">logarithmic</text>'
    return (
        f"{drawn}{''.join(_cuts(bars, most))}{scale if logarithmic else ''}"
        f'<text x="0" y="{HEIGHT - 3}">{escape(write(ends[0]))}{below}</text>'
        f'<text x="{WIDTH}" y="{HEIGHT - 3}" text-anchor="end">{escape(write(ends[-1]))}{above}</text>'
    )


def _is_long(feature: Feature, spread: Spread) -> bool:
    """Whether a column has a long tail of numbers above 0, which needs a logarithmic scale."""
    if feature.minimum is None or feature.maximum is None or feature.date:
        return False
    return feature.minimum > 0 and spread.bounds[-1] > _FAR * spread.bounds[0]


def _ends(feature: Feature, spread: Spread, far: float) -> list[float]:
    """The ends of the cells; the outer ones are those of training, or ``far`` times their width away."""
    bounds = spread.bounds
    reach = far * ((bounds[-1] - bounds[0]) or max(abs(bounds[0]), 1.0))
    lowest = bounds[0] - reach if feature.minimum is None else max(feature.minimum, bounds[0] - reach)
    highest = bounds[-1] + reach if feature.maximum is None else min(feature.maximum, bounds[-1] + reach)
    # A cell that ends with the only value in it has no width of its own.
    least = (max(highest, bounds[-1]) - min(lowest, bounds[0])) / 100 or 1.0
    first = lowest if lowest < bounds[0] else bounds[0] - least
    last = highest if highest > bounds[-1] else bounds[-1] + least
    return [first, *bounds, last]


def _bars(ends: Sequence[float], shares: Sequence[float], logarithmic: bool) -> list[_Bar]:
    places = [math.log10(end) for end in ends] if logarithmic else list(ends)
    unit = WIDTH / (places[-1] - places[0])
    return [
        _Bar(*numbers, (left - places[0]) * unit, (right - places[0]) * unit, share)
        for numbers, (left, right), share in zip(pairwise(ends), pairwise(places), shares, strict=True)
    ]


def _drawn(bar: _Bar, most: float, numbers: str) -> str:
    floor = HEIGHT - _ENDS
    height = min(bar.density / most, 1.0) * (floor - _ABOVE)
    size = f'width="{max(bar.right - bar.left, _THINNEST):.1f}" height="{height:.1f}"'
    told = f"<title>{escape(numbers)}: {bar.share:.1%} of the rows</title>"
    return f'<rect class="rows" x="{bar.left:.1f}" y="{floor - height:.1f}" {size}>{told}</rect>'


def _cuts(bars: Sequence[_Bar], most: float) -> Iterator[str]:
    """The shares of bars that are cut, above them, as far as there is room."""
    free = 0.0
    for bar in bars:
        place = min(max((bar.left + bar.right) / 2, _LABEL / 2), WIDTH - _LABEL / 2)
        if bar.density > most * 1.001 and place - _LABEL / 2 >= free:
            yield f'<text x="{place:.1f}" y="9" text-anchor="middle">{bar.share:.0%}</text>'
            free = place + _LABEL / 2
