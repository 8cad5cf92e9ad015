"""The ratios that Unpickled has to reach, and the ratios that were measured."""

from dataclasses import dataclass

from benchmarks.reporting.figures import P99, REQUESTS, At, Figures, Metric
from benchmarks.results import TUTORIAL, UNPICKLED


@dataclass(frozen=True)
class Target:
    """A ratio Unpickled / server: the least that is wanted of a rate, the most of a latency.

    ``models`` are those that it is for; all of them where it is empty.
    """

    server: str
    limit: float
    metric: Metric = REQUESTS
    at: At = None
    models: tuple[str, ...] = ()

    def met(self, ratio: float) -> bool:
        """Whether a measured ratio reaches the target."""
        return ratio >= self.limit if self.metric.more_is_better else ratio <= self.limit

    @property
    def sign(self) -> str:
        """The comparison, for a table."""
        return "≥" if self.metric.more_is_better else "≤"


@dataclass(frozen=True)
class Outcome:
    """A target with one model. ``ratio`` is None where it was not measured.

    ``failed`` counts requests of Unpickled and of the other server that failed: a latency
    leaves them out, so a ratio of latencies with failures of Unpickled reaches no target.
    """

    target: Target
    model: str
    ratio: float | None
    failed: tuple[int, int] = (0, 0)

    @property
    def missed(self) -> bool:
        """Whether the target was measured and not reached."""
        return self.ratio is not None and (self.failed[0] > 0 or not self.target.met(self.ratio))


def targets(figures: Figures) -> list[Target]:
    """The targets for the servers of a run."""
    fixed = [
        Target(TUTORIAL, 20, models=("iris",)),
        Target(TUTORIAL, 100, models=("forest",)),
        Target(TUTORIAL, 1 / 5, metric=P99, at=TUTORIAL),
        Target("flask-onnx", 4),
        Target("fastapi-onnx", 4),
    ]
    covered = {target.server for target in fixed}
    servers = figures.run.servers.items()
    peers = [Target(name, 10) for name, server in servers if server.group == "peer" and name not in covered]
    floors = [Target(name, 0.60) for name, server in servers if server.group == "floor"]
    return [target for target in [*fixed, *peers, *floors] if target.server in figures.run.servers]


def outcomes(figures: Figures) -> list[Outcome]:
    """Every target with every model that it is for."""
    models = figures.models()
    return [
        Outcome(
            target,
            model,
            figures.ratio(target.metric, model, target.server, target.at),
            (figures.failed(model, UNPICKLED, target.at), figures.failed(model, target.server, target.at)),
        )
        for target in targets(figures)
        for model in models
        if model in (target.models or models) and planned(figures, target.server, model)
    ]


def planned(figures: Figures, server: str, model: str) -> bool:
    """Whether a run was to measure a server with a model: peers run with the models of the headline only."""
    headline = figures.run.options.get("headline") or [model]
    return model in headline or figures.server(server).group != "peer"
