"""Reports about the drift of models that are served, from the counts of all processes."""

from collections.abc import Iterator, Mapping

from unpickled.server.drift.binnings import Binnings
from unpickled.server.drift.counting import KIND
from unpickled.server.drift.judgement import judge
from unpickled.server.drift.report import Drift, VersionDrift
from unpickled.server.lifecycle.deployment import Deployment
from unpickled.server.lifecycle.versions import Served
from unpickled.server.observe import windows
from unpickled.server.observe.counters import Key, Memory
from unpickled.server.observe.windows import Floats, Window
from unpickled.server.report.document import written

BEGUN = "counting began {since}, when the server started: rows from before are not in the window"


class Reports:
    """Judges the versions in memory.

    Args:
        memory: The counts, made by ``windows.shared``.
        binnings: The cells of each version.
    """

    def __init__(self, memory: Memory, binnings: Binnings) -> None:
        self._memory = memory
        self._binnings = binnings

    def of(self, deployment: Deployment, window: Window, now: float) -> Drift:
        """The drift of a model in the window that ends at the time ``now``."""
        totals = windows.totals(self._memory, KIND, (deployment.name,), window, now)
        since = written(totals.since)
        return Drift(
            model=deployment.name,
            window=window,
            since=since,
            until=written(now),
            complete=totals.complete,
            versions=tuple(self.judged(deployment, totals.counts)),
            note="" if totals.complete else BEGUN.format(since=since),
        )

    def judged(self, deployment: Deployment, counts: Mapping[Key, Floats]) -> Iterator[VersionDrift]:
        """Each version of a model that has answered rows, newest first, one at a time: it takes a while."""
        for served in deployment.newest_first:
            if served.key in counts:
                yield self._judged(served, counts[served.key])

    def _judged(self, served: Served, counts: Floats) -> VersionDrift:
        binning = self._binnings.of(served.model)
        answered, rows = float(counts[0]), float(counts[1])
        if not binning.rows:
            return judge(served.version, binning, counts[:1])
        return judge(served.version, binning, counts[1:], min(1.0, rows / answered) if answered else 1.0)
