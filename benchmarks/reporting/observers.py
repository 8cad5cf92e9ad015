"""The cost of observers: as text, as a stored document, and as a table in the documentation."""

import math
import statistics
from collections.abc import Callable
from datetime import datetime

from msgspec import Struct

from benchmarks.reporting import markdown
from benchmarks.reporting.latest import Latest
from benchmarks.reporting.tables import Table, row
from benchmarks.results import Commit, Machine
from benchmarks.units import duration, memory, number, percent

# The variant that the others are compared with, and the one that has all observers.
OFF, ALL = "off", "all"


class Figure(Struct, kw_only=True, forbid_unknown_fields=True):
    """One turn of one variant.

    In a closed loop: ``requests_per_s``, and ``cpu_us`` of all processes of the server, per request. In an
    open loop: the quantiles of each of its rungs, and ``failures`` in all of them. ``rows`` of the payload
    log by fate.
    """

    variant: str
    repeat: int
    requests_per_s: float
    cpu_us: float
    p50s_us: list[float]
    p99s_us: list[float]
    failures: int
    rows: dict[str, float]
    memory_mb: float

    @property
    def p50_us(self) -> float:
        """The median of the rungs."""
        return statistics.median(self.p50s_us)

    @property
    def p99_us(self) -> float:
        """The median of the rungs."""
        return statistics.median(self.p99s_us)


class Figures(Struct, kw_only=True, forbid_unknown_fields=True):
    """One run, with every turn of every variant; ``rate`` is that of the open loop, in requests/s."""

    started: datetime
    machine: Machine
    versions: dict[str, str]
    commit: Commit | None
    model: str
    connections: int
    rate: float
    figures: list[Figure]

    @property
    def variants(self) -> list[str]:
        """The variants in their order, the one without observers first."""
        return list(dict.fromkeys(figure.variant for figure in self.figures))

    @property
    def turns(self) -> int:
        """The number of turns of each variant."""
        return len({figure.repeat for figure in self.figures})

    def values(self, variant: str, name: str) -> list[float]:
        """A figure in each turn of a variant."""
        return [getattr(figure, name) for figure in self.figures if figure.variant == variant]

    def median(self, variant: str, name: str) -> float:
        """The median of a figure over the turns of a variant."""
        return statistics.median(self.values(variant, name))

    def ratio(self, variant: str, name: str) -> float:
        """The median of a variant in multiples of the median without observers."""
        base = self.median(OFF, name)
        return self.median(variant, name) / base if base else math.nan


def text(run: Figures) -> str:
    """Lines for a terminal."""
    title = f"{run.model}, {run.connections} connections; latency at {run.rate:g} requests/s"
    return "\n".join([title, *table(run).lines()])


def table(run: Figures) -> Table:
    """Throughput, CPU time, latency, memory and logged rows of each variant."""
    head = [
        "observers",
        "requests/s",
        "CPU a request",
        f"p50 at {run.rate:g}/s",
        "p99",
        "memory",
        "rows logged",
    ]
    lines = [
        row(
            variant,
            _cell(run, variant, "requests_per_s", number),
            _cell(run, variant, "cpu_us", duration),
            duration(run.median(variant, "p50_us")),
            _cell(run, variant, "p99_us", duration) + _failed(run, variant),
            memory(run.median(variant, "memory_mb")),
            _logged(run, variant),
        )
        for variant in run.variants
    ]
    return Table(head, lines)


def _cell(run: Figures, variant: str, name: str, unit: Callable[[float], str]) -> str:
    """The median with the lowest and the highest turn, and its multiple of that without observers."""
    values = run.values(variant, name)
    spread = f" ({unit(min(values))} to {unit(max(values))})" if len(values) > 1 else ""
    ratio = f", {run.ratio(variant, name):.2f}x" if variant != OFF else ""
    return f"{unit(run.median(variant, name))}{spread}{ratio}"


def _failed(run: Figures, variant: str) -> str:
    count = sum(run.values(variant, "failures"))
    return f", {number(count)} failed" if count else ""


def _logged(run: Figures, variant: str) -> str:
    """The share of the answered rows that were written to the payload log."""
    counts = [figure.rows for figure in run.figures if figure.variant == variant and figure.rows]
    total = sum(sum(rows.values()) for rows in counts)
    return percent(sum(rows.get("written", 0.0) for rows in counts) / total) if total else ""


def _block(run: Figures, folder: str) -> str:
    """The method in two sentences, and the table."""
    cores = "the server on one core and the clients on another"
    if run.machine.server_core < 0:
        cores = "no process on a core of its own"
    turns = f"medians of {run.turns} turns (lowest to highest)" if run.turns > 1 else "those of one turn"
    method = (
        f"Measured on {run.started:%Y-%m-%d} on {markdown.escaped(run.machine.processor)} with a "
        f"{run.model}, {cores}, over {run.connections} connections. Figures are {turns}; a multiple is that "
        "of the median without observers."
    )
    return f"{method}\n\n{markdown.table(table(run))}"


LATEST = Latest("observers", Figures, _block)
