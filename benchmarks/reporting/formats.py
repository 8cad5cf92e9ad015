"""The cost of each form of a request: as text, as a stored document, and as a table in the documentation."""

from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct

from benchmarks.reporting import markdown
from benchmarks.reporting.latest import Latest
from benchmarks.reporting.tables import Table, row
from benchmarks.results import Commit, Machine
from benchmarks.units import number, times

# The form that runs without a server, and the form that the others are compared with.
ALONE, BASE = "session.run alone, in process", "JSON, /predict"


class Figure(Struct, kw_only=True, forbid_unknown_fields=True):
    """Rows per second of one model in one form, ``rows`` in each request: the median of several turns."""

    title: str
    form: str
    rows: int
    per_s: float


class Figures(Struct, kw_only=True, forbid_unknown_fields=True):
    """One run; ``rows`` is the size of its batches."""

    started: datetime
    machine: Machine
    versions: dict[str, str]
    commit: Commit | None
    rows: int
    figures: list[Figure]


def text(run: Figures) -> str:
    """Lines for a terminal."""
    lines = []
    for title in dict.fromkeys(figure.title for figure in run.figures):
        for rows in (run.rows, 1):
            rates = _rates(run, title, rows)
            if not rates:
                continue
            lines += [f"{title}, {rows} row{'s' if rows > 1 else ''} a request"]
            for form, rate in rates.items():
                ratios = [times(rate / rates[base]) for base in (BASE, ALONE) if base in rates]
                lines.append(f"  {form:<32}{number(rate):>12} rows/s  {'  '.join(ratios)}")
    return "\n".join(lines)


def table(run: Figures) -> Table:
    """Rows per second of each form: batches, then single rows from many connections."""
    titles = list(dict.fromkeys(figure.title for figure in run.figures))
    lines = []
    for rows, note in ((run.rows, ""), (1, ", one row")):
        rates = {title: _rates(run, title, rows) for title in titles}
        forms = dict.fromkeys(form for title in titles for form in rates[title])
        lines += [row(form + note, *(_cell(rates[title], form) for title in titles)) for form in forms]
    return Table([f"{run.rows:,} rows a request, one connection", *titles], lines)


def _cell(rates: Mapping[str, float], form: str) -> str:
    if form not in rates:
        return "-"
    text = f"{number(rates[form])} rows/s"
    if form != ALONE:
        text += f", {times(rates[form] / rates[BASE])}"
    if form != ALONE and ALONE in rates:
        text += f", {times(rates[form] / rates[ALONE])} of the session"
    return text


def _rates(run: Figures, title: str, rows: int) -> dict[str, float]:
    """Rows per second by form."""
    return {
        figure.form: figure.per_s for figure in run.figures if figure.title == title and figure.rows == rows
    }


def _block(run: Figures, folder: str) -> str:
    return markdown.table(table(run))


LATEST = Latest("formats", Figures, _block)
