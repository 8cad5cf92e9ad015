"""An A/B test: the stable version and its canary, by the outcomes of the rows that chance gave to each."""

from collections.abc import Sequence

import msgspec

from unpickled.server.accuracy.intervals import Interval
from unpickled.server.accuracy.pairs import Sums
from unpickled.server.drift.chance import chi_squared_tail
from unpickled.server.errors import ServingError
from unpickled.server.judge import power, sequential
from unpickled.server.judge.outcomes import Outcome
from unpickled.server.lifecycle.deployment import Deployment
from unpickled.server.lifecycle.serving import STABLE
from unpickled.server.lifecycle.versions import Served
from unpickled.server.quote import counted

# Rows with truth of each version from which on they are compared.
FIRST = 100
# The chance that requests which are shared as serving.toml says are an alarm.
_UNEVEN = 0.001


class Arm(msgspec.Struct, frozen=True, kw_only=True):
    """One version.

    Attributes:
        version: Its number.
        share: The share of plain requests that it is to answer.
        requests, answered: The requests that it has answered, and the rows of these.
        rows: The rows whose truth is known.
        mean: The mean of their numbers, of accuracy the share of right ones; None without a row.
    """

    version: int
    share: float
    requests: int
    answered: int
    rows: int
    mean: float | None


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """The comparison.

    Attributes:
        model: The name of the model.
        metric: The figure that is compared.
        since: When traffic was shared so, by ISO 8601; None where the history does not tell.
        stable, canary: The two versions.
        difference, lowest, highest: The mean of the canary minus that of the stable version, and its
            interval; None with too few rows.
        needed: How many more rows of both together it takes until they show to differ, in 80 of 100 cases;
            0 where these show it already, None where nobody can say.
        even: Whether the requests were shared as serving.toml says, but for chance.
        sentence: The result.
    """

    model: str
    metric: str
    since: str | None
    stable: Arm
    canary: Arm
    difference: float | None = None
    lowest: float | None = None
    highest: float | None = None
    needed: int | None = None
    even: bool = True
    sentence: str


def rivals(deployment: Deployment) -> tuple[Served, Served]:
    """The stable version and the canary; ServingError where traffic is not shared by two versions."""
    if len(deployment.traffic) != 2:
        raise ServingError(
            f"{deployment.sentence}: an A/B test needs two versions that share the requests: "
            f"unpickled models canary {deployment.name} VERSION --weight 0.5 begins one"
        )
    main = deployment.labels.get(STABLE, deployment.main.version)
    stable = main if main in deployment.traffic else deployment.main.version
    canary = next(version for version in deployment.traffic if version != stable)
    return deployment.versions[stable], deployment.versions[canary]


def compare(
    deployment: Deployment, metric: str, since: str | None, both: Sequence[Outcome], level: float
) -> Split:
    """The comparison of two outcomes, that of the stable version first.

    The chance that the interval is ever beside the true difference is at most ``level``.
    """
    stable, canary = both
    sums, binary = (stable.sums, canary.sums), stable.binary
    interval = sequential.apart(*sums, FIRST, level / 2, binary)
    arms = [_arm(each, deployment.traffic[each.version]) for each in both]
    even = _is_even(arms)
    return Split(
        model=deployment.name,
        metric=metric,
        since=since,
        stable=arms[0],
        canary=arms[1],
        difference=None if interval is None else interval.value,
        lowest=None if interval is None else interval.lowest,
        highest=None if interval is None else interval.highest,
        needed=0 if _differ(interval) else _missing(sums, level, binary),
        even=even,
        sentence=_sentence(metric, arms, interval),
    )


def _arm(outcome: Outcome, share: float) -> Arm:
    rows = round(outcome.sums.rows)
    return Arm(
        version=outcome.version,
        share=share,
        requests=outcome.requests,
        answered=outcome.rows,
        rows=rows,
        mean=outcome.sums.total / rows if rows else None,
    )


def _is_even(arms: Sequence[Arm]) -> bool:
    """Whether the requests are shared as they are to be, but for chance."""
    requests = sum(arm.requests for arm in arms)
    if not requests:
        return True
    statistic = sum((arm.requests - arm.share * requests) ** 2 / (arm.share * requests) for arm in arms)
    return chi_squared_tail(statistic, 1) >= _UNEVEN


def _differ(interval: Interval | None) -> bool:
    """Whether the means differ beyond chance."""
    if interval is None or interval.lowest is None or interval.highest is None:
        return False
    return not interval.lowest <= 0 <= interval.highest


def _missing(sums: tuple[Sums, Sums], level: float, binary: bool) -> int | None:
    """How many more rows it takes; at least one, as they do not show it yet."""
    needed = power.rows_apart(*sums, FIRST, level / 2, binary)
    return None if needed is None else max(needed - round(sum(each.rows for each in sums)), 1)


def _sentence(metric: str, arms: Sequence[Arm], interval: Interval | None) -> str:
    if interval is None or interval.lowest is None or interval.highest is None:
        rows = " and ".join(f"{counted(arm.rows, 'row')} of version {arm.version}" for arm in arms)
        return f"truth is known of {rows}, and {FIRST} of each are needed"
    if not _differ(interval):
        return f"these rows do not tell yet which version has the larger {metric}"
    larger = arms[1] if interval.value > 0 else arms[0]
    return f"version {larger.version} has the larger {metric}, beyond chance"
