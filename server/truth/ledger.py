"""The truth that one process takes: each report finds the prediction that it is about, and is counted.

    accepted        joined with the prediction, which is remembered
    repeated        the same truth once more
    contradicting   another truth than the first, which stands
    refused         no truth of this model, or an id of another one
    late            the prediction is of this server, which remembers it no more
    unknown         the server knows no such id, or its request had no such row
    kept            late, or of another start of the server, and stored beside the payload log for its join

A request is stored and counted as a whole, or not at all.
"""

import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, get_args

from unpickled.server.errors import Overloaded
from unpickled.server.lifecycle.deployment import Deployment
from unpickled.server.observe.counters import Block
from unpickled.server.observe.ids import Id
from unpickled.server.quote import counted, quoted
from unpickled.server.truth.joined import Join, Joined
from unpickled.server.truth.recent import Known, Recent
from unpickled.server.truth.reports import Report
from unpickled.server.truth.store import Kept, Store
from unpickled.server.truth.values import Truths, truths_of
from unpickled.server.truth.versions import Version

Status = Literal["accepted", "repeated", "contradicting", "refused", "late", "unknown", "kept"]
STATUSES: tuple[Status, ...] = get_args(Status)
# (TRUTH, model, status)      reports
TRUTH = "truth"
# Seconds for which a prediction may be on its way to the memory, and between two looks for it.
_LONGEST, _LOOK = 2.0, 0.02
# Reports that are decided without a break, and seconds of such a break.
_OFTEN, _BREATH = 256, 0.0001
# Versions whose readers a process keeps.
_MOST = 1000


class Outcome(NamedTuple):
    """The status of one report; ``reason`` is "" where it needs none."""

    status: Status
    reason: str = ""


class _Decision(NamedTuple):
    """An outcome, and what follows from it: a row to mark and to count, a line to store."""

    outcome: Outcome
    identity: Id | None = None
    bits: int = 0
    join: Join | None = None
    truth: Any = None


class Ledger:
    """Takes truth for one process.

    Args:
        block: Counts the reports; its token is that of the ids that this server gives.
        recent: The rows that are remembered; None where none are.
        joined: Counts the rows whose truth is known.
        store: Keeps truth beside the payload log; None where there is no log.
        most: Requests that may be under way at once. They wait for one another and for the disk; the threads
            of this process are for predictions, too.
    """

    def __init__(
        self,
        block: Block,
        recent: Recent | None,
        joined: Joined | None,
        store: Store | None,
        most: int = 1,
    ) -> None:
        self._block = block
        self._recent = recent
        self._joined = joined
        self._store = store
        self._lock = threading.Lock()
        self._places = threading.Semaphore(most)
        self._truths: dict[tuple[str, str, str], Truths] = {}

    @property
    def is_open(self) -> bool:
        """Whether anything is done with truth."""
        return self._recent is not None or self._store is not None

    def take(self, deployment: Deployment, reports: Sequence[Report]) -> list[Outcome]:
        """Take reports about a model, and return what became of each (reports,).

        Raises:
            Overloaded: Too many requests are under way: none counts.
            TruthNotStored: The disk does not take them: none counts.
        """
        if not self._places.acquire(blocking=False):
            raise Overloaded(
                "too many reports of truth are under way: ask again, or send more of them in one request",
                headers={"Retry-After": "1"},
            )
        try:
            return self._taken(deployment, reports)
        finally:
            self._places.release()

    def _taken(self, deployment: Deployment, reports: Sequence[Report]) -> list[Outcome]:
        model, identities = deployment.name, [Id.read(report.id) for report in reports]
        self._await(identities)
        # Two workers may be told the truth of one row at once.
        with self._alone():
            decisions = self._decided(deployment, reports, identities)
            self._keep(model, reports, decisions)
            self._mark(decisions)
        if self._joined is not None:
            self._joined.count([decision.join for decision in decisions if decision.join is not None])
        outcomes = [decision.outcome for decision in decisions]
        for status, count in Counter(outcome.status for outcome in outcomes).items():
            self._block.series((TRUTH, model, status), 1)[0] += count
        return outcomes

    def _alone(self) -> AbstractContextManager[Any]:
        return self._lock if self._recent is None else self._recent.locked()

    def _await(self, identities: Sequence[Id | None]) -> None:
        """Wait for predictions that are answered and still in the queue of their worker."""
        if self._recent is None:
            return
        last: dict[int, int] = {}
        for identity in identities:
            if identity is not None and identity.token == self._block.token:
                last[identity.worker] = max(last.get(identity.worker, 0), identity.number)
        until = time.monotonic() + _LONGEST
        # A pass that begins from now on finds every row that is answered: others are not waited for.
        passes = {worker: self._recent.times_settled(worker) + 2 for worker in last}
        for worker, number in last.items():
            while not self._has_come(worker, number, passes[worker]) and time.monotonic() < until:
                time.sleep(_LOOK)

    def _has_come(self, worker: int, number: int, passes: int) -> bool:
        """Whether a row is there if it ever will, which it is after so many passes of its worker."""
        recent = self._recent
        if recent is None or worker >= recent.places:
            return True
        return recent.settled(worker) > number or recent.times_settled(worker) >= passes

    def _decided(
        self, deployment: Deployment, reports: Sequence[Report], identities: Sequence[Id | None]
    ) -> list[_Decision]:
        decisions: list[_Decision] = []
        # The truth that this request itself brings, by the ids of rows.
        given: dict[str, int] = {}
        for report, identity in zip(reports, identities, strict=True):
            decision = self._decide(deployment, report, identity, given)
            if decision.outcome.status == "accepted" and decision.identity is not None:
                given[str(decision.identity)] = decision.bits
            decisions.append(decision)
            if not len(decisions) % _OFTEN:
                # For requests that wait for the interpreter.
                time.sleep(_BREATH)
        return decisions

    def _decide(
        self, deployment: Deployment, report: Report, identity: Id | None, given: dict[str, int]
    ) -> _Decision:
        if identity is None:
            return _decision("unknown", "this is no id of a prediction: it is in the header Prediction-Id")
        known = self._find(identity)
        if reason := self._misplaced(identity, known):
            return _decision("unknown", reason)
        if known is None:
            return self._forgotten(deployment, report, identity)
        return self._compared(deployment, report, identity, known, given.get(str(identity), known.truth))

    def _compared(
        self, deployment: Deployment, report: Report, identity: Id, known: Known, before: int | None
    ) -> _Decision:
        """The decision on a prediction that is remembered; ``before`` is the truth that it has already."""
        version = known.version
        if version.model != deployment.name:
            sentence = f"this is a prediction of the model {quoted(version.model)}: report it there"
            return _decision("refused", sentence)
        truths = self._truths_of(version)
        try:
            truth = truths.read(report.truth)
        except ValueError as error:
            return _decision("refused", str(error))
        bits = truths.bits(truth)
        if before == bits:
            return _decision("repeated")
        if before is not None:
            text = truths.text(before)
            return _decision("contradicting", f"the first truth stands{text and f', {text}'}")
        join = Join(known, truth, self._find(identity, shadow=True))
        return _Decision(Outcome("accepted"), identity, bits, join, truth)

    def _find(self, identity: Id, shadow: bool = False) -> Known | None:
        if self._recent is None or identity.token != self._block.token:
            return None
        return self._recent.find(identity.worker, identity.number, shadow)

    def _misplaced(self, identity: Id, known: Known | None) -> str:
        """A sentence if the request of an id has no such row, or several and the id names none; else ""."""
        row = identity.row
        if row == 0:
            # The row with that number, as the payload log has it, whichever request it is of.
            return ""
        if row is None:
            if known is None or known.rows == 1:
                return ""
            begin = str(identity._replace(number=identity.number - known.row))
            last = known.rows - 1
            return f"the request of this id had {last + 1} rows: name one, from {begin}:0 to {begin}:{last}"
        first = self._find(identity._replace(number=identity.number - row))
        if first is not None and not first.row and row >= first.rows:
            return f"the request of this id had {counted(first.rows, 'row')}: there is no row {row}, from 0"
        if known is not None and known.row != row:
            return f"the request of this id had no row {row}, from 0"
        return ""

    def _forgotten(self, deployment: Deployment, report: Report, identity: Id) -> _Decision:
        """The decision on a prediction that is not remembered."""
        recent, own = self._recent, identity.token == self._block.token
        if own and recent is not None and recent.settled(identity.worker) <= identity.number:
            return _decision("unknown", "this server has given no such id, or has not noted it yet")
        if self._store is not None:
            return self._kept(deployment, report, identity)
        if own and recent is not None:
            return _decision(
                "late", f"it is not among the last {recent.rows} rows of its worker: see truth_rows"
            )
        return _decision("unknown", "the id is of another server, or of this one before it was started again")

    def _kept(self, deployment: Deployment, report: Report, identity: Id) -> _Decision:
        """The decision on a truth for the join with the payload log: any version may have predicted."""
        reasons = ["no version of the model is served now"]
        for served in deployment.versions.values():
            version = Version.of(served.name, served.version, served.sha256, served.model.manifest)
            try:
                truth = self._truths_of(version).read(report.truth)
            except ValueError as error:
                reasons.append(str(error))
                continue
            return _Decision(Outcome("kept"), identity, truth=truth)
        return _decision("refused", reasons[-1])

    def _truths_of(self, version: Version) -> Truths:
        truths = self._truths.get(version.key)
        if truths is None:
            if len(self._truths) >= _MOST:
                self._truths.clear()
            truths = self._truths[version.key] = truths_of(version.outputs)
        return truths

    def _keep(self, model: str, reports: Sequence[Report], decisions: Sequence[_Decision]) -> None:
        if self._store is not None:
            received = datetime.now(UTC).isoformat(timespec="microseconds")
            lines = [
                Kept(str(decision.identity), decision.truth, report.at, received)
                for report, decision in zip(reports, decisions, strict=True)
                if decision.identity is not None
            ]
            kept = any(decision.outcome.status == "kept" for decision in decisions)
            self._store.add(model, lines, remembered=not kept)

    def _mark(self, decisions: Sequence[_Decision]) -> None:
        for decision in decisions:
            if decision.join is not None and decision.identity is not None and self._recent is not None:
                self._recent.mark(decision.identity.worker, decision.identity.number, decision.bits)


def _decision(status: Status, reason: str = "") -> _Decision:
    return _Decision(Outcome(status, reason))
