"""A picture with two axes, as SVG: places of numbers, ticks, lines and dots."""

import math
from collections.abc import Iterable
from html import escape
from typing import NamedTuple

from unpickled.server.artifact.manifest import Notation
from unpickled.server.model import dates
from unpickled.server.quote import printable

# Colors that are told apart, and their dashes.
COLORS = 8
# The size of the frame, and the room around it, in units of the picture, which scales with the page.
WIDTH, HEIGHT = 280, 220
_LEFT, _RIGHT, _TOP, _BELOW = 46, 20, 26, 40
# The room for a letter of a tick.
_LETTER = 9
# The largest number on an axis, and the smallest step between its ticks.
_LARGEST, _SMALLEST = 1e300, 1e-300
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)

Point = tuple[float, float]
# Numbers with their texts.
Ticks = tuple[tuple[float, str], ...]


class Axis(NamedTuple):
    """The numbers at both ends of an axis, its ticks with their text, and its title with the unit."""

    lowest: float
    highest: float
    ticks: Ticks
    title: str


def shares(title: str, lowest: float = 0.0, highest: float = 1.0) -> Axis:
    """An axis from 0% to 100%, or from the quarter below ``lowest`` to that above ``highest``.

    Example:
        >>> shares("accuracy", 0.6).ticks
        ((0.5, '50%'), (0.75, '75%'), (1.0, '100%'))
    """
    first = min(math.floor(min(max(lowest, 0.0), 1.0) * 4), 3)
    last = max(math.ceil(min(max(highest, 0.0), 1.0) * 4), first + 1)
    step = 25 if last - first > 1 else 5
    ticks = range(25 * first, 25 * last + 1, step)
    return Axis(first / 4, last / 4, tuple((tick / 100, f"{tick}%") for tick in ticks), title)


def numbers(lowest: float, highest: float, title: str, most: int = 5) -> Axis:
    """An axis that has these numbers on it and begins and ends with them, with at most ``most`` round ticks.

    Example:
        >>> numbers(0, 70, "mm").ticks
        ((0.0, '0'), (20.0, '20'), (40.0, '40'), (60.0, '60'))
    """
    lowest, highest = _apart(float(lowest), float(highest))
    step = _step((highest - lowest) / most)
    first, last = math.ceil(lowest / step - 1e-9), math.floor(highest / step + 1e-9)
    ticks = [place * step for place in range(first, last + 1)]
    return Axis(lowest, highest, tuple((tick, _tick(tick, step)) for tick in ticks), title)


def days(lowest: float, highest: float, title: str) -> Axis:
    """An axis of seconds since 1970, with its ends and its middle as days."""
    lowest, highest = _apart(lowest, highest)
    ends = lowest, (lowest + highest) / 2, highest
    return Axis(lowest, highest, tuple((end, day(end)) for end in ends), title)


def day(seconds: float) -> str:
    """The day of a time in seconds since 1970, in UTC."""
    return dates.written(seconds, Notation()).partition("T")[0]


def _apart(lowest: float, highest: float) -> tuple[float, float]:
    """Two ends that differ, even where all numbers are equal, and whose distance is a number."""
    lowest, highest = max(lowest, -_LARGEST), min(highest, _LARGEST)
    if highest > lowest:
        return lowest, highest
    reach = abs(lowest) / 10 or 1.0
    return lowest - reach, highest + reach


def _step(least: float) -> float:
    power = 10.0 ** math.floor(math.log10(max(least, _SMALLEST)))
    return next((step * power for step in _STEPS if step * power >= least * (1 - 1e-9)), 10 * power)


def _tick(tick: float, step: float) -> str:
    return figure(0.0 if abs(tick) < step / 1e6 else tick)


def figure(number: float, digits: int = 4) -> str:
    """A number with this many digits at most, or all those of its whole part up to a million.

    Example:
        >>> figure(0.123456), figure(-51234.5), figure(2e9)
        ('0.1235', '-51,234', '2e9')
    """
    if 1e4 <= abs(number) < 999_999.5:
        return f"{number:,.0f}"
    return f"{number:.{digits}g}".replace("e+0", "e").replace("e+", "e").replace("e-0", "e-")


class Plot:
    """The frame of a picture.

    Args:
        across, up: Its axes.
        label: The picture in words, for those who do not see it.
        height: That of the frame; its width is WIDTH.
        left: The room for the ticks of the axis that goes up; by default as much as their texts need.
    """

    def __init__(
        self, across: Axis, up: Axis, label: str, height: float = HEIGHT, left: float | None = None
    ) -> None:
        self._across, self._up, self._label = across, up, label
        longest = max((len(text) for _, text in up.ticks), default=0)
        self._height, self._left = height, left or max(_LEFT, 12 + 6.5 * longest)

    def x(self, number: float) -> float:
        """The place of a number across, at an end if it lies beyond."""
        return self._left + _share(number, self._across) * (WIDTH + _LEFT - self._left)

    def y(self, number: float) -> float:
        """The place of a number up."""
        return _TOP + (1 - _share(number, self._up)) * self._height

    def line(self, points: Iterable[Point], kind: str, told: str = "") -> str:
        """A line through points, of the class ``kind``; ``told`` is shown where the mouse rests."""
        path = " ".join(f"{self.x(across):.1f},{self.y(up):.1f}" for across, up in points)
        return f'<polyline class="line {kind}" points="{path}">{_title(told)}</polyline>'

    def dot(self, at: Point, kind: str, told: str = "", radius: float = 3.5) -> str:
        """A dot."""
        across, up = self.x(at[0]), self.y(at[1])
        return (
            f'<circle class="dot {kind}" cx="{across:.1f}" cy="{up:.1f}" r="{radius}">{_title(told)}</circle>'
        )

    def upright(self, across: float, lowest: float, highest: float, kind: str, told: str = "") -> str:
        """A line from one number to another at the same place across."""
        place = f'x1="{self.x(across):.1f}" x2="{self.x(across):.1f}"'
        ends = f'y1="{self.y(lowest):.1f}" y2="{self.y(highest):.1f}"'
        return f'<line class="{kind}" {place} {ends}>{_title(told)}</line>'

    def bar(self, left: float, right: float, top: float, kind: str, told: str = "") -> str:
        """A bar that stands on the lowest number of the axis that goes up."""
        x, y = self.x(left), self.y(top)
        width, height = max(self.x(right) - x - 0.8, 0.8), self.y(self._up.lowest) - y
        size = f'x="{x + 0.4:.1f}" y="{y:.1f}" width="{width:.1f}" height="{max(height, 0):.1f}"'
        return f'<rect class="{kind}" {size}>{_title(told)}</rect>'

    def svg(self, parts: Iterable[str]) -> str:
        """The picture with these parts in it."""
        width, height = WIDTH + _LEFT + _RIGHT, self._height + _TOP + _BELOW
        frame = f'x="{self._left}" y="{_TOP}" width="{WIDTH + _LEFT - self._left}" height="{self._height}"'
        label = escape(printable(self._label), quote=True)
        return (
            f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{label}">'
            f'<rect class="frame" {frame}/>{"".join(self._ticks())}{"".join(parts)}'
            f'<text class="axis" x="{self._left + (WIDTH + _LEFT - self._left) / 2}" y="{height - 6}" '
            f'text-anchor="middle">{escape(printable(self._across.title))}</text>'
            f'<text class="axis" x="0" y="14">{escape(printable(self._up.title))}</text></svg>'
        )

    def _ticks(self) -> Iterable[str]:
        bottom = _TOP + self._height
        for number, text in _legible(self._across.ticks):
            at = f"{self.x(number):.1f}"
            anchor = _anchor(number, self._across)
            yield f'<line class="tick" x1="{at}" x2="{at}" y1="{bottom}" y2="{bottom + 4}"/>'
            yield f'<text x="{at}" y="{bottom + 16}" text-anchor="{anchor}">{escape(printable(text))}</text>'
        for number, text in self._up.ticks:
            at = f"{self.y(number):.1f}"
            yield f'<line class="grid" x1="{self._left}" x2="{WIDTH + _LEFT}" y1="{at}" y2="{at}"/>'
            place = f'x="{self._left - 6}" y="{at}" dy="4" text-anchor="end"'
            yield f"<text {place}>{escape(printable(text))}</text>"


def _legible(ticks: Ticks) -> Ticks:
    """All ticks, or every second one where their texts would lie over each other."""
    longest = max((len(text) for _, text in ticks), default=0)
    return ticks[:: 1 + (len(ticks) * longest * _LETTER > WIDTH)]


def _share(number: float, axis: Axis) -> float:
    return min(max((number - axis.lowest) / (axis.highest - axis.lowest), 0.0), 1.0)


def _anchor(number: float, axis: Axis) -> str:
    """Long texts at both ends stay inside the picture."""
    share = _share(number, axis)
    longest = max(len(text) for _, text in axis.ticks)
    if longest <= 5 or 0.1 < share < 0.9:
        return "middle"
    return "start" if share <= 0.1 else "end"


def _title(told: str) -> str:
    return f"<title>{escape(printable(told))}</title>" if told else ""


def color(place: int) -> str:
    """The class of CSS with one of the colors."""
    return f"c{place % COLORS}"
