"""The picture of a run: how many answers were right each day, with the loop and without, and what it did."""

from collections.abc import Iterator, Sequence
from typing import Any

import history
import world

# Pixels: the plot, the lane of versions that came to shadow, that of those that took over, and the days.
WIDTH, HEIGHT = 520, 464
LEFT, RIGHT, TOP, BOTTOM = 50, 508, 40, 270
SHADOWING, STABLE, DAYS = 324, 376, 424
# The least share on the scale; the largest is 1.
LEAST = 0.5
STYLE = """
    :root { --ground: #ffffff; --ink: #1f2933; --faint: #d5dbe1; --band: #f3efe2 }
    :root { --loop: #2f6fb5; --alone: #c2503f }
    @media (prefers-color-scheme: dark) {
      :root { --ground: #14181d; --ink: #dfe5eb; --faint: #39424c; --band: #34301f }
      :root { --loop: #74b0ee; --alone: #f08f80 }
    }
    text { font: 15px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: var(--ink) }
    .middle { text-anchor: middle } .end { text-anchor: end }
    .number { font-size: 12px; text-anchor: middle }
    .ground { fill: var(--ground) } .band { fill: var(--band) } .grid { stroke: var(--faint) }
    .loop { stroke: var(--loop) } .alone { stroke: var(--alone); stroke-dasharray: 6 4 }
    .loop, .alone { fill: none; stroke-width: 2.5 }
    .of-loop, .stable { fill: var(--loop) } .of-alone { fill: var(--alone) } .on { fill: var(--ground) }
    .shadows { fill: var(--ground); stroke: var(--loop); stroke-width: 1.5 }
"""
DESCRIPTION = (
    "After the world changes, about 60% of the answers of the model that is left alone are right. With the "
    "loop, newer versions take over, and more than 85% are right again."
)


def draw(days: Sequence[dict[str, Any]], changes: history.Changes) -> str:
    """The picture as SVG, of the days and the changes in days.json."""
    first, last = days[0]["day"], days[-1]["day"] + 1

    def across(day: float) -> float:
        return LEFT + (RIGHT - LEFT) * (day - first) / (last - first)

    def band(begin: float, end: float, words: str) -> Iterator[str]:
        x, width = across(begin), across(end) - across(begin)
        yield f'<rect class="band" x="{x:.1f}" y="{TOP}" width="{width:.1f}" height="{BOTTOM - TOP}"/>'
        yield f'<text class="middle" x="{x + width / 2:.1f}" y="{TOP - 12}">{words}</text>'

    def line(name: str, key: str) -> Iterator[str]:
        points = [(across(day["day"] + 0.5), _down(day[key] / day["rows"])) for day in days]
        yield f'<path class="{name}" d="M{" L".join(f"{x:.1f} {y:.1f}" for x, y in points)}"/>'

    def lane(name: str, y: int, versions: list[tuple[float, int]], words: str) -> Iterator[str]:
        yield f'<text x="{LEFT}" y="{y - 18}">{words}</text>'
        number = "number on" if name == "stable" else "number"
        for day, version in versions:
            yield f'<circle class="{name}" cx="{across(day):.1f}" cy="{y}" r="9"/>'
            yield f'<text class="{number}" x="{across(day):.1f}" y="{y + 4}">{version}</text>'

    def axis() -> Iterator[str]:
        for day in range(first, last, 4):
            yield f'<text class="middle" x="{across(day + 0.5):.1f}" y="{DAYS}">{day}</text>'
        yield f'<text class="middle" x="{(LEFT + RIGHT) / 2:.1f}" y="{DAYS + 24}">day</text>'

    elements = [
        f'<rect class="ground" width="{WIDTH}" height="{HEIGHT}" rx="8"/>',
        *band(world.OLD + 1, world.NEW, "the world changes"),
        *band(world.POISONED, world.POISONED + 1, "truth flipped"),
        *_scale(),
        *line("alone", "right_alone"),
        *line("loop", "right"),
        f'<text class="of-loop end" x="{RIGHT}" y="{_down(0.83):.1f}">right with the loop</text>',
        f'<text class="of-alone end" x="{RIGHT}" y="{_down(0.67):.1f}">right, left alone</text>',
        *lane("shadows", SHADOWING, history.shadowing(changes), "versions that are made, and shadow"),
        *lane("stable", STABLE, history.stable(changes), "versions that answer from then on"),
        *axis(),
    ]
    return _document(elements)


def _down(share: float) -> float:
    return BOTTOM - (BOTTOM - TOP) * (share - LEAST) / (1 - LEAST)


def _scale() -> Iterator[str]:
    for tenth in range(int(10 * LEAST), 11):
        y = _down(tenth / 10)
        yield f'<path class="grid" d="M{LEFT} {y:.1f}H{RIGHT}"/>'
        yield f'<text class="end" x="{LEFT - 8}" y="{y + 5:.1f}">{10 * tenth}%</text>'


def _document(elements: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}" role="img" aria-labelledby="title text">'
    )
    described = [
        '<title id="title">Right answers by day, with the loop and without</title>',
        f'<desc id="text">{DESCRIPTION}</desc>',
        f"<style>{STYLE}  </style>",
    ]
    return "\n".join([head, *(f"  {element}" for element in [*described, *elements]), "</svg>\n"])
