"""The deployment of one model: which versions are in memory, and what each of them answers."""

from datetime import UTC, datetime

import msgspec

from unpickled.server.lifecycle.history import Record
from unpickled.server.lifecycle.serving import Serving, Shadowing
from unpickled.server.lifecycle.versions import Served
from unpickled.server.model.policy import Policy


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The decisions of a deployment: the history gets a line whenever they change."""

    labels: dict[str, int]
    traffic: dict[int, float]
    shadow: tuple[int, float] | None
    load: str | int | tuple[int, ...]
    retired: tuple[int, ...]
    inputs: Policy


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """The versions that one model serves now, and what each of them answers.

    ``versions`` are those in memory; with none the model is not served. ``traffic`` are the shares of
    plain requests by version, adding up to 1; ``shadow`` is the version that runs a share of them too.
    ``serving`` are the settings in force; ``mistake`` says why those now on disk are not followed.
    ``refused`` has the reason for each other version that cannot be served.
    """

    name: str
    versions: dict[int, Served] = {}
    labels: dict[str, int] = {}
    traffic: dict[int, float] = {}
    shadow: tuple[int, float] | None = None
    serving: Serving = Serving()
    refused: dict[int, str] = {}
    mistake: str | None = None

    @property
    def main(self) -> Served:
        """The version that answers most of the plain requests."""
        return self.versions[max(self.traffic, key=self.traffic.__getitem__)]

    @property
    def newest_first(self) -> list[Served]:
        """The versions in memory."""
        return [self.versions[number] for number in sorted(self.versions, reverse=True)]

    @property
    def plan(self) -> Plan | None:
        """The decisions that are in force; None where nothing is served."""
        if not self.versions:
            return None
        return Plan(
            labels=self.labels,
            traffic=self.traffic,
            shadow=self.shadow,
            load=self.serving.load,
            retired=self.serving.retired,
            inputs=self.serving.inputs,
        )

    @property
    def reason(self) -> str:
        """The reason why no version is served."""
        if self.mistake:
            return self.mistake
        return self.refused[max(self.refused)] if self.refused else "it has no version that may be loaded"

    @property
    def sentence(self) -> str:
        """The versions that answer plain requests, and the one that shadows."""
        # A path that the model has whether or not it is the default one.
        route = f"/models/{self.name}/predict"
        return self._told(f"answers {route}", f"of {route}")

    @property
    def summary(self) -> str:
        """The same for a process that may have no path: it answers messages, or the program that it is in."""
        return self._told("answers", "of the answers")

    def _told(self, one: str, several: str) -> str:
        if not self.traffic:
            return f"nothing is served: {self.reason}"
        shadow = ""
        if self.shadow:
            shadow = f", version {self.shadow[0]} shadows {percent(self.shadow[1])}"
        if len(self.traffic) == 1:
            return f"version {self.main.version} {one}{shadow}"
        shares = [f"version {number} {percent(share)}" for number, share in self.traffic.items()]
        return f"{' and '.join(shares)} {several}{shadow}"

    def record(self, by: str) -> Record:
        """The line that the history gets of it; ``by`` names the server or the command behind it."""
        shadow = self.shadow
        return Record(
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            by=by,
            load=self.serving.load,
            retired=self.serving.retired,
            labels=self.labels,
            traffic={str(number): share for number, share in self.traffic.items()},
            shadow=None if shadow is None else Shadowing(version=shadow[0], share=shadow[1]),
            inputs=self.serving.inputs,
        )


class Deployments(dict[str, Deployment]):
    """The deployment of each model by its name, which does not change.

    A cache of what was made of them refers to them weakly, so that it holds no version that is replaced.
    """


def percent(share: float) -> str:
    """A share as people read it: 0.1 is 10%."""
    return f"{100 * share:.6g}%"
