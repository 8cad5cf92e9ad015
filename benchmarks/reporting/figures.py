"""Medians over the repetitions of one run, their spread, and what is divided by what."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from benchmarks import units
from benchmarks.results import (
    OURS,
    TUTORIAL,
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
    """The median of the repetitions, the least and the greatest of them."""

    median: float
    low: float
    high: float

    def overlaps(self, other: "Figure") -> bool:
        return self.low <= other.high and other.low <= self.high


@dataclass(frozen=True)
class Metric:
    """A member of a record, what it is called, how it is written, and whether more of it is better."""

    measure: type[Record]
    member: str
    title: str
    written: Callable[[float], str]
    more_is_better: bool = False

    def text(self, figure: Figure | None) -> str:
        return self.written(figure.median) if figure else "-"

    def spread(self, figure: Figure | None) -> str:
        return f"{self.written(figure.low)} to {self.written(figure.high)}" if figure else "-"

    def better(self, one: Figure, other: Figure) -> bool:
        return one.median > other.median if self.more_is_better else one.median < other.median


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
    """What one run found."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.records: dict[tuple[type[Record], str, str, At], list[Record]] = defaultdict(list)
        for record in run.records:
            self.records[type(record), record.model, record.server, record.at].append(record)

    def values(
        self, measure: type[Record], member: str, model: str, server: str, at: At = None
    ) -> list[float]:
        """One figure of every repetition that has it."""
        found = self.records.get((measure, model, server, at), [])
        values = (getattr(record, member) for record in found)
        return [value for value in values if value is not None]

    def of(self, metric: Metric, model: str, server: str, at: At = None) -> Figure | None:
        """None where it was not measured."""
        values = self.values(metric.measure, metric.member, model, server, at)
        return Figure(median(values), min(values), max(values)) if values else None

    def middle(
        self, measure: type[Record], member: str, model: str, server: str, at: At = None
    ) -> float | None:
        """The median of what ``values`` finds."""
        values = self.values(measure, member, model, server, at)
        return median(values) if values else None

    def ratio(self, metric: Metric, model: str, server: str, at: At = None) -> float | None:
        """Unpickled's figure divided by that of another server."""
        ours, theirs = self.of(metric, model, OURS, at), self.of(metric, model, server, at)
        return ours.median / theirs.median if ours and theirs and theirs.median else None

    def points(self, measure: type[Record], model: str, server: str | None = None) -> list[At]:
        """Where a measure was taken: rates in increasing order, or sizes of batches."""
        found = {
            key[3]: min(getattr(record, "rate", record.at) or 0 for record in records)
            for key, records in self.records.items()
            if key[:2] == (measure, model) and server in (None, key[2])
        }
        return sorted(found, key=lambda at: found[at])

    def rate(self, model: str, at: At) -> float | None:
        """Requests/s that were sent where latency was measured."""
        servers = {key[2] for key in self.records if key[0] is Latency}
        rates = [rate for server in servers for rate in self.values(Latency, "rate", model, server, at)]
        return median(rates) if rates else None

    def keeps_up(self, model: str, server: str, at: At) -> bool:
        """Whether a server answers about as many requests/s as are sent."""
        rate = self.middle(Latency, "rate", model, server, at) or 0
        return (self.middle(Latency, "achieved", model, server, at) or 0) >= KEEPS_UP * rate

    def failed(self, model: str, server: str, at: At) -> int:
        """Requests that failed where latency was measured, in all repetitions."""
        return int(sum(self.values(Latency, "failures", model, server, at)))

    def servers(self, model: str, measure: type[Record] = Saturation) -> list[str]:
        """Who was measured with a model: Unpickled, the others from fast to slow, the floor."""
        measured = {key[2] for key in self.records if key[:2] == (measure, model)} & set(self.run.servers)
        return sorted(measured, key=lambda server: self.place(model, server))

    def place(self, model: str, server: str) -> tuple[int, float, str]:
        order = {"ours": 0, "floor": 2}.get(self.run.servers[server].group, 1)
        return order, -(self.middle(Saturation, "requests_per_s", model, server) or 0), server

    def others(self, model: str, measure: type[Record] = Saturation) -> list[str]:
        """Who is compared with Unpickled; the floor is not."""
        groups = ("baseline", "peer")
        return [name for name in self.servers(model, measure) if self.server(name).group in groups]

    def server(self, name: str) -> Server:
        return self.run.servers[name]

    def title(self, server: str) -> str:
        return self.run.servers[server].title if server in self.run.servers else server

    def short(self, server: str) -> str:
        """A server in a sentence."""
        floor = server in self.run.servers and self.server(server).group == "floor"
        known = {TUTORIAL: "the tutorial", **({server: "a server that does nothing"} if floor else {})}
        return known.get(server, self.title(server))

    def model(self, name: str) -> str:
        """The title of a model."""
        return self.run.models[name].title if name in self.run.models else name

    def models(self, measure: type[Record] = Saturation) -> list[str]:
        """The models that a measure was taken with, in the document's order."""
        measured = {key[1] for key in self.records if key[0] is measure}
        return [model for model in self.run.models if model in measured]

    def stages(self, model: str) -> dict[str, float]:
        """CPU time of one request (us), from the outside in: floor, HTTP, then each stage."""
        found = self.parts(model)
        return found | {"HTTP": max(found["HTTP"], 0)} if found else {}

    def excess(self, model: str) -> float:
        """By how much (us) floor and stages, measured in two ways, exceed what the server takes in all."""
        return max(-self.parts(model).get("HTTP", 0), 0)

    def parts(self, model: str) -> dict[str, float]:
        """What ``stages`` gives, where HTTP is what is left of the whole, and may be negative."""
        inside = [r for r in self.records.get((Stages, model, OURS, None), []) if isinstance(r, Stages)]
        if not inside:
            return {}
        names = inside[0].stages
        found = {name: median(record.stages.get(name, 0) for record in inside) for name in names}
        floor = median(record.floor_cpu_us for record in inside)
        whole = median(record.server_cpu_us for record in inside)
        return {"floor": floor, "HTTP": whole - floor - sum(found.values())} | found
