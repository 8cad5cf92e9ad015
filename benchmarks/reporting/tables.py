"""What was measured, as tables, whatever they are written as."""

from collections.abc import Sequence
from dataclasses import dataclass, field

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
    Metric,
)  # fmt: skip
from benchmarks.reporting.verdicts import failures
from benchmarks.results import OURS, TUTORIAL, Batch, Compute, Latency, Run, Stages


@dataclass(frozen=True)
class Cell:
    """What stands in a table; ``bad`` where a target is missed or a server fails."""

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


@dataclass(frozen=True)
class Section:
    title: str
    texts: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    chart: str = ""

    @property
    def anchor(self) -> str:
        return self.title.lower().replace(" ", "-")


HEAD = [
    "Unpickled is", "CPU per request", "p50 / p99 at the fixed rate", "p50, one connection",
    "memory, largest process / all", "first answer after",
]  # fmt: skip


def row(*cells: str, strong: bool = False) -> list[Cell]:
    return [Cell(cell, strong) for cell in cells]


def throughput(figures: Figures) -> Section:
    """Each server at saturation, alone, at the tutorial's half, and at its start, model by model."""
    head = ["server", "requests/s", "least to most", *HEAD]
    tables = [
        Table(
            head,
            [line(figures, model, name, spread=True) for name in figures.servers(model)],
            caption=figures.model(model) + fixed_rate(figures, model),
        )
        for model in figures.models()
    ]
    texts = [f"Load by {load(figures.run)}, one row per request."] if tables else []
    return Section("Throughput", texts, tables, "throughput")


def fixed_rate(figures: Figures, model: str) -> str:
    rate = figures.rate(model, TUTORIAL)
    half = f"; the fixed rate is half of what the tutorial can do, {units.number(rate or 0)} requests/s"
    return half if rate else ""


def line(figures: Figures, model: str, server: str, spread: bool = False) -> list[Cell]:
    requests = figures.of(REQUESTS, model, server)
    cells = [
        figures.title(server),
        REQUESTS.text(requests),
        *([REQUESTS.spread(requests)] if spread else []),
        ratio(figures, model, server),
        CPU.text(figures.of(CPU, model, server)),
        pair(figures, model, server, TUTORIAL),
        ALONE_P50.text(figures.of(ALONE_P50, model, server)),
        both([metric.text(figures.of(metric, model, server)) for metric in (RESIDENT, TREE)]),
        READY.text(figures.of(READY, model, server)),
    ]
    return row(*cells, strong=server == OURS)


def ratio(figures: Figures, model: str, server: str, metric: Metric = REQUESTS, at: At = None) -> str:
    """How many times as fast Unpickled is; nothing for itself."""
    found = figures.ratio(metric, model, server, at)
    return "" if server == OURS else units.times(found) if found else "-"


def pair(figures: Figures, model: str, server: str, at: At) -> str:
    """p50 / p99 of a server at a fixed rate, and how many requests failed if any."""
    found = [metric.text(figures.of(metric, model, server, at)) for metric in (P50, P99)]
    return both(found) + failures(figures, P99, model, server, at)


def both(found: Sequence[str]) -> str:
    return "-" if set(found) == {"-"} else " / ".join(found)


def load(run: Run) -> str:
    """How the servers were loaded at saturation."""
    connections, generator = run.options.get("connections"), run.generators.get("saturation", "a generator")
    return f"{generator} with {connections} keep-alive connections" if connections else generator


def latency(figures: Figures) -> Section:
    """Percentiles of each server at each fixed rate."""
    tables = [
        at_rate(figures, model, at)
        for model in figures.models(Latency)
        for at in figures.points(Latency, model)
    ]
    text = (
        "Requests are sent at fixed times whether or not the last ones are answered, and a latency counts "
        "from when its request was meant to be sent. A dash stands where too few were sent to "
        "tell; a server that cannot answer so many is left out. Where requests failed, the others alone are "
        "timed: such figures are marked."
    )
    return Section("Latency at fixed rates", [text] if tables else [], tables, "latency")


def at_rate(figures: Figures, model: str, at: At) -> Table:
    head = ["server", "answered/s", "failed", "p50", "p90", "p99", "p99, least to most", "p99.9", "slowest"]
    servers = [name for name in figures.servers(model, Latency) if figures.of(P50, model, name, at)]
    half = f" (half of what {figures.short(at)} can do)" if isinstance(at, str) else ""
    return Table(
        head,
        [percentiles(figures, model, name, at) for name in servers],
        caption=f"{figures.model(model)}, {units.number(figures.rate(model, at) or 0)} requests/s{half}",
    )


def percentiles(figures: Figures, model: str, server: str, at: At) -> list[Cell]:
    achieved = figures.middle(Latency, "achieved", model, server, at) or 0
    failed = figures.failed(model, server, at)
    ours, p99 = server == OURS, figures.of(P99, model, server, at)
    return [
        Cell(figures.title(server), ours),
        Cell(units.number(achieved), ours, bad=not figures.keeps_up(model, server, at)),
        Cell(units.number(failed), ours, bad=failed > 0),
        *(
            Cell(text, ours, bad=failed > 0 and text != "-")
            for text in (
                *(metric.text(figures.of(metric, model, server, at)) for metric in (P50, P90, P99)),
                P99.spread(p99),
                *(metric.text(figures.of(metric, model, server, at)) for metric in (P999, WORST)),
            )
        ),
    ]


def batches(figures: Figures) -> Section:
    """Rows per second by batch size through HTTP, and one call in process."""
    through = [
        Table(["server", *(rows(float(at or 0)) for at in sizes)],
              [row(figures.title(name), *(ROWS.text(figures.of(ROWS, model, name, at)) for at in sizes),
                   strong=name == OURS) for name in figures.servers(model, Batch)],
              caption=f"{figures.model(model)}: rows/s through HTTP and JSON, one connection")
        for model in figures.models(Batch)
        if (sizes := figures.points(Batch, model))
    ]  # fmt: skip
    return Section("Batches", [], [*crossovers(figures), *through, *in_process(figures)], "crossover")


def in_process(figures: Figures) -> list[Table]:
    """ONNX Runtime and scikit-learn without any HTTP."""
    return [
        Table(["one call with", "ONNX Runtime", "scikit-learn", "scikit-learn / ONNX Runtime"],
              [row(rows(size), units.duration(ours), units.duration(theirs), units.times(theirs / ours))
               for size, ours, theirs in computing(figures, model)],
              caption=f"{figures.model(model)}: in process, without HTTP")
        for model in figures.models(Compute)
    ]  # fmt: skip


def crossovers(figures: Figures) -> list[Table]:
    """From which batch on scikit-learn is the faster one."""
    kinds = (compute_crossover, batch_crossover)
    found = [[find(figures, model) for find in kinds] for model in figures.run.models]
    lines = [
        row(figures.model(model), *(str(crossover) if crossover else "not measured" for crossover in pair))
        for model, pair in zip(figures.run.models, found, strict=True)
        if any(pair)
    ]
    head = ["where scikit-learn catches up", "in process", "through HTTP and JSON"]
    return [Table(head, lines, words=3)] if lines else []


def stages(figures: Figures) -> Section:
    """Where the CPU time of one request goes."""
    models = figures.models(Stages)
    parts = {model: figures.stages(model) for model in models}
    names = list(dict.fromkeys(name for model in models for name in parts[model]))
    titles = {"floor": "a server that does nothing", "HTTP": "HTTP, rest"}
    if not names:
        return Section("Where the time goes")
    lines = [
        row(titles.get(name, name), *(units.duration(parts[model].get(name, 0)) for model in models))
        for name in names
    ]
    lines.append(row("sum", *(units.duration(sum(parts[model].values())) for model in models), strong=True))
    text = (
        'CPU time of one request. The stages are timed in process; "HTTP, rest" is what the server takes '
        "beyond them and beyond a server that does nothing."
    )
    more = [
        f"{units.duration(figures.excess(model))} ({figures.model(model)})"
        for model in models
        if figures.excess(model)
    ]
    over = (
        "Stages and floor, as they are measured in two ways, exceed what the server takes in all, so that "
        f'"HTTP, rest" would be negative and is shown as 0: by {units.listed(more)}.'
    )
    head = ["stage", *(figures.model(model) for model in models)]
    return Section("Where the time goes", [text, *([over] if more else [])], [Table(head, lines)], "stages")


def sizes(run: Run) -> Section:
    """Bytes of the pickle and of the ONNX file."""
    lines = [
        row(model.title, str(model.features), str(model.classes), units.size(model.pickle_bytes),
            units.size(model.onnx_bytes), units.times(model.onnx_bytes / model.pickle_bytes))
        for model in run.models.values()
    ]  # fmt: skip
    head = ["model", "features", "classes", "pickle", "ONNX file", "ONNX / pickle"]
    return Section("Files", [], [Table(head, lines)] if lines else [])


def headline(figures: Figures) -> Table:
    """What README shows: two models, the baselines and the floor."""
    models = headlined(figures)
    head = ["model", "server", "requests/s", *HEAD]
    lines = [
        [Cell(figures.model(model) if not place else ""), *line(figures, model, name)]
        for model in models
        for place, name in enumerate(compact(figures, model))
    ]
    return Table(head, lines, words=2)


def headlined(figures: Figures) -> list[str]:
    """The models in README: one that costs nothing to compute, and one that does."""
    return [model for model in ("iris", "forest") if model in figures.models()] or figures.models()[:2]


def compact(figures: Figures, model: str) -> list[str]:
    """Everybody but the peers."""
    return [name for name in figures.servers(model) if figures.server(name).group != "peer"]
