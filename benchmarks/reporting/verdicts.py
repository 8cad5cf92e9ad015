"""What the figures say: which targets are met, where others are faster, where the generator was the limit."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks import units
from benchmarks.reporting.crossovers import computing
from benchmarks.reporting.figures import METRICS, P99, REQUESTS, At, Figure, Figures, Metric
from benchmarks.results import OURS, TUTORIAL, Batch, Compute, Latency, Saturation

# Above these shares, of its time and of a p99, the generator may be what was measured.
BUSY = 0.95
LATE = 0.25


@dataclass(frozen=True)
class Target:
    """A ratio Unpickled / server that is to be at least (or, for a latency, at most) so much."""

    server: str
    wanted: float
    metric: Metric = REQUESTS
    at: At = None
    models: tuple[str, ...] = ()

    def met(self, ratio: float) -> bool:
        return ratio >= self.wanted if self.metric.more_is_better else ratio <= self.wanted

    @property
    def sign(self) -> str:
        return "≥" if self.metric.more_is_better else "≤"


def targets(figures: Figures) -> list[Target]:
    """What Unpickled is meant to reach against each server of a run."""
    fixed = [
        Target(TUTORIAL, 20, models=("iris",)),
        Target(TUTORIAL, 100, models=("forest",)),
        Target(TUTORIAL, 1 / 5, metric=P99, at=TUTORIAL),
        Target("flask-onnx", 4),
        Target("fastapi-onnx", 4),
    ]
    named = {target.server for target in fixed}
    servers = figures.run.servers.items()
    peers = [Target(name, 10) for name, server in servers if server.group == "peer" and name not in named]
    floors = [Target(name, 0.60) for name, server in servers if server.group == "floor"]
    return [target for target in [*fixed, *peers, *floors] if target.server in figures.run.servers]


@dataclass(frozen=True)
class Outcome:
    """A target with one model; without a ratio where it was not measured.

    ``failed`` are requests, Unpickled's and the other's, that have no part in the ratio as they failed.
    """

    target: Target
    model: str
    ratio: float | None
    failed: tuple[int, int] = (0, 0)

    @property
    def short(self) -> bool:
        """A latency without the requests that failed reaches no target."""
        return self.ratio is not None and (self.failed[0] > 0 or not self.target.met(self.ratio))


def outcomes(figures: Figures) -> list[Outcome]:
    models = figures.models()
    return [
        Outcome(
            target,
            model,
            figures.ratio(target.metric, model, target.server, target.at),
            (figures.failed(model, OURS, target.at), figures.failed(model, target.server, target.at)),
        )
        for target in targets(figures)
        for model in models
        if model in (target.models or models) and planned(figures, target.server, model)
    ]


def planned(figures: Figures, server: str, model: str) -> bool:
    """Whether a run was to measure a server with a model: peers with those of the headline only."""
    headline = figures.run.options.get("headline") or [model]
    return model in headline or figures.server(server).group != "peer"


@dataclass(frozen=True)
class Loss:
    """A figure in which another beats Unpickled; ``within_spread`` where their repetitions overlap.

    ``kind`` is the title without size, rate or model.
    """

    kind: str
    title: str
    model: str
    server: str
    theirs: str
    ours: str
    factor: float
    within_spread: bool | None = None


def losses(figures: Figures, group: Sequence[str] = ("baseline", "peer")) -> list[Loss]:
    """Every figure in which servers of these groups beat Unpickled, by figure, model and server."""
    return [
        loss
        for metric in METRICS
        for model in figures.models(metric.measure)
        for at in figures.points(metric.measure, model, OURS)
        for server in figures.servers(model, metric.measure)
        if figures.server(server).group in group
        for loss in lost(figures, metric, model, server, at)
    ] + [
        loss
        for model in figures.models(Latency)
        for at in figures.points(Latency, model, OURS)
        for server in figures.servers(model, Latency)
        if figures.server(server).group in group
        for loss in failing(figures, model, server, at)
    ]


def lost(figures: Figures, metric: Metric, model: str, server: str, at: At) -> Iterator[Loss]:
    ours, theirs = figures.of(metric, model, OURS, at), figures.of(metric, model, server, at)
    if not ours or not theirs or not metric.better(theirs, ours):
        return
    yield Loss(
        kind=metric.title,
        title=metric.title + where(figures, metric, model, at),
        model=model,
        server=figures.title(server),
        theirs=metric.text(theirs) + failures(figures, metric, model, server, at),
        ours=metric.text(ours) + failures(figures, metric, model, OURS, at),
        factor=factor(ours, theirs),
        # One repetition has no range.
        within_spread=ours.overlaps(theirs) if ours.low < ours.high or theirs.low < theirs.high else None,
    )


def failing(figures: Figures, model: str, server: str, at: At) -> Iterator[Loss]:
    """Where more of Unpickled's requests failed than of another server's."""
    ours, theirs = (figures.failed(model, name, at) for name in (OURS, server))
    if figures.of(P99, model, server, at) and ours > theirs:
        yield Loss(
            kind="failed requests",
            title="failed requests" + where(figures, P99, model, at),
            model=model,
            server=figures.title(server),
            theirs=units.number(theirs),
            ours=units.number(ours),
            factor=ours / theirs if theirs else float("inf"),
        )


def failures(figures: Figures, metric: Metric, model: str, server: str, at: At) -> str:
    """What is to be said beside a latency of requests of which some failed."""
    count = figures.failed(model, server, at) if metric.measure is Latency else 0
    return f" ({units.number(count)} failed)" if count else ""


def factor(one: Figure, other: Figure) -> float:
    """How many times the greater is the less; of two medians."""
    low, high = sorted((one.median, other.median))
    return high / low if low else float("inf")


def where(figures: Figures, metric: Metric, model: str, at: At) -> str:
    """At which rate or with how many rows a figure was measured."""
    if metric.measure is Latency:
        return f" at {units.number(figures.rate(model, at) or 0)} requests/s"
    return f", batches of {units.number(float(at))}" if metric.measure is Batch and at else ""


def library_losses(figures: Figures) -> list[Loss]:
    """Where scikit-learn's pickle is smaller, or its computing without any HTTP faster."""
    kind = "size of the file"
    sizes = [
        Loss(kind, kind, name, "pickle", units.size(model.pickle_bytes), units.size(model.onnx_bytes),
             model.onnx_bytes / model.pickle_bytes)
        for name, model in figures.run.models.items()
        if model.onnx_bytes > model.pickle_bytes
    ]  # fmt: skip
    slower = [
        Loss("one call", f"one call in process, {units.number(size)} rows", model, "scikit-learn",
             units.duration(theirs), units.duration(ours), ours / theirs)
        for model in figures.models(Compute)
        for size, ours, theirs in computing(figures, model)
        if ours > theirs
    ]  # fmt: skip
    return sizes + slower


@dataclass(frozen=True)
class Limit:
    """A figure that is in part the generator's: ``why`` says how."""

    title: str
    model: str
    server: str
    why: str


def limits(figures: Figures) -> list[Limit]:
    """Where the generator had no time left, or sent its requests late."""
    found = [
        Limit("requests/s", model, name, busy(figures, name, share))
        for model in figures.models()
        for name in figures.servers(model)
        if (share := figures.middle(Saturation, "generator_busy", model, name) or 0) > BUSY
    ]
    return found + [
        limit
        for model in figures.models(Latency)
        for at in figures.points(Latency, model)
        for name in figures.servers(model, Latency)
        for limit in late(figures, model, name, at)
    ]


def busy(figures: Figures, server: str, share: float) -> str:
    why = f"the generator was busy {100 * share:.0f}% of the time"
    floor = figures.server(server).group == "floor"
    return why + (": it could do more, and Unpickled's ratio to it is flattered" if floor else "")


def late(figures: Figures, model: str, server: str, at: At) -> Iterator[Limit]:
    """Where the latest requests were sent late by a good part of the p99."""
    p99 = figures.of(P99, model, server, at)
    delay = figures.middle(Latency, "late_p99_us", model, server, at) or 0
    if p99 and delay > LATE * p99.median:
        why = f"sent late by up to {units.duration(delay)} of {P99.text(p99)}"
        yield Limit("p99" + where(figures, P99, model, at), model, server, why)
