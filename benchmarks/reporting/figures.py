"""Medians over the repetitions of one run, their spread, and ratios between servers."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from benchmarks import units
from benchmarks.results import (
    UNPICKLED,
    Alone,
    Batch,
    Latency,
    Record,
    Run,
    Saturation,
    Server,
    Stages,
    Start,
)

# Below this share of the rate that was sent, a server does not keep up.
KEEPS_UP = 0.95
At = float | str | None


@dataclass(frozen=True)
class Figure:
    """The median of the repetitions, and their range."""

    median: float
    low: float
    high: float

    def overlaps(self, other: "Figure") -> bool:
        """Whether the ranges of two figures have a value in common."""
        return self.low <= other.high and other.low <= self.high


@dataclass(frozen=True)
class Metric:
    """A member of a record: its title, its unit as a function, and whether more is better."""

    measure: type[Record]
    member: str
    title: str
    unit: Callable[[float], str]
    more_is_better: bool = False

    def text(self, figure: Figure | None) -> str:
        """The median with its unit; a dash where there is none."""
        return self.unit(figure.median) if figure else "-"

    def spread(self, figure: Figure | None) -> str:
        """The range with its unit; a dash where there is none."""
        return f"{self.unit(figure.low)} to {self.unit(figure.high)}" if figure else "-"

    def better(self, first: Figure, second: Figure) -> bool:
        """Whether the first figure is better than the second."""
        return first.median > second.median if self.more_is_better else first.median < second.median


REQUESTS = Metric(Saturation, "requests_per_s", "requests/s", units.number, more_is_better=True)
CPU = Metric(Saturation, "cpu_us", "CPU per request", units.duration)
BUSY_P50 = Metric(Saturation, "p50_us", "p50 at saturation", units.duration)
BUSY_P99 = Metric(Saturation, "p99_us", "p99 at saturation", units.duration)
ALONE_P50 = Metric(Alone, "p50_us", "p50, one connection", units.duration)
ALONE_P99 = Metric(Alone, "p99_us", "p99, one connection", units.duration)
P50 = Metric(Latency, "p50_us", "p50", units.duration)
P90 = Metric(Latency, "p90_us", "p90", units.duration)
P99 = Metric(Latency, "p99_us", "p99", units.duration)
P999 = Metric(Latency, "p999_us", "p99.9", units.duration)
WORST = Metric(Latency, "max_us", "slowest", units.duration)
ROWS = Metric(Batch, "rows_per_s", "rows/s", units.number, more_is_better=True)
READY = Metric(Start, "ready_s", "first answer after", units.seconds)
RESIDENT = Metric(Start, "rss_mb", "memory, largest process", units.memory)
TREE = Metric(Start, "tree_mb", "memory, all processes", units.memory)
METRICS = [
    REQUESTS, CPU, BUSY_P50, BUSY_P99, ALONE_P50, ALONE_P99, P50, P90, P99, P999, ROWS, READY, RESIDENT, TREE,
]  # fmt: skip


class Figures:
    """The figures of one run."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.records: dict[tuple[type[Record], str, str, At], list[Record]] = defaultdict(list)
        for record in run.records:
            self.records[type(record), record.model, record.server, record.at].append(record)

    def values(
        self, measure: type[Record], member: str, model: str, server: str, at: At = None
    ) -> list[float]:
        """One member of every repetition that has it."""
        records = self.records.get((measure, model, server, at), [])
        values = (getattr(record, member) for record in records)
        return [value for value in values if value is not None]

    def of(self, metric: Metric, model: str, server: str, at: At = None) -> Figure | None:
        """One figure; None where it was not measured."""
        values = self.values(metric.measure, metric.member, model, server, at)
        return Figure(median(values), min(values), max(values)) if values else None

    def middle(
        self, measure: type[Record], member: str, model: str, server: str, at: At = None
    ) -> float | None:
        """The median of ``values``; None where there are none."""
        values = self.values(measure, member, model, server, at)
        return median(values) if values else None

    def ratio(self, metric: Metric, model: str, server: str, at: At = None) -> float | None:
        """Unpickled's figure divided by that of another server."""
        unpickled, other = self.of(metric, model, UNPICKLED, at), self.of(metric, model, server, at)
        return unpickled.median / other.median if unpickled and other and other.median else None

    def points(self, measure: type[Record], model: str, server: str | None = None) -> list[At]:
        """The rates, or the sizes of batches, at which a measure was taken, in increasing order."""
        points = {
            key[3]: min(getattr(record, "rate", record.at) or 0 for record in records)
            for key, records in self.records.items()
            if key[:2] == (measure, model) and server in (None, key[2])
        }
        return sorted(points, key=lambda at: points[at])

    def rate(self, model: str, at: At) -> float | None:
        """Requests/s that were sent while latency was measured."""
        servers = {key[2] for key in self.records if key[0] is Latency}
        rates = [rate for server in servers for rate in self.values(Latency, "rate", model, server, at)]
        return median(rates) if rates else None

    def keeps_up(self, model: str, server: str, at: At) -> bool:
        """Whether a server answers about as many requests/s as are sent."""
        rate = self.middle(Latency, "rate", model, server, at) or 0
        return (self.middle(Latency, "achieved", model, server, at) or 0) >= KEEPS_UP * rate

    def failed(self, model: str, server: str, at: At) -> int:
        """Requests that failed while latency was measured, in all repetitions."""
        return int(sum(self.values(Latency, "failures", model, server, at)))

    def failed_note(self, model: str, server: str, at: At) -> str:
        """Text beside a latency: how many requests failed and are therefore no part of it."""
        count = self.failed(model, server, at)
        return f" ({units.number(count)} failed)" if count else ""

    def servers(self, model: str, measure: type[Record] = Saturation) -> list[str]:
        """The servers measured with a model: Unpickled, the others from fast to slow, the floor."""
        measured = {key[2] for key in self.records if key[:2] == (measure, model)} & set(self.run.servers)
        return sorted(measured, key=lambda server: self.rank(model, server))

    def rank(self, model: str, server: str) -> tuple[int, float, str]:
        """The sort key of a server in tables and charts."""
        order = {"ours": 0, "floor": 2}.get(self.run.servers[server].group, 1)
        return order, -(self.middle(Saturation, "requests_per_s", model, server) or 0), server

    def rivals(self, model: str, measure: type[Record] = Saturation) -> list[str]:
        """The servers that compete with Unpickled; the floor does not."""
        groups = ("baseline", "peer")
        return [name for name in self.servers(model, measure) if self.server(name).group in groups]

    def server(self, name: str) -> Server:
        """A server of the run."""
        return self.run.servers[name]

    def title(self, server: str) -> str:
        """The title of a server; its name where the run has no such server."""
        return self.run.servers[server].title if server in self.run.servers else server

    def title_at(self, metric: Metric, model: str, at: At) -> str:
        """The title of a metric with the rate, or the size of the batch, that it was measured at."""
        if metric.measure is Latency:
            return f"{metric.title} at {units.number(self.rate(model, at) or 0)} requests/s"
        return metric.title + (
            f", batches of {units.number(float(at))}" if metric.measure is Batch and at else ""
        )

    def model(self, name: str) -> str:
        """The title of a model; its name where the run has no such model."""
        return self.run.models[name].title if name in self.run.models else name

    def models(self, measure: type[Record] = Saturation) -> list[str]:
        """The models with which a measure was taken, in the order of the run."""
        measured = {key[1] for key in self.records if key[0] is measure}
        return [model for model in self.run.models if model in measured]

    def stages(self, model: str) -> dict[str, float]:
        """CPU time of one request (us), from the outside in: floor, HTTP, then each stage.

        HTTP is the server's CPU time less the floor and the stages. They are measured in two ways, so it
        may be negative.
        """
        records = [r for r in self.records.get((Stages, model, UNPICKLED, None), []) if isinstance(r, Stages)]
        if not records:
            return {}
        inside = {
            name: median(record.stages.get(name, 0) for record in records) for name in records[0].stages
        }
        floor = median(record.floor_cpu_us for record in records)
        whole = median(record.server_cpu_us for record in records)
        return {"floor": floor, "HTTP": whole - floor - sum(inside.values())} | inside
