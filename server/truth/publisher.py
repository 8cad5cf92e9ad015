"""Judges the accuracy of all models from time to time, for the metrics of all processes."""

from collections.abc import Iterator, Sequence

from unpickled.server.accuracy.report import Estimate, Figures, Trained, VersionAccuracy
from unpickled.server.lifecycle.repository import Repository
from unpickled.server.observe.accuracies import ACCURACIES, VersionAccuracies
from unpickled.server.observe.counters import Memory
from unpickled.server.observe.rounds import PAUSE, Rounds
from unpickled.server.quote import printable
from unpickled.server.truth.assessment import judged


class Publisher(Rounds[VersionAccuracies]):
    """Judges in the pauses of an intake, one model at a time; one worker does it for all.

    Args:
        memory: The counts of rows whose truth is known; its notice gets the result.
        repository: The versions in memory.
        pause: Seconds between two judgements.
    """

    name = "accuracy gauges"

    def __init__(self, memory: Memory, repository: Repository, pause: float = PAUSE) -> None:
        super().__init__(memory, ACCURACIES, pause)
        self._repository = repository

    def steps(self, now: float) -> Iterator[Sequence[VersionAccuracies]]:
        """The versions of each model, one model after the other."""
        for deployment in self._repository.each():
            versions = judged(self._memory, deployment, now)
            yield [_told(deployment.name, version) for version in versions]


def _told(model: str, version: VersionAccuracy) -> VersionAccuracies:
    """A version as metrics tell it."""
    found = version.figures
    return VersionAccuracies(
        model=printable(model),
        version=str(version.version),
        rows=found.rows,
        coverage=version.coverage or 0.0,
        figures=_figures(found, version.trained),
        targets={
            printable(each.target): _values(
                mean_absolute_error=each.mae, root_mean_squared_error=each.rmse, prediction_bias=each.bias
            )
            for each in found.targets
            if each.mae is not None
        },
        alarms=_alarms(version),
    )


def _figures(found: Figures, trained: Trained | None) -> dict[str, float]:
    figures = _values(accuracy=found.accuracy, log_loss=found.log_loss)
    if found.calibration is not None:
        figures["calibration_error"] = found.calibration.error
    if trained is not None and found.accuracy is not None:
        figures["accuracy_training"] = trained.accuracy
    return figures


def _values(**estimates: Estimate | None) -> dict[str, float]:
    return {name: figure.value for name, figure in estimates.items() if figure is not None}


def _alarms(version: VersionAccuracy) -> dict[str, bool]:
    if not version.judged:
        return {}
    alarms = {"fallen": version.fallen}
    if version.figures.calibration is not None:
        alarms["calibration"] = version.miscalibrated
    return alarms
