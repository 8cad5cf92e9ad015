"""Accuracy as pictures and tables: SVG and HTML, in the colors of the page around it."""

from collections.abc import Iterator, Sequence
from html import escape

from unpickled.server.accuracy.measures import headings, measures, of_target, or_dash, target_headings
from unpickled.server.accuracy.report import (
    Accuracy,
    Bin,
    Calibration,
    ClassAccuracy,
    Estimate,
    Figures,
    Pair,
    Slice,
    VersionAccuracy,
)
from unpickled.server.quote import printable, shortened
from unpickled.server.report.page import html, sentence
from unpickled.server.report.strip import STYLE as STRIPS
from unpickled.server.report.strip import Scale, strip
from unpickled.server.report.table import STYLE as TABLES
from unpickled.server.report.table import confusion, short_name, table

# The square of a calibration picture, the room at its left and below it, and the height of the counts.
_SIDE, _LEFT, _BELOW, _COUNTS = 260, 40, 34, 60
_WIDTH, _HEIGHT = _LEFT + _SIDE + 16, _SIDE + _COUNTS + 2 * _BELOW
_SHARES = Scale(0.0, 1.0, "0%", "100%")

_CALIBRATION = """<p class="note">A dot is a tenth of the probabilities: across their mean, up the share that
came true, its line the 95% interval. On the dashed diagonal, probabilities are right. Bars count the
rows.</p>"""
_SLICES = """<p class="note">A dot is the accuracy of a slice, its line the 95% interval; the upright stroke
is the accuracy of all rows.</p>"""

STYLE = (
    f"{TABLES}{STRIPS}"
    """
h3 { font-size: 1rem; margin: 1.2rem 0 .2rem; }
.reason { color: var(--wrong); }
.note, figcaption { color: var(--muted); }
.pictures { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 19rem), 1fr));
} figure { margin: 0; padding: .9rem 1rem; background: var(--panel); border: 1px solid var(--line);
  border-radius: 8px; }
figure svg { display: block; width: 100%; max-width: 26rem; height: auto; }
svg .frame { fill: none; stroke: var(--line); }
svg .diagonal { stroke: var(--muted); stroke-dasharray: 4 4; }
svg .rows { fill: var(--trained); stroke: var(--edge); }
"""
)


def page(accuracy: Accuracy) -> str:
    """A whole HTML document."""
    sections = "\n".join(_version(version) for version in accuracy.versions)
    note = f'<p class="note">{sentence(accuracy.note)}</p>' if accuracy.note else ""
    content = f"""<p>{sentence(f"rows predicted from {accuracy.span}")}
Intervals hold the true figure in 95 of 100 cases.</p>
{note}
{sections or "<p>No version has predicted rows in this window.</p>"}
{_pairs(accuracy.pairs)}"""
    return html(f"Accuracy of {accuracy.model}", STYLE, content)


def calibration(found: Calibration) -> str:
    """Probabilities and what came true as an SVG element: ten bins and the diagonal, above their rows."""
    most = max((each.rows for each in found.bins), default=0) or 1
    parts = "\n".join(part for each in found.bins if each.rows for part in _bin(each, most))
    label = escape(f"calibration{f' of {printable(found.name)}' if found.name else ''}", quote=True)
    top = _SIDE + 10
    scale = "".join(
        f'<text x="{_x(share):g}" y="{top + 14}" text-anchor="middle">{share:g}</text>'
        f'<text x="{_LEFT - 6}" y="{_y(share) + 4:g}" text-anchor="end">{share:g}</text>'
        for share in (0, 0.5, 1)
    )
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">\n'
        f'<rect class="frame" x="{_LEFT}" y="10" width="{_SIDE}" height="{_SIDE}"/>\n'
        f'<line class="diagonal" x1="{_x(0)}" y1="{_y(0)}" x2="{_x(1)}" y2="{_y(1)}"/>\n{scale}\n{parts}\n'
        f'<text x="{_LEFT}" y="{_HEIGHT - 6}">across: probability; up: share that came true</text>\n'
        "</svg>"
    )


def _x(probability: float) -> float:
    return _LEFT + probability * _SIDE


def _y(share: float) -> float:
    return 10 + (1 - share) * _SIDE


def _bin(found: Bin, most: int) -> Iterator[str]:
    """The rows of a bin as a bar with their number, and what came true of them as a dot with its interval."""
    assert found.probability is not None
    assert found.came_true is not None
    right, across = found.came_true, _x(found.probability)
    floor = _SIDE + _BELOW + _COUNTS
    height = max(1.0, found.rows / most * (_COUNTS - 14))
    told = escape(
        f"{found.lowest:g} to {found.highest:g}: {found.rows:,} rows, mean probability "
        f"{found.probability:.3f}, came true {right.percent}"
    )
    middle = _x((found.lowest + found.highest) / 2)
    yield (
        f"<g><title>{told}</title>"
        f'<rect class="rows" x="{middle - 11:g}" y="{floor - height:.1f}" width="22" height="{height:.1f}"/>'
        f'<text x="{middle:g}" y="{floor - height - 3:.1f}" text-anchor="middle">{short(found.rows)}</text>'
    )
    if right.lowest is not None and right.highest is not None:
        yield (
            f'<line class="reach" x1="{across:.1f}" y1="{_y(right.lowest):.1f}" '
            f'x2="{across:.1f}" y2="{_y(right.highest):.1f}"/>'
        )
    yield f'<circle class="dot" cx="{across:.1f}" cy="{_y(right.value):.1f}" r="4"/></g>'


def short(rows: int) -> str:
    """A count that fits above a bar: 126, 1.3k, 25k, 2M; halves are rounded up, as the page at / does."""
    if rows < 1_000:
        return str(rows)
    unit, name = (1_000, "k") if rows < 999_500 else (1_000_000, "M")
    tenths, whole = (10 * rows + unit // 2) // unit, (rows + unit // 2) // unit
    return f"{tenths / 10:g}{name}" if tenths < 100 else f"{whole}{name}"


def _version(version: VersionAccuracy) -> str:
    found = version.figures
    parts = [
        f"<h2>{escape(version.title.capitalize())}</h2>\n<p>{sentence(version.sentence)}</p>",
        *(f'<p class="reason">{sentence(reason)}</p>' for reason in version.reasons),
        *(f'<p class="note">{sentence(note)}</p>' for note in version.notes),
        table("", ("", *headings(version)[1:]), measures(version)),
        _calibrations(found),
        _confusion(found),
        table(
            "Classes",
            ("class", "predicted", "truth known", "precision", "recall"),
            map(_class, found.classes),
        ),
        table(
            "Errors",
            target_headings(found.targets),
            ((short_name(name), *cells) for name, *cells in map(of_target, found.targets)),
        ),
        _slices(version.slices, found.accuracy),
    ]
    return "\n".join(part for part in parts if part)


def _calibrations(found: Figures) -> str:
    pictures = [
        f"<figure>{calibration(each)}<figcaption>{escape(_caption(each))}</figcaption></figure>"
        for each in (found.calibration, *found.calibrations)
        if each is not None
    ]
    grid = f'<div class="pictures">{"".join(pictures)}</div>'
    return f"<h3>Calibration</h3>\n{_CALIBRATION}\n{grid}" if pictures else ""


def _caption(found: Calibration) -> str:
    name = f"Probability of {shortened(printable(found.name), 40)}" if found.name else "The class answered"
    return f"{name}: error {found.error:.3f}, by chance up to {found.by_chance:.3f}"


def _confusion(found: Figures) -> str:
    """The confusion matrix, each cell the darker the larger its share of the row."""
    if found.confusion is None or not found.rows:
        return ""
    names = [short_name(each.name) for each in found.classes]
    truths = [*names, "no class of the model"]
    rows = [
        (truth, counts)
        for place, (truth, counts) in enumerate(zip(truths, found.confusion, strict=False))
        if place < len(names) or any(counts)
    ]
    return f"<h3>Truth (rows) and answers (columns)</h3>\n{confusion(names, rows)}"


def _class(found: ClassAccuracy) -> Sequence[str]:
    coverage = "" if found.coverage is None else f" ({found.coverage:.1%})"
    return (
        short_name(found.name),
        f"{found.predicted:,}",
        f"{found.known:,}{coverage}",
        or_dash(found.precision, ".1%"),
        or_dash(found.recall, ".1%"),
    )


def _slices(slices: Sequence[Slice], overall: Estimate | None) -> str:
    """A line for each slice; of a classifier, with its interval as a picture beside that of all rows."""
    heads = ("", "rows", "figure", "")
    if overall is None:
        return table("Slices", heads[:3], map(_slice, slices))
    lines = [(*_slice(each), _strip(each.figures.accuracy, overall)) for each in slices]
    return table("Slices", heads, lines, note=_SLICES)


def _slice(found: Slice) -> tuple[str, str, str]:
    title = f"{short_name(found.feature)}: {short_name(found.value)}"
    return title, f"{found.figures.rows:,}", escape(found.figures.sentence)


def _strip(figure: Estimate | None, overall: Estimate) -> str:
    """An accuracy and its interval on a line from 0% to 100%."""
    if figure is None:
        return ""
    highest = 1.0 if figure.highest is None else figure.highest
    return strip((figure.lowest or 0.0, figure.value, highest), _SHARES, mark=overall.value)


def _pairs(pairs: Sequence[Pair]) -> str:
    heads = ("", "rows", "accuracy", "log loss", "mean absolute error", "")
    return table("Shadows, on the same rows: shadow - version", heads, map(_pair, pairs), level="h2")


def _pair(pair: Pair) -> Sequence[str]:
    errors = "; ".join(f"{short_name(name)} {figure.text('+.4g')}" for name, figure in pair.mae.items())
    return (
        f"{pair.shadow} beside {pair.version}",
        f"{pair.rows:,}",
        or_dash(pair.accuracy, "+.1%"),
        or_dash(pair.log_loss, "+.3f"),
        errors or "-",
        escape(pair.note),
    )
