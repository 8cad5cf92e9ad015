"""README's block: one chart, one small table, one line about the method and a link to the report."""

import os
from collections.abc import Sequence
from pathlib import Path

from benchmarks.reporting import apart, charts, markdown
from benchmarks.reporting.figures import REQUESTS, TREE, Figures
from benchmarks.reporting.repeats import reported
from benchmarks.reporting.tables import Cell, Table, load, percentile_pair, ratio, row
from benchmarks.results import TUTORIAL, UNPICKLED, Run, read_all

BLOCK = "benchmarks"
SERVERS = (UNPICKLED, "flask-onnx", TUTORIAL)
NONE = "There are no results yet: `python -m benchmarks run` measures, `python -m benchmarks report` shows."


def text(readme: Path, results: Path) -> str:
    """README with a block made from the results in a folder."""
    folder = Path(os.path.relpath(results, readme.parent)).as_posix()
    return markdown.filled(readme, BLOCK, block(read_all(results), folder))


def block(runs: Sequence[Run], folder: str) -> str:
    """The block; ``folder`` is that of the results, as README's links name it."""
    run = reported(runs)
    if run is None:
        return NONE
    figures = Figures(run)
    chart = f"![{charts.ALT['throughput']}]({folder}/throughput.svg)\n\n" if figures.models() else ""
    lines = [markdown.escaped(line) for line in (method(run), others(runs, run)) if line]
    report = f"[All figures, and where others are better]({folder}/report.md)."
    return "\n".join([f"{chart}{markdown.table(headline(figures))}\n", *lines, report])


def method(run: Run) -> str:
    """The machine and the method, in one line."""
    repeats, python = run.options.get("repeats", "several"), run.versions.get("python", "3")
    return (
        f"{'' if run.complete else 'Interrupted. '}{run.machine.processor}, Python {python}; {load(run)}, "
        f"one row per request; medians of {repeats} repetitions; fixed rate: half of the tutorial's."
    )


def others(runs: Sequence[Run], run: Run) -> str:
    """The models measured apart, in one line: how many times the tutorial's requests/s Unpickled answers."""
    parts = [Figures(part) for part in apart.remaining(runs, run)]
    times = [
        f"{figures.model(model)}, {ratio(figures, model, TUTORIAL)}"
        for figures in parts
        for model in figures.models()
        if TUTORIAL in figures.servers(model)
    ]
    return f"Requests/s over the tutorial's in other runs: {'; '.join(times)}." if times else ""


def headline(figures: Figures) -> Table:
    """Two models with three servers each."""
    head = ["model", "server", "requests/s", "Unpickled is", "p50 / p99 at the fixed rate", TREE.title]
    rows = [
        [Cell(figures.model(model) if server == UNPICKLED else ""), *_line(figures, model, server)]
        for model in models(figures)
        for server in SERVERS
        if server in figures.servers(model)
    ]
    return Table(head, rows, words=2)


def models(figures: Figures) -> list[str]:
    """A model that costs nothing to compute, and one that does."""
    return [model for model in ("iris", "forest") if model in figures.models()] or figures.models()[:2]


def _line(figures: Figures, model: str, server: str) -> list[Cell]:
    return row(
        figures.title(server),
        REQUESTS.text(figures.of(REQUESTS, model, server)),
        ratio(figures, model, server),
        percentile_pair(figures, model, server),
        TREE.text(figures.of(TREE, model, server)),
        strong=server == UNPICKLED,
    )
