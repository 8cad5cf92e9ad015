"""Servers under overload: as lines, as a stored document, as tables and a picture in the documentation."""

import io
import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator
from msgspec import Struct

from benchmarks.reporting import charts, markdown
from benchmarks.reporting.latest import Latest
from benchmarks.reporting.tables import Cell, Table, row
from benchmarks.results import UNPICKLED, Commit, Machine, Server
from benchmarks.units import duration, number, percent

PICTURE = "overload.svg"
ALT = "Right answers per second, and their p99, against the load that is offered, from half to ten times"
SINGLES = "single rows"


class Figure(Struct, kw_only=True, forbid_unknown_fields=True):
    """One step of one server, the requests of one kind.

    ``times``: the load, in multiples of ``capacity`` (right answers/s to clients that wait). Times are in
    milliseconds from when a request was due; a quantile is None where there are too few. ``cpu`` is that of
    the server, in cores. ``recovered_s``: seconds after the step until a row and a probe were answered soon,
    30 at most.
    """

    model: str
    server: str
    mix: str
    kind: str
    repeat: int
    times: float
    capacity: float
    seconds: float
    requests: int
    good: int
    shed: int
    unanswered: int
    failed: int
    failure: str
    p50_ms: float | None
    p99_ms: float | None
    p999_ms: float | None
    shed_p99_ms: float | None
    probe_p99_ms: float | None
    probes: int
    probes_failed: int
    cpu: float
    late_p99_ms: float | None
    generator_busy: float
    connections: int
    recovered_s: float


class Figures(Struct, kw_only=True, forbid_unknown_fields=True):
    """One run. Clients give up after ``limit_s`` seconds; ``flags`` are those of Unpickled."""

    started: datetime
    machine: Machine
    versions: dict[str, str]
    commit: Commit | None
    limit_s: float
    poisson: bool
    flags: str
    models: dict[str, str]
    servers: dict[str, Server]
    figures: list[Figure]

    def of(self, model: str, server: str, mix: str, kind: str = "") -> list["Step"]:
        """The steps of a server, from the lowest load to the highest; all kinds together, or one of them."""
        chosen = [
            figure
            for figure in self.figures
            if (figure.model, figure.server, figure.mix) == (model, server, mix) and kind in ("", figure.kind)
        ]
        return [Step(times, [f for f in chosen if f.times == times]) for times in _distinct(chosen)]

    def mixes(self, model: str) -> list[str]:
        """The mixes measured with a model."""
        return list(dict.fromkeys(figure.mix for figure in self.figures if figure.model == model))

    def kinds(self, model: str, mix: str) -> list[str]:
        """The kinds of requests in a mix."""
        chosen = (f for f in self.figures if (f.model, f.mix) == (model, mix))
        return list(dict.fromkeys(figure.kind for figure in chosen))


def _distinct(figures: Iterable[Figure]) -> list[float]:
    return sorted({figure.times for figure in figures})


class Step:
    """The figures of one load: medians of its repetitions, kinds added up."""

    def __init__(self, times: float, figures: Sequence[Figure]) -> None:
        self.times = times
        self.figures = figures

    def median(self, name: str) -> float | None:
        """The median of a figure that kinds do not share out; None where a repetition lacks it."""
        values = [getattr(figure, name) for figure in self.figures]
        return None if None in values else statistics.median(values)

    def per_s(self, name: str) -> float:
        """Requests/s that were ``requests``, ``good``, ``shed``, ``unanswered`` or ``failed``."""
        by_repeat: dict[int, float] = {}
        for figure in self.figures:
            by_repeat[figure.repeat] = (
                by_repeat.get(figure.repeat, 0.0) + getattr(figure, name) / figure.seconds
            )
        return statistics.median(by_repeat.values())

    @property
    def share(self) -> float:
        """Right answers in time, as a share of the capacity."""
        return self.per_s("good") / self.capacity

    @property
    def capacity(self) -> float:
        return statistics.median(figure.capacity for figure in self.figures)


def text(run: Figures) -> str:
    """Lines for a terminal."""
    lines = [f"clients give up after {run.limit_s:g} s; {run.flags or 'no flags'}"]
    for each in tables(run):
        lines += ["", each.caption, *each.lines()]
    return "\n".join([*lines, "", *verdict(run)])


def _block(run: Figures, folder: str) -> str:
    """The picture and the tables, for a page from which ``folder`` leads to the picture."""
    model = next(iter(run.models))
    parts = [_method(run), f"![{ALT}]({folder}/{PICTURE})"]
    for each in [_beside(run, model, mix) for mix in run.mixes(model)] + _own(run):
        parts += [f"**{markdown.escaped(each.caption)}**", markdown.table(each)]
    return "\n\n".join(parts)


def _method(run: Figures) -> str:
    arrivals = "at random moments (Poisson)" if run.poisson else "at even intervals"
    flags = f" Unpickled runs with `{run.flags}`." if run.flags else ""
    model = run.models[next(iter(run.models))]
    most = max(each.connections for each in run.figures)
    return (
        f"Measured on {run.started:%Y-%m-%d} on {markdown.escaped(run.machine.processor)} with a {model}, "
        f"the server on one core and the clients on another. Requests come {arrivals}; a client gives up "
        f"after {run.limit_s:g} s, and at most {most:,} connections were open.{flags}"
    )


def _beside(run: Figures, model: str, mix: str) -> Table:
    """The servers side by side: answers in time as a share of capacity, their p99, and the probes' p99."""
    servers = [server for server in run.servers if run.of(model, server, mix)]
    kinds = run.kinds(model, mix)
    head = ["load"]
    for server in servers:
        title = run.servers[server].title.split(":")[0]
        head += [f"{title}: answered", *(f"p99, {kind}" for kind in kinds), "p99, probe"]
    capacities = "; ".join(
        f"{run.servers[server].title} {number(run.of(model, server, mix)[0].capacity)}/s"
        for server in servers
    )
    lines = []
    for times in sorted({figure.times for figure in run.figures if figure.mix == mix}):
        cells = [f"x{times:g}"]
        for server in servers:
            whole = {step.times: step for step in run.of(model, server, mix)}[times]
            cells.append(percent(whole.share))
            of_kinds = [{step.times: step for step in run.of(model, server, mix, kind)} for kind in kinds]
            cells += [_time(steps[times].median("p99_ms")) for steps in of_kinds]
            cells.append(_probe(whole))
        lines.append(row(*cells))
    return Table(head, lines, caption=f"{mix}, in multiples of each server's own capacity: {capacities}")


def _probe(step: Step) -> str:
    """The p99 of the probes; where more than one of a hundred had no answer, there is none."""
    lost, probes = step.median("probes_failed") or 0, step.median("probes") or 0
    if lost > 0.01 * probes:
        return f"{lost / probes:.0%} lost"
    return _time(step.median("probe_p99_ms"))


def _own(run: Figures) -> list[Table]:
    """Every figure of Unpickled alone."""
    return [each for each in tables(run) if each.caption.startswith(f"{run.servers[UNPICKLED].title},")]


def verdict(run: Figures) -> list[str]:
    """The promises of Unpickled, and the figures that keep or break them: a line for each, by mix."""
    lines = []
    for model in run.models if UNPICKLED in run.servers else ():
        for mix in run.mixes(model):
            whole, first = run.of(model, UNPICKLED, mix), run.kinds(model, mix)[0]
            best = max(step.per_s("good") for step in whole)
            share = whole[-1].per_s("good") / best if best else 0.0
            lines.append(f"{model}, {mix}: x{whole[-1].times:g} has {share:.0%} of the best (at least 90%)")
            lines += [f"{model}, {mix}: {text}" for text in _waits(run.of(model, UNPICKLED, mix, first))]
            slowest = max((step.median("probe_p99_ms") or math.inf for step in whole), default=math.inf)
            lines.append(f"{model}, {mix}: probes' p99 is {slowest:.1f} ms at most (below 50 ms)")
    return lines


def _waits(steps: Sequence[Step]) -> list[str]:
    """The p99 of one row in overload, as a multiple of that at the load nearest to 0.8."""
    calm = [step for step in steps if step.times <= 0.8]
    base = calm[-1].median("p99_ms") if calm else None
    later = [(p99, step.times) for step in steps if step.times > 1 and (p99 := step.median("p99_ms"))]
    if not base or not later:
        return ["too few requests for a p99"]
    p99, times = max(later)
    return [
        f"p99 of one row is {p99:.1f} ms at x{times:g}, {p99 / base:.1f} times the {base:.1f} ms at "
        f"x{calm[-1].times:g} (at most 2)"
    ]


def tables(run: Figures) -> list[Table]:
    """A table of each server with each model, mix and kind of request."""
    return [
        _table(run, model, server, mix, kind)
        for model in run.models
        for mix in run.mixes(model)
        for server in run.servers
        for kind in run.kinds(model, mix)
        if run.of(model, server, mix, kind)
    ]


HEAD = [
    "load", "offered/s", "good/s", "of the best", "shed/s", "no answer/s", "failed/s", "p50", "p99", "p99.9",
    "refusal p99", "probe p99", "probes lost", "CPU", "over it after",
]  # fmt: skip


def _table(run: Figures, model: str, server: str, mix: str, kind: str) -> Table:
    steps = run.of(model, server, mix, kind)
    best = max(step.per_s("good") for step in steps)
    whole = run.of(model, server, mix)[0]
    caption = f"{run.servers[server].title}, {run.models[model]}, {mix}"
    if len(run.kinds(model, mix)) > 1:
        caption += f", {kind}"
    caption += f": capacity {number(whole.capacity)} requests/s"
    return Table(HEAD, [_row(step, best) for step in steps], caption=caption)


def _row(step: Step, best: float) -> list[Cell]:
    slow = "" if (step.median("late_p99_ms") or 0) < 20 else " (generator late)"
    return row(
        f"x{step.times:g}{slow}",
        number(step.per_s("requests")),
        number(step.per_s("good")),
        percent(step.per_s("good") / best) if best else "-",
        *(number(step.per_s(name)) for name in ("shed", "unanswered", "failed")),
        *(
            _time(step.median(name))
            for name in ("p50_ms", "p99_ms", "p999_ms", "shed_p99_ms", "probe_p99_ms")
        ),
        number(step.median("probes_failed") or 0),
        percent(step.median("cpu") or 0),
        f"{step.median('recovered_s'):.1f} s",
    )


def _time(ms: float | None) -> str:
    return "-" if ms is None else duration(1000 * ms)


def picture(run: Figures) -> str:
    """Two panels for each mix of the first model as SVG: right answers, and their p99, against the load."""
    with charts.style("overload"):
        canvas = _draw(run, next(iter(run.models)))
        file = io.StringIO()
        canvas.savefig(file, format="svg", metadata={"Date": None})
    return charts.finished(file.getvalue(), "overload", ALT)


def _draw(run: Figures, model: str) -> Canvas:
    mixes = run.mixes(model)
    canvas, panels = charts.grid(2 * len(mixes), 3.1, share=False)
    ends: dict[Axes, list[charts.End]] = {}
    for index, mix in enumerate(mixes):
        share, wait = panels[2 * index : 2 * index + 2]
        wait.set_yscale("log")
        for panel, height in ((share, _share), (wait, _wait)):
            lines = [_line(run, model, server, mix, panel, height) for server in run.servers]
            ends[panel] = [end for end in lines if end is not None]
        _axes(run, share, f"{mix}: right answers in time, of capacity", lambda height: f"{height:.0%}")
        _axes(run, wait, f"{mix}: p99 of one row in time", lambda ms: duration(1000 * ms))
        share.axhline(1.0, color=charts.GREY, linewidth=1.0, linestyle=(0, (4, 3)))
    charts.label_ends(canvas, ends)
    for panel in panels[: 2 * len(mixes) : 2]:
        panel.set_ylim(bottom=0)
    return canvas


def _share(step: Step) -> float | None:
    return step.share


def _wait(step: Step) -> float | None:
    return step.median("p99_ms")


def _line(
    run: Figures, model: str, server: str, mix: str, panel: Axes, value: Callable[[Step], float | None]
) -> charts.End | None:
    kind = run.kinds(model, mix)[0] if value is _wait else ""
    steps = run.of(model, server, mix, kind)
    points = [(step.times, height) for step in steps if (height := value(step)) is not None]
    shade, width, front = (charts.BLUE, 2.4, 4) if server == UNPICKLED else (_other(run, server), 1.4, 3)
    if not points:
        return None
    across, upwards = zip(*points, strict=True)
    panel.plot(across, upwards, color=shade, linewidth=width, marker="o", markersize=4, zorder=front)
    return run.servers[server].title.split(":")[0], shade, across[-1], upwards[-1]


def _other(run: Figures, server: str) -> str:
    others = [name for name in run.servers if name != UNPICKLED]
    return charts.SERIES[others.index(server) % len(charts.SERIES)]


def _axes(run: Figures, panel: Axes, title: str, unit: Callable[[float], str]) -> None:
    loads = sorted({figure.times for figure in run.figures})
    panel.set_xscale("log")
    panel.set_xlim(0.9 * loads[0], 1.1 * loads[-1])
    panel.xaxis.set_major_locator(FixedLocator(loads))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda load, _: f"x{load:g}"))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_minor_formatter(NullFormatter())
    panel.yaxis.set_major_formatter(FuncFormatter(lambda height, _: unit(height)))
    panel.yaxis.set_minor_formatter(NullFormatter())
    panel.set_title(title)
    panel.set_xlabel("load that is offered, in multiples of the server's own capacity")
    panel.grid(axis="y")
    panel.tick_params(length=0)
    panel.spines["left"].set_visible(False)


def _pictures(run: Figures) -> dict[str, str]:
    return {PICTURE: picture(run)}


LATEST = Latest("overload", Figures, _block, _pictures)
