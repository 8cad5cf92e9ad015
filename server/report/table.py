"""Tables of a report as HTML: on a narrow screen, each row becomes a list."""

from collections.abc import Iterable, Sequence
from html import escape

from unpickled.server.quote import printable, shortened

# The longest name of a feature, a class or a target, in characters.
_LONGEST = 40

# The rules for what is made here; the colors are those of the page.
STYLE = """
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .4rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
th { color: var(--muted); font-weight: 500; }
.listing svg { vertical-align: middle; }
@media screen and (max-width: 52rem) {
  .listing, .listing tbody { display: block; max-width: 28rem; }
  .listing tr { display: block; padding: .4rem 0; border-bottom: 1px solid var(--line); }
  .listing .heads { display: none; }
  .listing td { display: flex; justify-content: space-between; flex-wrap: wrap; gap: 0 1rem;
    padding: .1rem 0; border: 0; white-space: normal; overflow-wrap: anywhere; }
  .listing td::before { content: attr(data-head); color: var(--muted); }
  .listing td:first-child { font-weight: 600; }
  .listing td:first-child::before { content: none; }
}
td.right { background: color-mix(in srgb, var(--now) var(--share), transparent); }
td.wrong { background: color-mix(in srgb, var(--wrong) var(--share), transparent); }
"""


def table(
    title: str, heads: Sequence[str], rows: Iterable[Sequence[str]], level: str = "h3", note: str = ""
) -> str:
    """A table, or nothing where there are no rows.

    Args:
        title: HTML; empty for none.
        heads: The names of the columns, text.
        rows: Cells that are HTML.
        level: The element of the title.
        note: HTML between the title and the table.
    """
    names = [escape(head) for head in heads]
    lines = "".join(f"<tr>{''.join(map(_cell, names, row))}</tr>" for row in rows)
    if not lines:
        return ""
    head = "".join(f"<th>{each}</th>" for each in names)
    above = f"<{level}>{title}</{level}>\n" if title else ""
    return f'{above}{note}<table class="listing"><tr class="heads">{head}</tr>{lines}</table>'


def _cell(head: str, content: str) -> str:
    """A cell, which has the name of its column for where the heads are out of sight."""
    return f'<td data-head="{head}">{content}</td>'


def confusion(names: Sequence[str], rows: Iterable[tuple[str, Sequence[int]]]) -> str:
    """A confusion matrix, each cell the darker the larger its share of the row.

    Args:
        names: The classes that were answered, HTML.
        rows: The true class, HTML, and its rows by the class that was answered. The first are ``names``.
    """
    head = "".join(f"<th>{each}</th>" for each in names)
    lines = "".join(_truth(place, *row) for place, row in enumerate(rows))
    return f'<div class="scroll"><table><tr><th></th>{head}</tr>{lines}</table></div>'


def _truth(place: int, name: str, counts: Sequence[int]) -> str:
    total = sum(counts) or 1
    cells = "".join(
        f'<td class="{"right" if place == column else "wrong"}" '
        f'style="--share:{count / total * 60:.0f}%">{count:,}</td>'
        for column, count in enumerate(counts)
    )
    return f"<tr><td>{name}</td>{cells}</tr>"


def short_name(text: str, longest: int = _LONGEST) -> str:
    """A name out of a model file as HTML: on one line, and cut."""
    return escape(shortened(printable(text), longest))
