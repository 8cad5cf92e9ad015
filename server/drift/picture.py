"""Drift as pictures: SVG inside HTML, without scripts, for a page of its own or a section of another one.

Each feature has a bar for each of its cells, now, in front of a paler one of training. The colors are those
of the page around it.
"""

from collections.abc import Iterator, Sequence
from html import escape

from unpickled.server.drift.report import Cell, Drift, FeatureDrift, Share, VersionDrift
from unpickled.server.quote import printable, shortened
from unpickled.server.report.page import html, sentence

# Sizes in units of the picture, which scales with the page.
_WIDTH, _ROW, _NAMES, _FIGURES = 340, 20, 128, 98
_LONGEST = 20

# The rules for what ``section`` makes, which a page with its own colors may take alone.
SECTION = """
.drifts { display: grid; gap: 1rem; margin: 1rem 0; padding: 0; list-style: none;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr)); }
.drifts > li { padding: .9rem 1rem; background: var(--panel);
  border: 1px solid var(--line); border-radius: 8px; }
.drifts h3 { margin: 0; font-size: 1rem; }
.drifts p { color: var(--muted); font-size: .87rem; }
.drifts .drifted { border-color: var(--wrong); }
.drifts .reason { color: var(--wrong); }
.drifts svg { display: block; width: 100%; height: auto; margin-top: .5rem; }
.drifts text { fill: var(--ink); font-size: 11px; }
.drifts .share { fill: var(--muted); }
.drifts .trained { fill: var(--trained, var(--bar)); stroke: var(--edge); }
.drifts .now { fill: var(--now, var(--best)); }
.drifts .moved .now { fill: var(--wrong); }
.legend { color: var(--muted); }
.swatch { display: inline-block; width: .8rem; height: .8rem; vertical-align: -.08rem; }
.swatch.trained { background: var(--trained, var(--bar)); border: 1px solid var(--edge); }
.swatch.now { background: var(--now, var(--best)); }
.swatch.moved { background: var(--wrong); }
"""


_LEGEND = """<p class="legend">Shares of the rows <span class="swatch now"></span> now
(<span class="swatch moved"></span> if they are an alarm) in front of <span class="swatch trained"></span>
those of the training rows; in figures: now / training.</p>"""


def page(drift: Drift) -> str:
    """A whole HTML document, which needs no other file."""
    sections = "\n".join(
        f"<h2>Version {version.version}</h2>\n{section(version)}" for version in drift.versions
    )
    note = f"<p>{sentence(drift.note)}</p>" if drift.note else ""
    content = f"""<p>{sentence(drift.span)}</p>
{note}
{_LEGEND if sections else ""}
{sections or "<p>No version has answered rows in this window.</p>"}"""
    return html(f"Drift of {drift.model}", SECTION, content)


def section(version: VersionDrift) -> str:
    """The sentence and the pictures of one version, those that have drifted first."""
    parts = [f"<p>{sentence(version.sentence)}</p>"]
    if version.unmeasured:
        names = ", ".join(escape(printable(name)) for name in version.unmeasured)
        parts.append(f"<p>Without a reference, as training had too few rows for one: {names}</p>")
    items = "\n".join(_item(each, _title(each, version)) for each in version.ordered)
    return "\n".join([*parts, f'<ul class="drifts">\n{items}\n</ul>' if items else ""])


def picture(feature: FeatureDrift) -> str:
    """The cells of a feature as an SVG element: a bar of each now, in front of that of training."""
    cells = [cell for cell in feature.bins if cell.reference or cell.now]
    largest = max((max(cell.reference, cell.now or 0.0) for cell in cells), default=1.0)
    height = _ROW * len(cells)
    rows = "\n".join(_bars(cell, place, largest) for place, cell in enumerate(cells))
    label = escape(f"{printable(feature.name)}: shares of the rows now and in training", quote=True)
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{label}">\n{rows}\n</svg>'


def _bars(cell: Cell, place: int, largest: float) -> str:
    top, unit = place * _ROW, (_WIDTH - _NAMES - _FIGURES) / largest
    now, trained = cell.now or 0.0, cell.reference
    name = printable(cell.label)
    told = escape(f"{name}: now {now:.1%}, in training {trained:.1%}")
    return (
        f"<g><title>{told}</title>"
        f'<text x="{_NAMES - 6}" y="{top + 14}" text-anchor="end">{escape(shortened(name, _LONGEST))}</text>'
        f'<rect class="trained" x="{_NAMES}" y="{top + 2.5}" width="{trained * unit:.1f}" height="15"/>'
        f'<rect class="now" x="{_NAMES}" y="{top + 6}" width="{now * unit:.1f}" height="8"/>'
        f'<text class="share" x="{_WIDTH}" y="{top + 14}" text-anchor="end">'
        f"{now:.1%} / {trained:.1%}</text></g>"
    )


def _title(feature: FeatureDrift, version: VersionDrift) -> str:
    """Its name; a regressor's prediction, which has that of its target, is told from the features."""
    name = shortened(printable(feature.name))
    is_target = feature in version.predictions and feature.name != "prediction"
    return f"prediction: {name}" if is_target else name


def _item(feature: FeatureDrift, title: str) -> str:
    # Its bars are red if they are the reason: it may be an alarm for its missing values alone.
    moved = feature.psi is not None and feature.threshold is not None and feature.psi > feature.threshold
    mark = f' class="drifted{" moved" if moved else ""}"' if feature.drifted else ""
    return f"<li{mark}>\n<h3>{escape(title)}</h3>\n{''.join(_paragraphs(feature))}{picture(feature)}\n</li>"


def _paragraphs(feature: FeatureDrift) -> Iterator[str]:
    for reason in feature.reasons:
        yield f'<p class="reason">{sentence(reason)}</p>\n'
    measures = [
        *([f"PSI {feature.psi:.3f}"] if feature.psi is not None else []),
        *([f"alarm above {feature.threshold:.3f}"] if feature.threshold is not None else []),
        *_share("missing", feature.missing),
        *_share("outside", feature.outside),
    ]
    yield f"<p>{escape(', '.join(measures))}</p>\n" if measures else ""


def _share(name: str, share: Share | None) -> Sequence[str]:
    if share is None or share.now is None or not (share.now or share.reference):
        return ()
    return [f"{name} {share.now:.1%} ({share.reference:.1%} in training)"]
