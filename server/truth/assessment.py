"""Reports how right models were, from the counts that the workers of this server share."""

from collections.abc import Iterator, Mapping

from unpickled.server.accuracy.judgement import judge
from unpickled.server.accuracy.layout import Floats
from unpickled.server.accuracy.pairs import Pairing
from unpickled.server.accuracy.report import Accuracy, Pair, Truths, VersionAccuracy
from unpickled.server.accuracy.scoreboard import Scoreboard
from unpickled.server.lifecycle.deployment import Deployment
from unpickled.server.lifecycle.versions import Served
from unpickled.server.observe import windows
from unpickled.server.observe.counters import Key, Memory
from unpickled.server.observe.windows import DEFAULT, Window
from unpickled.server.quote import counted
from unpickled.server.report.document import written
from unpickled.server.truth.joined import ACCURACY, PAIRED
from unpickled.server.truth.ledger import TRUTH

_BEGUN = "Counting began {since}, when the server started: rows from before are not in the window. "
_LAST = (
    "Truth finds its row among the last {rows} of each worker (truth_rows); a payload log would keep the "
    "others. "
)
_LATE = "{truths} came later than that, too late for any figure. "
_KEPT = (
    "For {truths} the row is not remembered any more or not known here: unpickled accuracy --log looks for "
    "it in the payload log. "
)


def judged(joined: Memory, deployment: Deployment, now: float) -> list[VersionAccuracy]:
    """Each version of a model with rows predicted in the last 24 hours, newest first."""
    counts = windows.totals(joined, ACCURACY, (deployment.name,), DEFAULT, now).counts
    return list(_versions(deployment, counts))


class Assessment:
    """Judges the versions in memory.

    Args:
        joined: The counts of rows whose truth is known, made by ``windows.shared``.
        counters: The counts of reports.
        rows: The rows that each worker remembers.
        logs: Whether there is a payload log.
    """

    def __init__(self, joined: Memory, counters: Memory, rows: int, logs: bool) -> None:
        self._joined = joined
        self._counters = counters
        self._rows = rows
        self._logs = logs

    def of(self, deployment: Deployment, window: Window, now: float) -> Accuracy:
        """The accuracy of a model on the rows predicted in the window that ends at the time ``now``."""
        name = deployment.name
        found = windows.totals(self._joined, ACCURACY, (name,), window, now)
        paired = windows.totals(self._joined, PAIRED, (name,), window, now)
        truths, since = self._truths(name), written(found.since)
        return Accuracy(
            model=name,
            window=window,
            since=since,
            until=written(now),
            complete=found.complete,
            versions=tuple(_versions(deployment, found.counts)),
            pairs=tuple(_pairs(deployment, paired.counts)),
            truths=truths,
            remembered=self._rows,
            note=self._note("" if found.complete else _BEGUN.format(since=since), truths),
        )

    def _truths(self, name: str) -> Truths:
        reports = self._counters.read()
        statuses = {key[2]: numbers[0] for key, numbers in reports.items() if key[:2] == (TRUTH, name)}
        return Truths(**{status: round(count) for status, count in statuses.items()})

    def _note(self, begun: str, truths: Truths) -> str:
        last = "" if self._logs else _LAST.format(rows=f"{self._rows:,}")
        late = _LATE.format(truths=counted(truths.late, "truth")) if truths.late else ""
        kept = _KEPT.format(truths=counted(truths.kept, "truth")) if truths.kept else ""
        return f"{begun}{last}{late}{kept}".strip()


def _versions(deployment: Deployment, counts: Mapping[Key, Floats]) -> Iterator[VersionAccuracy]:
    """Each version that has answered rows, newest first."""
    for served in deployment.newest_first:
        board = Scoreboard(served.model.outputs)
        found = counts.get(served.key)
        if found is not None and len(found) == board.size:
            labels = [label for label, version in deployment.labels.items() if version == served.version]
            yield judge(served.version, board, found, served.model.manifest, labels)


def _pairs(deployment: Deployment, counts: Mapping[Key, Floats]) -> Iterator[Pair]:
    served: dict[Key, Served] = {each.key[1:]: each for each in deployment.versions.values()}
    for key, found in counts.items():
        version, shadow = served.get(key[1:3]), served.get(key[3:5])
        if version is None or shadow is None:
            continue
        pairing = Pairing(version.model.outputs, shadow.model.outputs)
        if len(found) == pairing.size:
            yield pairing.report(version.version, shadow.version, found)
