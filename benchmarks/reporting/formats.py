"""What the forms of a request cost: as text, as a stored document, and as README's table."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from benchmarks.errors import BenchmarkError
from benchmarks.reporting import report
from benchmarks.results import Commit, Machine
from benchmarks.units import number, times

# In a folder of its own: beside it are documents of another kind.
FILE = "formats/latest.json"
BEGIN, END = "<!-- formats:begin -->", "<!-- formats:end -->"
# What runs without a server, and what the others are compared with.
ALONE, BASE = "session.run alone, in process", "JSON, /predict"


class Figure(Struct, kw_only=True, forbid_unknown_fields=True):
    """Rows per second with one model in one form; the median of several turns."""

    title: str
    form: str
    rows: int
    per_s: float


class Figures(Struct, kw_only=True, forbid_unknown_fields=True):
    """One run; ``rows`` were in each batch."""

    started: datetime
    machine: Machine
    versions: dict[str, str]
    commit: Commit | None
    rows: int
    figures: list[Figure]


def text(found: Figures) -> str:
    """Lines for a terminal."""
    lines = []
    for title in dict.fromkeys(figure.title for figure in found.figures):
        for rows in (found.rows, 1):
            per_s = _rates(found, title, rows)
            if not per_s:
                continue
            lines += [f"{title}, {rows} row{'s' if rows > 1 else ''} a request"]
            for form, rate in per_s.items():
                ratios = [times(rate / per_s[base]) for base in (BASE, ALONE) if base in per_s]
                lines.append(f"  {form:<32}{number(rate):>12} rows/s  {'  '.join(ratios)}")
    return "\n".join(lines)


def save(found: Figures, folder: Path = report.RESULTS, readme: Path = report.README) -> list[Path]:
    """Keep a run, and make README's table of it."""
    path = folder / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    report.put(path, msgspec.json.format(msgspec.json.encode(found), indent=1).decode() + "\n")
    report.put(readme, readme_text(readme, folder))
    return [path, readme]


def readme_text(readme: Path = report.README, folder: Path = report.RESULTS) -> str:
    """README as it should be by what is stored."""
    before, begin, rest = readme.read_text("utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise BenchmarkError(f"{readme} has no place for the formats: add the lines {BEGIN} and {END}")
    found = msgspec.json.decode((folder / FILE).read_bytes(), type=Figures)
    return f"{before}{BEGIN}\n{_block(found)}\n{END}{after}"


def _block(found: Figures) -> str:
    titles = list(dict.fromkeys(figure.title for figure in found.figures))
    batches = {title: _rates(found, title, found.rows) for title in titles}
    singles = {title: _rates(found, title, 1) for title in titles}
    lines = [
        f"| {found.rows:,} rows a request, one connection | {' | '.join(titles)} |",
        f"| --- |{' ---: |' * len(titles)}",
    ]
    for form in batches[titles[0]]:
        lines.append(f"| {form} | {' | '.join(_cell(batches[title], form) for title in titles)} |")
    said = "; ".join(
        f"{times(rates['JSON, OIP'] / rates[BASE])} of `/predict`'s requests/s with {title}"
        for title, rates in singles.items()
    )
    return "\n".join(lines) + "\n\n" + report.wrapped(f"One row as JSON, Open Inference Protocol: {said}.")


def _cell(rates: Mapping[str, float], form: str) -> str:
    shown = f"{number(rates[form])} rows/s"
    if form == ALONE:
        return shown
    return f"{shown}, {times(rates[form] / rates[BASE])}, {times(rates[form] / rates[ALONE])} of the session"


def _rates(found: Figures, title: str, rows: int) -> dict[str, float]:
    return {
        figure.form: figure.per_s for figure in found.figures if figure.title == title and figure.rows == rows
    }
