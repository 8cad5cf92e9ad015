"""The data card: each column of a request, what it was taken for, and how its training rows spread."""

from collections.abc import Iterator, Sequence
from html import escape
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from unpickled.server.artifact.manifest import Feature, Manifest, Notation
from unpickled.server.artifact.reference import FEWEST, Spread
from unpickled.server.card.parts import percent
from unpickled.server.card.plot import day, figure
from unpickled.server.quote import counted, listed, printable, quoted
from unpickled.server.report.page import sentence
from unpickled.server.report.table import short_name, table

# More columns than these stand in a table, without pictures, and more than these are counted alone.
_PICTURED, _LISTED = 60, 400
# Sizes of a picture, in its own units: the whole, the room for ends of the range, and a line of a category.
_WIDTH, _HEIGHT, _BELOW, _ROW = 280, 54, 16, 18
_NAMES, _FIGURES, _LONGEST = 110, 46, 17
# The width of a share above a bar.
_LABEL = 34
# Categories with a bar of their own, and the part of the height that a usual bar takes.
_CATEGORIES, _USUAL = 8, 0.35


class _Cell(NamedTuple):
    """Rows between two numbers; their share of all rows."""

    lowest: float
    highest: float
    share: float

    @property
    def density(self) -> float:
        return self.share / (self.highest - self.lowest)


def columns(manifest: Manifest, order: Sequence[str]) -> str:
    """A panel for each column with its picture, the first ones in this order; a table of the many others."""
    places = {name: place for place, name in enumerate(order)}
    features = sorted(manifest.features, key=lambda each: places.get(each.name, len(places)))
    spreads = {each.name: each for each in manifest.reference.features} if manifest.reference else {}
    rows = manifest.reference.rows if manifest.reference else 0
    panels = (_panel(each, spreads.get(each.name), rows) for each in features[:_PICTURED])
    rest = features[_PICTURED : _PICTURED + _LISTED]
    lines = (_line(each, spreads.get(each.name), rows) for each in rest)
    more = len(features) - _PICTURED - _LISTED
    return "\n".join(
        [
            f'<ul class="columns">\n{"".join(panels)}</ul>',
            table("Further columns", ("column", "taken for", "missing", "in training"), lines),
            f'<p class="note">And {counted(more, "further column")}.</p>' if more > 0 else "",
        ]
    )


def _panel(feature: Feature, spread: Spread | None, rows: int) -> str:
    spread_out = _spread(feature, spread, rows) if spread else ""
    return (
        f"<li><h4>{short_name(feature.name, 60)}</h4>"
        f'<p class="kind">{sentence(printable(_taken_for(feature)))}</p>'
        f"<p>{sentence(printable(_values(feature)))} {sentence(_missing(feature, spread, rows))}</p>"
        f"{spread_out or _NO_PICTURE}</li>\n"
    )


_NO_PICTURE = '<p class="kind">Too few training rows, or too few values, to be counted in groups.</p>'


def _line(feature: Feature, spread: Spread | None, rows: int) -> tuple[str, ...]:
    taken, values = (escape(printable(text(feature))) for text in (_taken_for, _values))
    return short_name(feature.name), taken, escape(_missing(feature, spread, rows)), values


def _taken_for(feature: Feature) -> str:
    """The kind that a column was taken for, and how its cells are written if not plainly."""
    if feature.boolean:
        return "yes or no: true and false, or 1 and 0"
    notation = feature.notation
    kind = "date" if feature.date else feature.kind
    closed = ", no other value is taken" if feature.closed else ""
    return f"{kind}{_written(notation) if notation else ''}{closed}"


def _written(notation: Notation) -> str:
    if notation.date:
        parts = [notation.date, *(["with time"] if notation.times else [])]
        return f", {', '.join([*parts, *(['with offset from UTC'] if notation.offset else [])])}"
    group, unit = notation.group, f" {notation.unit}" if notation.unit else ""
    return f", written as 1{group}234{notation.decimal}5{unit}"


def _values(feature: Feature) -> str:
    """The range and the median of numbers; how many categories there are."""
    if feature.kind == "category":
        return counted(len(feature.categories), "category", "categories")
    if feature.minimum is None or feature.maximum is None:
        return "no range known"
    write = day if feature.date else figure
    middle = "" if feature.median is None else f", median {write(feature.median)}"
    known = f", {counted(len(feature.values), 'known value')}" if feature.values else ""
    return f"{write(feature.minimum)} to {write(feature.maximum)}{middle}{known}"


def _missing(feature: Feature, spread: Spread | None, rows: int) -> str:
    """The share of rows without a value. Each of 1 to 9 rows stands in a reference as FEWEST."""
    named = [word for word in feature.missing_words if word.strip()]
    words = f" ({listed(named, 3, quoted)} too)" if named else ""
    if spread is None or not rows:
        return f"missing values are {'taken' if feature.missing else 'refused'}{words}"
    if not spread.missing:
        return f"none missing{', null is taken' if feature.missing else ''}{words}"
    most = "at most " if spread.missing == FEWEST else ""
    return f"{most}{percent(spread.missing / rows)} missing{words}"


def _spread(feature: Feature, spread: Spread, rows: int) -> str:
    """The picture of a column."""
    if feature.kind == "category":
        return _shares(feature, _named(spread, rows))
    if feature.boolean and len(spread.counts) == 2:
        no, yes = (count / rows for count in spread.counts)
        gap = [("missing", spread.missing / rows)] if spread.missing else []
        return _shares(feature, [("false", no), ("true", yes), *gap])
    return _histogram(feature, _cells(feature, spread, rows))


def _named(spread: Spread, rows: int) -> list[tuple[str, float]]:
    """The largest categories with their shares, all others, and missing values."""
    counts = sorted(zip(spread.categories, spread.counts, strict=False), key=lambda pair: -pair[1])
    others = spread.counts[-1] + sum(count for _, count in counts[_CATEGORIES:])
    named = [(name, count / rows) for name, count in counts[:_CATEGORIES]]
    rest = [("all others", others), ("missing", spread.missing)]
    return [*named, *((name, count / rows) for name, count in rest if count)]


def _shares(feature: Feature, shares: Sequence[tuple[str, float]]) -> str:
    """A bar for each category with its share."""
    unit = (_WIDTH - _NAMES - _FIGURES) / (max(share for _, share in shares) or 1.0)
    lines = "".join(
        f"<g><title>{escape(printable(name))}: {share:.1%}</title>"
        f'<text class="name" x="{_NAMES - 6}" y="{place * _ROW + 13}" text-anchor="end">'
        f"{short_name(name, _LONGEST)}</text>"
        f'<rect class="{"gap" if name == "missing" else "rows"}" x="{_NAMES}" y="{place * _ROW + 3}" '
        f'width="{max(share * unit, 0.5):.1f}" height="12"/>'
        f'<text x="{_WIDTH}" y="{place * _ROW + 13}" text-anchor="end">{share:.1%}</text></g>'
        for place, (name, share) in enumerate(shares)
    )
    return _svg(feature, lines, len(shares) * _ROW)


def _cells(feature: Feature, spread: Spread, rows: int) -> list[_Cell]:
    """The cells of a spread; the outer ones end with the range of training, and never far from the others."""
    first, last = spread.bounds[0], spread.bounds[-1]
    reach = (last - first) or max(abs(first), 1.0)
    lowest = first - reach if feature.minimum is None else max(feature.minimum, first - reach)
    highest = last + reach if feature.maximum is None else min(feature.maximum, last + reach)
    # A cell that ends with the only value in it has no width of its own.
    least = (max(highest, last) - min(lowest, first)) / 100 or 1.0
    ends = [min(lowest, first - least), *spread.bounds, max(highest, last + least)]
    return [
        _Cell(low, high, count / rows)
        for (low, high), count in zip(pairwise(ends), spread.counts, strict=True)
    ]


def _histogram(feature: Feature, cells: Sequence[_Cell]) -> str:
    """Bars whose area is the share of the rows; one that is far denser than the others is cut."""
    write = day if feature.date else figure
    lowest, highest = cells[0].lowest, cells[-1].highest
    densities = [cell.density for cell in cells]
    most = min(max(densities), median(densities) / _USUAL) or max(densities)
    across = _WIDTH / (highest - lowest)
    bars = "".join(
        _bar(cell, lowest, across, most, write(cell.lowest), write(cell.highest)) for cell in cells
    )
    ends = (
        f'<text x="0" y="{_HEIGHT + 13}">{escape(write(lowest))}{_below(feature.minimum, lowest)}</text>'
        f'<text x="{_WIDTH}" y="{_HEIGHT + 13}" text-anchor="end">'
        f"{escape(write(highest))}{_above(feature.maximum, highest)}</text>"
    )
    cuts = "".join(_cuts(cells, lowest, across, most))
    return _svg(feature, f"{bars}{cuts}{ends}", _HEIGHT + _BELOW)


def _below(trained: float | None, drawn: float) -> str:
    """A remark beside the left end of a picture if training has numbers below it."""
    return " and below" if trained is not None and trained < drawn - abs(drawn) * 1e-9 else ""


def _above(trained: float | None, drawn: float) -> str:
    return " and above" if trained is not None and trained > drawn + abs(drawn) * 1e-9 else ""


def _bar(cell: _Cell, lowest: float, across: float, most: float, low: str, high: str) -> str:
    left, width = (cell.lowest - lowest) * across, (cell.highest - cell.lowest) * across
    height = min(cell.density / most, 1.0) * (_HEIGHT - 12)
    told = f"<title>{escape(low)} to {escape(high)}: {cell.share:.1%} of the rows</title>"
    size = f'y="{_HEIGHT - height:.1f}" width="{max(width, 1):.1f}" height="{height:.1f}"'
    return f'<rect class="rows" x="{left:.1f}" {size}>{told}</rect>'


def _cuts(cells: Sequence[_Cell], lowest: float, across: float, most: float) -> Iterator[str]:
    """The shares of bars that are cut, above them, as far as there is room."""
    free = 0.0
    for cell in cells:
        middle = ((cell.lowest + cell.highest) / 2 - lowest) * across
        place = min(max(middle, _LABEL / 2), _WIDTH - _LABEL / 2)
        if cell.density > most * 1.001 and place - _LABEL / 2 >= free:
            yield f'<text x="{place:.1f}" y="9" text-anchor="middle">{cell.share:.0%}</text>'
            free = place + _LABEL / 2


def _svg(feature: Feature, content: str, height: float) -> str:
    label = escape(printable(f"{feature.name}: shares of the training rows"), quote=True)
    return f'<svg viewBox="0 0 {_WIDTH} {height:g}" role="img" aria-label="{label}">{content}</svg>'


def unused(manifest: Manifest) -> Iterator[str]:
    """A sentence about columns of the training table that the graph does not read."""
    if manifest.unused:
        names = listed(manifest.unused, 20, quoted)
        yield f"columns of the training table that the model does not read: {names}"
