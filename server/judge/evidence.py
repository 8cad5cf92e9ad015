"""The evidence about champion and challenger: rows of both with truth, and the figures of a running server.

Rows are counted from the first one on that the challenger's file has answered, all of them at each look: the
statistics need a fixed start.
"""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from unpickled.server.accuracy.intervals import Interval
from unpickled.server.accuracy.pairs import Compared, Sums
from unpickled.server.drift.report import VersionDrift
from unpickled.server.judge import power, reported, sequential
from unpickled.server.judge.contest import Contest
from unpickled.server.judge.exposed import Exposed, Work
from unpickled.server.judge.sequential import Paired
from unpickled.server.lifecycle.rules import Rules
from unpickled.server.observe.windows import DEFAULT
from unpickled.server.payloads import reading
from unpickled.server.truth import store
from unpickled.server.truth.batches import Batch
from unpickled.server.truth.joining import Join, Source
from unpickled.server.truth.lookup import Lookup

# Requests of each version from which on their run times are compared, and seconds per request that matter.
_TIMED, _FELT = 100, 0.001


class Gain(NamedTuple):
    """How much better the challenger is, on rows that both have answered and whose truth is known.

    Attributes:
        measure: The figure that is compared.
        rows: The rows.
        interval: The gain; above 0, the challenger is better. None with too few rows.
        lost, gained: The rows that only the champion, and only the challenger answered right.
        needed: All rows that it takes to tell, if both go on so; None if nobody can say.
    """

    measure: str
    rows: int = 0
    interval: Interval | None = None
    lost: int | None = None
    gained: int | None = None
    needed: int | None = None


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """The figures on which a decision rests. None stands for one that is not known.

    Attributes:
        measure: The figure in which the challenger has to be better.
        since: The day, in UTC, of the first row that the challenger has answered.
        rows: The rows that both have answered, and whose truth is known.
        gain, lowest, highest: How much better the challenger is on these, and the interval of that.
        lost, gained: The rows that only the champion, and only the challenger answered right.
        needed: How many more rows it takes to tell, if the two go on as they did; 0 where these tell already.
        answered: The rows that the challenger has answered at its present share of traffic.
        minutes: For how long it has had that share.
        compared, disagreement: The rows that both have answered, with truth and without, and the share of
            them with different labels.
        failed, requests: The requests to the challenger, and those that failed.
        failed_before: The share of the champion's requests that failed.
        offered, refused: The rows that the challenger got as a shadow, and the share that it does not take.
        latency: How many times the champion's the challenger's run time per row is; 1 where a request takes
            less than a millisecond more.
        drifted: Whether requests have drifted from what the challenger was trained on.
        left_out: The days of report, separated by commas, whose truth does not count, as it contradicts the
            champion on the days around (truth/batches.py); empty without one.
        silent: Why no server has told its figures, that is all but those of rows with truth; empty where one
            has.
    """

    measure: str
    since: str | None = None
    rows: int = 0
    gain: float | None = None
    lowest: float | None = None
    highest: float | None = None
    lost: int | None = None
    gained: int | None = None
    needed: int | None = None
    answered: int = 0
    minutes: float | None = None
    compared: int | None = None
    disagreement: float | None = None
    failed: int | None = None
    requests: int | None = None
    failed_before: float | None = None
    offered: int | None = None
    refused: float | None = None
    latency: float | None = None
    drifted: bool | None = None
    left_out: str = ""
    silent: str = "no server was asked"


class Reports(NamedTuple):
    """The reports of a running server.

    Attributes:
        metrics: Its metrics.
        drift: The drift of the challenger; None where the server has no report about it.
        silent: Why it tells nothing; empty where it does.
    """

    metrics: Exposed
    drift: VersionDrift | None = None
    silent: str = ""


def gather(
    folder: Path, models: Path, contest: Contest, rules: Rules, began: datetime | None, reports: Reports
) -> Evidence:
    """All the evidence.

    Args:
        folder: That of the payload log.
        models: The models folder.
        contest: The two versions.
        rules: Say which figure counts.
        began: When the challenger got its present share of traffic.
        reports: The reports of a running server.

    Raises:
        ServingError: A file of the log cannot be read.
    """
    model = contest.champion.name
    since = reading.began(folder, model, contest.challenger.version, contest.challenger.sha256)
    wrong = () if since is None else reported.left_out(folder, contest.champion, since)
    compared = None if since is None else _compared(folder, models, contest, since, wrong)
    gain = gain_of(compared, contest, rules)
    interval = gain.interval
    evidence = Evidence(
        measure=gain.measure,
        since=None if since is None else datetime.fromtimestamp(since, UTC).date().isoformat(),
        rows=gain.rows,
        gain=None if interval is None else interval.value,
        lowest=None if interval is None else interval.lowest,
        highest=None if interval is None else interval.highest,
        lost=gain.lost,
        gained=gain.gained,
        needed=_missing(gain, rules),
        answered=0 if began is None else _answered(folder, contest, began.timestamp()),
        minutes=None if began is None else (time.time() - began.timestamp()) / 60,
        left_out=", ".join(day.day for day in wrong),
    )
    return (
        replace(evidence, silent=reports.silent)
        if reports.silent
        else _with_server(evidence, reports, contest)
    )


def gain_of(compared: Compared | None, contest: Contest, rules: Rules) -> Gain:
    """The gain by the counts of a pair; None stands for no row."""
    targets = (
        list(compared.errors) if compared else list(getattr(contest.champion.model.outputs, "targets", ()))
    )
    if targets:
        sums = Sums() if compared is None else compared.errors[targets[0]]
        return _of_mean(f"mean absolute error of {targets[0]}", sums, rules)
    if rules.metric == "log_loss":
        return _of_mean("log loss", Sums() if compared is None else compared.loss, rules)
    if compared is None:
        return Gain("accuracy")
    return _of_labels(Paired(compared.rows, compared.only_version, compared.only_shadow), rules)


def _of_labels(paired: Paired, rules: Rules) -> Gain:
    rows, lost, gained = (round(float(count)) for count in paired)
    if gained >= lost:
        needed = power.rows_for_labels(paired, rules.minimum_gain, rules.level)
    else:
        needed = power.rows_for_labels(paired.swapped, 0.0, rules.level)
    return Gain(
        "accuracy", rows, sequential.difference(paired, rules.level), lost, gained, _above(needed, rows)
    )


def _of_mean(measure: str, sums: Sums, rules: Rules) -> Gain:
    """The gain by differences of losses or errors: what is smaller is better."""
    better = Sums(sums.rows, -sums.total, sums.squares)
    first, level = rules.minimum_rows, rules.level
    if sums.total <= 0:
        needed = power.rows_for_mean(better, rules.minimum_gain, first, level)
    else:
        needed = power.rows_for_mean(sums, 0.0, first, level)
    rows = round(sums.rows)
    return Gain(measure, rows, sequential.mean(better, first, level), needed=_above(needed, rows))


def _missing(gain: Gain, rules: Rules) -> int | None:
    """How many more rows it takes to promote or to reject; None if nobody can say."""
    lowest, highest = (None, None) if gain.interval is None else gain.interval[1:]
    if highest is not None and highest < 0:
        return 0
    if lowest is not None and lowest > rules.minimum_gain:
        return max(rules.minimum_rows - gain.rows, 0)
    return None if gain.needed is None else max(gain.needed, rules.minimum_rows) - gain.rows


def _above(needed: int | None, rows: int) -> int | None:
    """At least one row more than there are: in 20 of 100 cases, as many as are named are not enough."""
    return None if needed is None else max(needed, rows + 1)


def _compared(
    folder: Path, models: Path, contest: Contest, since: float, wrong: Sequence[Batch]
) -> Compared | None:
    """The counts of both on the same rows, without the truth of days that do not count."""
    model = contest.champion.name
    source = Source(folder, models, model, DEFAULT, files=frozenset(contest.files))
    days = {day.day for day in wrong}
    lines = store.read(folder, model, datetime.fromtimestamp(since, UTC))
    lookup = Lookup(line for line in lines if line.received[:10] not in days)
    join = Join(source, since, float("inf"), lookup)
    join.read()
    answered, shadowed = ((each.version, each.sha256) for each in (contest.champion, contest.challenger))
    return join.compared(answered, shadowed)


def _answered(folder: Path, contest: Contest, since: float) -> int:
    """The logged rows that the challenger has answered clients since then."""
    served = contest.challenger
    batches = reading.read(folder, served.name, since, columns=(), files=(served.sha256,))
    return sum(int(batch.answered.sum()) for batch in batches if batch.schema.version == served.version)


def _with_server(evidence: Evidence, reports: Reports, contest: Contest) -> Evidence:
    model, versions = contest.champion.name, (contest.champion.version, contest.challenger.version)
    before, now = (reports.metrics.work(model, version) for version in versions)
    shadowed = reports.metrics.shadowed(model, *versions)
    compared = shadowed.same + shadowed.different
    offered = compared + shadowed.refused
    return replace(
        evidence,
        silent="",
        compared=compared,
        disagreement=shadowed.different / compared if compared else None,
        failed=now.failed,
        requests=now.requests,
        failed_before=before.share,
        offered=offered,
        refused=shadowed.refused / offered if offered else None,
        latency=_latency([before, now]),
        drifted=reports.drift.drifted if reports.drift and reports.drift.judged else None,
    )


def _latency(works: Sequence[Work]) -> float | None:
    """The ratio of run times per row; None where one of the two has answered too few requests."""
    if any(work.answered < _TIMED or not work.rows or not work.seconds for work in works):
        return None
    before, now = works
    slower = now.seconds / now.answered - before.seconds / before.answered
    return (now.seconds / now.rows) / (before.seconds / before.rows) if slower > _FELT else 1.0
