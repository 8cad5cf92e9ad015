"""The run that is reported, and how far a second run like it agrees."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.reporting.figures import P99, REQUESTS, At, Figures, Metric
from benchmarks.results import TUTORIAL, UNPICKLED, Run

# Ratios of two runs that differ by more do not agree.
AGREEMENT = 0.10


def reported(runs: Sequence[Run]) -> Run | None:
    """The run that the report is about, of runs from new to old; never a mixture of several.

    The newest of the widest complete runs: those of everything ("all") before those of the baselines, then
    by the number of models, of servers (failed ones included), of repetitions (three at most count) and of
    sizes of batches. Where none is complete, the run with the most records.
    """
    return max(runs, key=_coverage, default=None)


def _coverage(run: Run) -> tuple[int, ...]:
    if not run.complete:
        return 0, len(run.records)
    repeats, batches = run.options.get("repeats", 1), run.options.get("batches", [])
    return 1, run.kind == "all", len(run.models), len(run.servers), min(repeats, 3), len(batches)


def repetition(runs: Sequence[Run], run: Run) -> Run | None:
    """The newest other complete run with the same options on the same kind of machine."""
    candidates = (candidate for candidate in runs if candidate is not run and candidate.complete)
    return next((candidate for candidate in candidates if _comparable(run, candidate)), None)


def _comparable(first: Run, second: Run) -> bool:
    return (
        (first.kind, first.options, first.generators) == (second.kind, second.options, second.generators)
        and first.machine.processor == second.machine.processor
        and first.machine.cores == second.machine.cores
    )


@dataclass(frozen=True)
class Difference:
    """The same ratio Unpickled / server in two runs."""

    metric: Metric
    model: str
    server: str
    ratios: tuple[float, float]

    @property
    def share(self) -> float:
        """By how much of the lesser ratio the greater one exceeds it."""
        return max(self.ratios) / min(self.ratios) - 1

    @property
    def agrees(self) -> bool:
        """Whether the ratios are close enough to count as repeated."""
        return self.share <= AGREEMENT


def differences(new: Run, old: Run) -> list[Difference]:
    """Ratios of requests/s to each server, the largest difference first; then of the tutorial's p99."""
    servers = [name for name in new.servers if name != UNPICKLED]
    return [
        *_differences(new, old, REQUESTS, None, servers),
        *_differences(new, old, P99, TUTORIAL, [TUTORIAL]),
    ]


def _differences(new: Run, old: Run, metric: Metric, at: At, servers: Iterable[str]) -> list[Difference]:
    figures, earlier = Figures(new), Figures(old)
    pairs = [(model, server) for model in new.models for server in servers]
    differing = [
        Difference(metric, model, server, (ratio, before))
        for model, server in pairs
        if (ratio := figures.ratio(metric, model, server, at))
        if (before := earlier.ratio(metric, model, server, at))
    ]
    return sorted(differing, key=lambda difference: -difference.share)


def changed(new: Run, old: Run) -> list[tuple[str, str, str]]:
    """(name, new, old) of the commit, and of each version, that differs between two runs."""
    names, earlier = _versions(new), _versions(old)
    return [
        (name, names.get(name, "none"), earlier.get(name, "none"))
        for name in dict.fromkeys([*names, *earlier])
        if names.get(name) != earlier.get(name)
    ]


def _versions(run: Run) -> dict[str, str]:
    """Commit and versions; a package that only one server has comes with the server's title."""
    commit = {"commit": run.commit.id[:12] + ("" if run.commit.clean else ", changed")} if run.commit else {}
    servers = {
        f"{name} of {server.title}": version
        for server in run.servers.values()
        for name, version in server.versions.items()
        if name not in run.versions
    }
    return commit | run.versions | servers
