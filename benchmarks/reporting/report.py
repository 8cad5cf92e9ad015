"""The stored results as README's block, one Markdown file, one HTML page and charts."""

import os
import re
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup

from benchmarks import units
from benchmarks.errors import BenchmarkError
from benchmarks.reporting import charts, findings, tables
from benchmarks.reporting.figures import Figures
from benchmarks.reporting.repeats import shown
from benchmarks.reporting.tables import Cell, Table
from benchmarks.results import TUTORIAL, Run, read_all

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results"
README = HERE.parent.parent / "README.md"
BEGIN, END = "<!-- benchmarks:begin -->", "<!-- benchmarks:end -->"
TITLE = "Unpickled, measured"
NONE = "There are no results yet: `python -m benchmarks run` measures, `python -m benchmarks report` shows."


def write(folder: Path = RESULTS, readme: Path | None = README) -> list[Path]:
    """Report, page, charts and README's block from the documents in a folder; what was written.

    Without a README its block is left as it is. BenchmarkError where there are no documents, one cannot be
    read, README has no place for the block, or a file cannot be written.
    """
    runs = read_all(folder)
    run = shown(runs)
    if run is None:
        raise BenchmarkError(f"no results in {folder}: python -m benchmarks run measures them")
    drawn = charts.draw(Figures(run))
    texts = {
        **({readme: readme_text(readme, folder)} if readme else {}),
        folder / "report.md": markdown(runs, run),
        folder / "report.html": page(runs, run, drawn),
        **{folder / f"{chart.name}.svg": chart.svg for chart in drawn},
    }
    try:
        for path, text in texts.items():
            put(path, text)
        for path in {folder / f"{name}.svg" for name in charts.NAMES} - set(texts):
            path.unlink(missing_ok=True)
    except OSError as error:
        raise BenchmarkError(f"{error.filename} cannot be written: {error.strerror}") from None
    return list(texts)


def put(path: Path, text: str) -> None:
    """Write a file, all of it or nothing."""
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(text, "utf-8")
    os.replace(temporary, path)


def readme_text(readme: Path = README, folder: Path = RESULTS) -> str:
    """README as it should be: what is between the markers is generated, the rest is left as it is."""
    try:
        text = readme.read_text("utf-8")
    except OSError as error:
        raise BenchmarkError(f"{readme} cannot be read: {error.strerror}") from None
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise BenchmarkError(f"{readme} has no place for the results: add the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{block(read_all(folder), link(folder, readme))}\n{END}{after}"


def link(folder: Path, readme: Path) -> str:
    """The folder as README names it."""
    return Path(os.path.relpath(folder, readme.parent)).as_posix()


def block(runs: Sequence[Run], folder: str) -> str:
    """README's table, pictures and sentences."""
    run = shown(runs)
    if run is None:
        return NONE
    figures = Figures(run)
    drawn = {chart.name: chart.alt for chart in charts.draw(figures)}
    said = [findings.peers(figures), findings.missing(run), findings.summary(figures)]
    sources = (
        f"All that was measured: the [report]({folder}/report.md), as one [page]({folder}/report.html), and "
        f"the [figures]({folder}/{run.file_name})."
    )
    lost = f"[All of them]({folder}/report.md#where-it-is-not-faster)."
    parts = [
        wrapped(escaped(how(run, figures))),
        table(tables.headline(figures)),
        *(f"![{drawn[name]}]({folder}/{name}.svg)" for name in charts.NAMES if name in drawn),
        wrapped(escaped(" ".join(filter(None, said)))),
        wrapped(f"{escaped(findings.beaten(figures))} {lost}"),
        wrapped(escaped(findings.agreement(runs, run))),
        wrapped(sources),
    ]
    return "\n\n".join(parts)


def wrapped(text: str) -> str:
    return textwrap.fill(text, 110, break_long_words=False, break_on_hyphens=False)


def how(run: Run, figures: Figures) -> str:
    """On which machine and how the headline's figures came about."""
    repeats, processor = run.options.get("repeats", "several"), run.machine.processor
    rates = [
        f"{units.number(rate)} requests/s ({figures.model(model)})"
        for model in tables.headlined(figures)
        if (rate := figures.rate(model, TUTORIAL))
    ]
    return (
        f"{'' if run.complete else 'An interrupted run. '}Medians of {repeats} alternated repetitions on "
        f"{processor} with Python {run.versions.get('python', '3')}: {tables.load(run)}, one row per "
        f"request, {findings.pinned(run)}, the answers of every server but the floor checked against "
        "scikit-learn before it is timed."
    ) + (f" The fixed rate is half of what the tutorial can do: {units.listed(rates)}." if rates else "")


def markdown(runs: Sequence[Run], run: Run) -> str:
    drawn = {chart.name: chart.alt for chart in charts.draw(Figures(run))}
    parts = [
        f"# {TITLE}",
        f"Generated by `python -m benchmarks report` from [{run.file_name}]({run.file_name}).",
    ]
    for section in findings.sections(runs, run):
        parts += [f"## {section.title}", *map(escaped, section.texts)]
        parts += [f"![{drawn[section.chart]}]({section.chart}.svg)"] if section.chart in drawn else []
        for one in section.tables:
            parts += [f"**{escaped(one.caption)}**"] if one.caption else []
            parts.append(table(one))
    return "\n\n".join(parts) + "\n"


def table(one: Table) -> str:
    """A Markdown table."""
    rule = ["---" if column < one.words else "---:" for column in range(len(one.head))]
    lines = [map(escaped, one.head), rule, *(map(cell, row) for row in one.rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(one: Cell) -> str:
    return f"**{escaped(one.text)}**" if (one.strong or one.bad) and one.text else escaped(one.text)


def escaped(text: str) -> str:
    """A sentence in which Markdown sees no mark-up, in one line."""
    return re.sub(r"([\\|*_<>`\[\]])", r"\\\1", " ".join(text.split()))


def page(runs: Sequence[Run], run: Run, drawn: Iterable[charts.Chart]) -> str:
    """One HTML file that needs no other."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    return environment.get_template("report.html.j2").render(
        title=TITLE,
        lead=how(run, Figures(run)),
        facts=findings.facts(runs, run),
        repeatability=findings.agreement(runs, run),
        sections=findings.sections(runs, run),
        charts={chart.name: Markup(chart.svg) for chart in drawn},
        file_name=run.file_name,
    )
