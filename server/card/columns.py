"""The data card: each column of a request, what it was taken for, and how its training rows spread."""

from collections.abc import Iterator, Sequence
from html import escape

from unpickled.server.artifact.manifest import Feature, Manifest, Notation
from unpickled.server.artifact.reference import FEWEST, Spread
from unpickled.server.card.histogram import HEIGHT, WIDTH, histogram
from unpickled.server.card.parts import percent
from unpickled.server.card.plot import day, figure
from unpickled.server.quote import counted, listed, printable, quoted
from unpickled.server.report.page import sentence
from unpickled.server.report.table import short_name, table

# More columns than these stand in a table, without pictures, and more than these are counted alone.
_PICTURED, _LISTED = 60, 400
# Sizes of a picture of categories: a line, the room for names and for figures, and letters of a name.
_ROW, _NAMES, _FIGURES, _LONGEST = 18, 112, 46, 13
# Categories with a bar of their own.
_CATEGORIES = 8


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
    if feature.boolean:
        return "two values"
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
    """The picture of a column; nothing where its numbers are not parted."""
    if feature.kind == "category":
        return _shares(feature, _named(spread, rows))
    if feature.boolean and len(spread.counts) == 2:
        no, yes = (count / rows for count in spread.counts)
        gap = [("missing", spread.missing / rows)] if spread.missing else []
        return _shares(feature, [("false", no), ("true", yes), *gap])
    # One group of all rows is no picture.
    return _svg(feature, histogram(feature, spread, rows), HEIGHT) if spread.bounds else ""


def _named(spread: Spread, rows: int) -> list[tuple[str, float]]:
    """The largest categories with their shares, all others, and missing values."""
    counts = sorted(zip(spread.categories, spread.counts, strict=False), key=lambda pair: -pair[1])
    others = spread.counts[-1] + sum(count for _, count in counts[_CATEGORIES:])
    named = [(name, count / rows) for name, count in counts[:_CATEGORIES]]
    rest = [("all others", others), ("missing", spread.missing)]
    return [*named, *((name, count / rows) for name, count in rest if count)]


def _shares(feature: Feature, shares: Sequence[tuple[str, float]]) -> str:
    """A bar for each category with its share."""
    unit = (WIDTH - _NAMES - _FIGURES) / (max(share for _, share in shares) or 1.0)
    lines = "".join(
        f"<g><title>{escape(printable(name))}: {share:.1%}</title>"
        f'<text class="name" x="{_NAMES - 6}" y="{place * _ROW + 13}" text-anchor="end">'
        f"{short_name(name, _LONGEST)}</text>"
        f'<rect class="{"gap" if name == "missing" else "rows"}" x="{_NAMES}" y="{place * _ROW + 3}" '
        f'width="{max(share * unit, 0.5):.1f}" height="12"/>'
        f'<text x="{WIDTH}" y="{place * _ROW + 13}" text-anchor="end">{share:.1%}</text></g>'
        for place, (name, share) in enumerate(shares)
    )
    return _svg(feature, lines, len(shares) * _ROW)


def _svg(feature: Feature, content: str, height: float) -> str:
    label = escape(printable(f"{feature.name}: shares of the training rows"), quote=True)
    return f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{label}">{content}</svg>'


def unused(manifest: Manifest) -> Iterator[str]:
    """A sentence about columns of the training table that the graph does not read."""
    columns = [name for name in manifest.unused if name != manifest.training.target]
    if columns:
        names = listed(columns, 20, quoted)
        yield f"columns of the training table that the model does not read: {names}"
