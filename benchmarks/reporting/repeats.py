"""Which of the stored runs is shown, and whether another one like it found the same."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.reporting.figures import OURS, REQUESTS, Figures
from benchmarks.results import Run

# Ratios of two runs that differ by more do not agree.
AGREEMENT = 0.10


def shown(runs: Sequence[Run]) -> Run | None:
    """The run that the report is about, of runs from new to old.

    The newest complete run of everything, else the newest complete one of the baselines, else the
    newest that was interrupted. Never a mixture, as two runs may differ in machine, options and commit.
    """
    complete = [run for run in runs if run.complete]
    full = [run for run in complete if run.kind == "all"]
    return next(iter([*full, *complete, *runs]), None)


@dataclass(frozen=True)
class Difference:
    """The same ratio in two runs, and by how much the greater exceeds the less."""

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
    one, other = Figures(new), Figures(old)
    found = []
    for model in one.models():
        for server in one.servers(model):
            ratios = one.ratio(REQUESTS, model, server), other.ratio(REQUESTS, model, server)
            if server != OURS and ratios[0] and ratios[1]:
                found.append(Difference(model, server, (ratios[0], ratios[1])))
    return sorted(found, key=lambda difference: -difference.share)
