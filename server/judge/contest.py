"""The two versions between which a judge decides, and the decisions that were taken about them."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from unpickled.server.lifecycle.decision import Decision
from unpickled.server.lifecycle.deployment import Deployment
from unpickled.server.lifecycle.history import Record
from unpickled.server.lifecycle.serving import CHALLENGER, STABLE
from unpickled.server.lifecycle.versions import Served


class Contest(NamedTuple):
    """Champion and challenger.

    Attributes:
        champion: The version that answers the plain requests that the challenger does not get.
        challenger: The version with the label challenger; without that label, the shadow.
        weight: The share of plain requests that the challenger answers.
        labelled: Whether the challenger has the label challenger: a judge changes no other version.
    """

    champion: Served
    challenger: Served
    weight: float
    labelled: bool

    @property
    def names(self) -> tuple[str, str]:
        """The challenger and the champion, as sentences name them."""
        return f"version {self.challenger.version}", f"version {self.champion.version}"

    @property
    def files(self) -> tuple[str, str]:
        """The sha256 of both files, the champion's first."""
        return self.champion.sha256, self.challenger.sha256


class Past(NamedTuple):
    """The history of a contest, between the same two files.

    Attributes:
        since: When the challenger got its present share of traffic; None where the history does not tell.
        rejected: When the challenger was rejected, and why; None where it was not.
        weight: The share of traffic that a judge last gave to it.
        last: The last decision.
    """

    since: datetime | None = None
    rejected: tuple[str, str] | None = None
    weight: float = 0.0
    last: Decision | None = None


def contest_of(deployment: Deployment) -> Contest | None:
    """The contest that is on; None where no version wants to be the stable one."""
    shadow = deployment.shadow[0] if deployment.shadow else None
    number = deployment.labels.get(CHALLENGER, shadow)
    others = [version for version in deployment.traffic if version != number]
    if number is None or not others:
        return None
    stable = deployment.labels.get(STABLE)
    champion = stable if stable in others else others[0]
    assert champion is not None
    return Contest(
        champion=deployment.versions[champion],
        challenger=deployment.versions[number],
        weight=deployment.traffic.get(number, 0.0),
        labelled=CHALLENGER in deployment.labels,
    )


def since(records: Sequence[Record], deployment: Deployment) -> datetime | None:
    """When the versions got their present shares of traffic; None where the history does not tell."""
    present = deployment.record(by="").traffic
    began = None
    for record in reversed(records):
        if record.traffic != present:
            break
        began = _moment(record)
    return began


def _moment(record: Record) -> datetime | None:
    """The time of a record; None where somebody has edited it, and it is none."""
    try:
        return datetime.fromisoformat(record.at)
    except ValueError:
        return None


def past_of(records: Sequence[Record], contest: Contest, deployment: Deployment) -> Past:
    """The history of a contest, out of all records of the model, oldest first."""
    decisions = [
        (record.at, record.decision)
        for record in records
        if record.decision is not None and record.decision.files == contest.files
    ]
    rejections = [(at, " ".join(each.reasons)) for at, each in decisions if each.verdict == "reject"]
    weights = [each.weight for _, each in decisions if each.verdict == "promote"]
    return Past(
        since=since(records, deployment),
        rejected=rejections[0] if rejections else None,
        weight=weights[-1] if weights else 0.0,
        last=decisions[-1][1] if decisions else None,
    )
