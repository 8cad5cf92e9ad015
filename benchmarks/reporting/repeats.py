"""Which of the stored runs is shown, and whether another one like it found the same."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.reporting.figures import P99, REQUESTS, At, Figures, Metric
from benchmarks.results import OURS, TUTORIAL, Run

# Ratios of two runs that differ by more do not agree.
AGREEMENT = 0.10


def shown(runs: Sequence[Run]) -> Run | None:
    """The run that the report is about, of runs from new to old; never a mixture of several.

    The newest of the widest complete ones: those of everything ("all") before the baselines alone, then by
    the number of models, of servers (also those that failed), of repetitions (at most three count) and of
    sizes of batches. Where none is complete, the one with the most figures.
    """
    return max(runs, key=coverage, default=None)


def coverage(run: Run) -> tuple[int, ...]:
    """What makes a run wider than another, the most important first."""
    if not run.complete:
        return 0, len(run.records)
    repeats, batches = run.options.get("repeats", 1), run.options.get("batches", [])
    return 1, run.kind == "all", len(run.models), len(run.servers), min(repeats, 3), len(batches)


@dataclass(frozen=True)
class Difference:
    """The same ratio in two runs, and by how much the greater exceeds the less."""

    metric: Metric
    model: str
    server: str
    ratios: tuple[float, float]

    @property
    def share(self) -> float:
        return max(self.ratios) / min(self.ratios) - 1


def comparable(one: Run, other: Run) -> bool:
    """Whether two runs measured the same on the same kind of machine."""
    return (
        (one.kind, one.options, one.generators) == (other.kind, other.options, other.generators)
        and one.machine.processor == other.machine.processor
        and one.machine.cores == other.machine.cores
    )


def repetition(runs: Sequence[Run], run: Run) -> Run | None:
    """The newest other complete run that is comparable with this one."""
    others = (other for other in runs if other is not run and other.complete)
    return next((other for other in others if comparable(run, other)), None)


def differences(new: Run, old: Run) -> list[Difference]:
    """Unpickled / each server in requests/s, in two runs; the largest difference first."""
    return compared(new, old, REQUESTS, None, [name for name in new.servers if name != OURS])


def stalls(new: Run, old: Run) -> list[Difference]:
    """The same for the p99 at half of the tutorial's rate, against the tutorial."""
    return compared(new, old, P99, TUTORIAL, [TUTORIAL])


def compared(new: Run, old: Run, metric: Metric, at: At, servers: Iterable[str]) -> list[Difference]:
    one, other = Figures(new), Figures(old)
    pairs = [(model, server) for model in new.models for server in servers]
    found = [
        Difference(metric, model, server, (now, then))
        for model, server in pairs
        if (now := one.ratio(metric, model, server, at))
        if (then := other.ratio(metric, model, server, at))
    ]
    return sorted(found, key=lambda difference: -difference.share)


def changed(new: Run, old: Run) -> list[str]:
    """What two runs were not made with alike: commit, or versions of packages and servers."""
    one, other = used(new), used(old)
    return [
        f"{name} ({other.get(name, 'none')}, {one.get(name, 'none')})"
        for name in dict.fromkeys([*one, *other])
        if one.get(name) != other.get(name)
    ]


def used(run: Run) -> dict[str, str]:
    """Commit and versions; a server's own under its title."""
    commit = {"commit": run.commit.id[:12] + ("" if run.commit.clean else ", changed")} if run.commit else {}
    servers = {
        f"{name} of {server.title}": version
        for server in run.servers.values()
        for name, version in server.versions.items()
    }
    # A package that all share is named once.
    return (
        commit
        | run.versions
        | {name: v for name, v in servers.items() if name.split()[0] not in run.versions}
    )
