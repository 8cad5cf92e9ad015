"""The figures of a run as tables, apart from the format they are written in."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks import units
from benchmarks.reporting.crossovers import batch_crossover, compute_crossover, computing, rows
from benchmarks.reporting.figures import (
    ALONE_P50,
    CPU,
    P50,
    P90,
    P99,
    P999,
    READY,
    REQUESTS,
    RESIDENT,
    ROWS,
    TREE,
    WORST,
    At,
    Figures,
)  # fmt: skip
from benchmarks.results import TUTORIAL, UNPICKLED, Batch, Compute, Latency, Run, Stages


@dataclass(frozen=True)
class Cell:
    """The text of a cell; ``strong`` in the rows of Unpickled, ``bad`` for a missed target or a failure."""

    text: str
    strong: bool = False
    bad: bool = False


@dataclass(frozen=True)
class Table:
    """The first ``words`` columns are text, the others figures."""

    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    words: int = 1
    caption: str = ""

    def lines(self) -> list[str]:
        """The table for a terminal, each column as wide as its widest cell."""
        cells = [self.head, *([cell.text for cell in line] for line in self.rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        return [
            "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in cells
        ]


@dataclass(frozen=True)
class Section:
    """A part of the report; ``chart`` is the name of the chart above its tables."""

    title: str
    tables: Sequence[Table] = ()
    chart: str = ""
    text: str = ""

    @property
    def anchor(self) -> str:
        """The fragment of the section's address."""
        return self.title.lower().replace(" ", "-")


LATENCY = (
    "Requests are sent at fixed times, whether or not earlier ones have been answered, and a latency counts "
    "from the time at which its request was due; a dash stands where too few were sent for a percentile, and "
    "a server that cannot answer at a rate is left out."
)
HEAD = [
    "Unpickled is", "CPU per request", "p50 / p99 at the fixed rate", "p50, one connection",
    "memory, largest process / all", "first answer after",
]  # fmt: skip


def row(*cells: str, strong: bool = False) -> list[Cell]:
    """A row of plain cells."""
    return [Cell(cell, strong) for cell in cells]


def sections(figures: Figures) -> list[Section]:
    """Every table below."""
    return [
        Section("Throughput", throughput(figures), "throughput"),
        Section("Latency at fixed rates", latency(figures), "latency", LATENCY),
        Section("Batches", batches(figures), "crossover"),
        Section("Where the time goes", stages(figures), "stages"),
        Section("Files", files(figures.run)),
    ]


def throughput(figures: Figures) -> list[Table]:
    """Each server at saturation, with one connection, at half of the tutorial's rate, and at its start."""
    head = ["server", "requests/s", "least to most", *HEAD]
    return [
        Table(
            head,
            [line(figures, model, name) for name in figures.servers(model)],
            caption=figures.model(model) + fixed_rate(figures, model),
        )
        for model in figures.models()
    ]


def fixed_rate(figures: Figures, model: str) -> str:
    rate = figures.rate(model, TUTORIAL)
    return f"; fixed rate: {units.number(rate)} requests/s, half of the tutorial's" if rate else ""


def line(figures: Figures, model: str, server: str) -> list[Cell]:
    """A row of the throughput table."""
    requests = figures.of(REQUESTS, model, server)
    cells = [
        figures.title(server),
        REQUESTS.text(requests),
        REQUESTS.spread(requests),
        ratio(figures, model, server),
        CPU.text(figures.of(CPU, model, server)),
        percentile_pair(figures, model, server),
        ALONE_P50.text(figures.of(ALONE_P50, model, server)),
        pair([metric.text(figures.of(metric, model, server)) for metric in (RESIDENT, TREE)]),
        READY.text(figures.of(READY, model, server)),
    ]
    return row(*cells, strong=server == UNPICKLED)


def ratio(figures: Figures, model: str, server: str) -> str:
    """How many times the requests/s of a server Unpickled answers; nothing for itself."""
    if server == UNPICKLED:
        return ""
    times = figures.ratio(REQUESTS, model, server)
    return units.times(times) if times else "-"


def percentile_pair(figures: Figures, model: str, server: str) -> str:
    """p50 / p99 at half of the tutorial's rate, with the number of requests that failed."""
    texts = [metric.text(figures.of(metric, model, server, TUTORIAL)) for metric in (P50, P99)]
    return pair(texts) + figures.failed_note(model, server, TUTORIAL)


def pair(texts: Sequence[str]) -> str:
    """Two figures in one cell; one dash where there are none."""
    return "-" if set(texts) == {"-"} else " / ".join(texts)


def load(run: Run) -> str:
    """The generator and the connections at saturation."""
    connections, generator = run.options.get("connections"), run.generators.get("saturation", "a generator")
    return f"{generator} with {connections} keep-alive connections" if connections else generator


def latency(figures: Figures) -> list[Table]:
    """Percentiles of each server at each fixed rate."""
    return [
        at_rate(figures, model, at)
        for model in figures.models(Latency)
        for at in figures.points(Latency, model)
    ]


def at_rate(figures: Figures, model: str, at: At) -> Table:
    """Percentiles of each server at one rate."""
    head = ["server", "answered/s", "failed", "p50", "p90", "p99", "p99, least to most", "p99.9", "slowest"]
    servers = [name for name in figures.servers(model, Latency) if figures.of(P50, model, name, at)]
    half = " (half of the tutorial's)" if at == TUTORIAL else ""
    return Table(
        head,
        [percentiles(figures, model, name, at) for name in servers],
        caption=f"{figures.model(model)}, {units.number(figures.rate(model, at) or 0)} requests/s{half}",
    )


def percentiles(figures: Figures, model: str, server: str, at: At) -> list[Cell]:
    """A row of that table; bad where the server does not keep up, or requests failed."""
    achieved = figures.middle(Latency, "achieved", model, server, at) or 0
    failed = figures.failed(model, server, at)
    strong, p99 = server == UNPICKLED, figures.of(P99, model, server, at)
    return [
        Cell(figures.title(server), strong),
        Cell(units.number(achieved), strong, bad=not figures.keeps_up(model, server, at)),
        Cell(units.number(failed), strong, bad=failed > 0),
        *(
            Cell(text, strong, bad=failed > 0 and text != "-")
            for text in (
                *(metric.text(figures.of(metric, model, server, at)) for metric in (P50, P90, P99)),
                P99.spread(p99),
                *(metric.text(figures.of(metric, model, server, at)) for metric in (P999, WORST)),
            )
        ),
    ]


def batches(figures: Figures) -> list[Table]:
    """Crossovers, rows per second by batch size over HTTP, and the time of one call in process."""
    over_http = [
        Table(["server", *(rows(float(at or 0)) for at in sizes)],
              [row(figures.title(name), *(ROWS.text(figures.of(ROWS, model, name, at)) for at in sizes),
                   strong=name == UNPICKLED) for name in figures.servers(model, Batch)],
              caption=f"{figures.model(model)}: rows/s over HTTP and JSON, one connection")
        for model in figures.models(Batch)
        if (sizes := figures.points(Batch, model))
    ]  # fmt: skip
    return [*crossovers(figures), *over_http, *in_process(figures)]


def in_process(figures: Figures) -> list[Table]:
    """ONNX Runtime and scikit-learn without any HTTP."""
    return [
        Table(["one call with", "ONNX Runtime", "scikit-learn", "scikit-learn / ONNX Runtime"],
              [row(rows(size), units.duration(onnx), units.duration(sklearn), units.times(sklearn / onnx))
               for size, onnx, sklearn in computing(figures, model)],
              caption=f"{figures.model(model)}: in process, without HTTP")
        for model in figures.models(Compute)
    ]  # fmt: skip


def crossovers(figures: Figures) -> list[Table]:
    """The batch from which scikit-learn is faster, by model."""
    kinds = (compute_crossover, batch_crossover)
    pairs = {model: [find(figures, model) for find in kinds] for model in figures.run.models}
    lines = [
        row(figures.model(model), *(str(crossover or "not measured") for crossover in pair))
        for model, pair in pairs.items()
        if any(pair)
    ]
    head = ["batch from which scikit-learn is faster", "in process", "over HTTP and JSON"]
    return [Table(head, lines, words=3)] if lines else []


def stages(figures: Figures) -> list[Table]:
    """CPU time of each stage of one request."""
    models = figures.models(Stages)
    parts = {model: figures.stages(model) for model in models}
    names = list(dict.fromkeys(name for model in models for name in parts[model]))
    if not names:
        return []
    titles = {
        "floor": "a server that does nothing",
        "HTTP": "HTTP: the server's CPU time, less all other rows",
    }
    lines = [
        row(titles.get(name, name), *(units.duration(parts[model].get(name, 0)) for model in models))
        for name in names
    ]
    lines.append(row("sum", *(units.duration(sum(parts[model].values())) for model in models), strong=True))
    return [Table(["CPU time of one request", *(figures.model(model) for model in models)], lines)]


def files(run: Run) -> list[Table]:
    """Bytes of the pickle and of the ONNX file of each model."""
    lines = [
        row(model.title, str(model.features), str(model.classes or "-"), units.size(model.pickle_bytes),
            units.size(model.onnx_bytes), units.times(model.onnx_bytes / model.pickle_bytes))
        for model in run.models.values()
    ]  # fmt: skip
    head = ["model", "features", "classes", "pickle", "ONNX file", "ONNX / pickle"]
    return [Table(head, lines)] if lines else []
