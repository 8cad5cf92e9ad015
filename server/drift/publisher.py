"""Measures the drift of all models from time to time, for the metrics of all processes."""

from collections.abc import Iterator, Sequence

from unpickled.server.drift.binnings import Binnings
from unpickled.server.drift.counting import KIND
from unpickled.server.drift.report import FeatureDrift, Share, VersionDrift
from unpickled.server.drift.reports import Reports
from unpickled.server.lifecycle.repository import Repository
from unpickled.server.observe import windows
from unpickled.server.observe.counters import Memory
from unpickled.server.observe.drifts import DRIFTS, Part, VersionDrifts
from unpickled.server.observe.rounds import PAUSE, Rounds
from unpickled.server.quote import printable


class Publisher(Rounds[VersionDrifts]):
    """Measures in the pauses of an intake, one version at a time; one worker does it for all.

    Args:
        memory: The counts, made by ``windows.shared``; its notice gets the result.
        repository: The versions in memory.
        binnings: Their cells.
        pause: Seconds between two measurements.
    """

    name = "drift gauges"

    def __init__(
        self, memory: Memory, repository: Repository, binnings: Binnings, pause: float = PAUSE
    ) -> None:
        super().__init__(memory, DRIFTS, pause)
        self._repository = repository
        self._reports = Reports(memory, binnings)

    def steps(self, now: float) -> Iterator[Sequence[VersionDrifts]]:
        """The versions in memory, one after the other."""
        counts = windows.totals(self._memory, KIND, (), windows.DEFAULT, now).counts
        for deployment in self._repository.each():
            for version in self._reports.judged(deployment, counts):
                yield [_told(deployment.name, version)]


def _told(model: str, version: VersionDrift) -> VersionDrifts:
    """A version as metrics tell it: nothing of its features before there are rows enough to judge them."""
    parts = [("feature", each) for each in version.features] + [
        ("prediction", each) for each in version.predictions
    ]
    return VersionDrifts(
        model=printable(model),
        version=str(version.version),
        rows=version.rows,
        sampled=version.sampled,
        parts=[_part(part, each) for part, each in parts if version.judged],
    )


def _part(part: str, drift: FeatureDrift) -> Part:
    missing, outside = _share(drift.missing), _share(drift.outside)
    return Part(part, printable(drift.name), drift.psi, drift.drifted, missing, outside)


def _share(share: Share | None) -> float | None:
    return None if share is None else share.now
