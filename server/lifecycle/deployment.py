"""The deployment of one model: the versions in memory and what each answers, as its folder asks for."""

import logging
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec.structs import replace

from unpickled.server.artifact.manifest import FILE, NAME, Feature
from unpickled.server.config import Runtime
from unpickled.server.errors import ArtifactError, ConfigError, ServingError
from unpickled.server.lifecycle import disk, history, serving
from unpickled.server.lifecycle.disk import Stamp
from unpickled.server.lifecycle.history import Record
from unpickled.server.lifecycle.serving import Serving, Shadowing
from unpickled.server.lifecycle.versions import Served, Versions

logger = logging.getLogger("unpickled")

# Seconds after which a folder is read in full although nothing has changed: on some network file systems
# inode, size and times stay as they were when the content changes.
FULL_SCAN_SECONDS = 10.0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The decisions behind a deployment: the history gets a line whenever they change."""

    labels: dict[str, int]
    traffic: dict[int, float]
    shadow: tuple[int, float] | None
    load: str | int | tuple[int, ...]
    retired: tuple[int, ...]


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """What one model serves now.

    ``versions`` are those in memory; with none the model is not served. ``traffic`` are the shares of
    plain requests by version, adding up to 1; ``shadow`` is the version that runs a share of them too.
    ``wanted`` is what was asked for, ``mistake`` why what is asked for now is not followed. ``refused``
    says of other versions why they are not served. ``arrived``: its folder was not there at the start.
    """

    name: str
    versions: dict[int, Served] = {}
    labels: dict[str, int] = {}
    traffic: dict[int, float] = {}
    shadow: tuple[int, float] | None = None
    wanted: Serving = Serving()
    arrived: bool = False
    refused: dict[int, str] = {}
    mistake: str | None = None

    @property
    def main(self) -> Served:
        """The version that answers most of the plain requests."""
        return self.versions[max(self.traffic, key=self.traffic.__getitem__)]

    @property
    def plan(self) -> Plan | None:
        """The decisions that are in force; None where nothing is served."""
        if not self.versions:
            return None
        return Plan(
            labels=self.labels,
            traffic=self.traffic,
            shadow=self.shadow,
            load=self.wanted.load,
            retired=self.wanted.retired,
        )

    @property
    def reason(self) -> str:
        """Why nothing is served."""
        if self.mistake:
            return self.mistake
        return self.refused[max(self.refused)] if self.refused else "it has no version that may be loaded"


class Shelf:
    """One model's folder and its deployment.

    ``arrived_later``: the folder appeared after the start; ``recording``: changes go into the history.
    ``stable``: nothing has changed between the last two scans, so no file is being written.
    """

    def __init__(
        self, folder: Path, runtime: Runtime, arrived_later: bool = False, recording: bool = True
    ) -> None:
        self.name = folder.name
        self.versions = Versions(folder, runtime, arrived_later)
        self.deployment = Deployment(name=folder.name)
        self.exists = False
        self.stable = True
        self._folder = folder
        self._path = str(folder / serving.FILE)
        # The stamp of serving.toml (None: not read), its text at the last full scan, and the text in force.
        self._stamp: Stamp | None = None
        self._seen: str | None = None
        self._text: str | None = None
        self._arrived_later = arrived_later
        self._recording = recording
        self._unrecorded = False
        self._unwritable = ""
        self._passed_over = False
        # In seconds of time.monotonic(): until then a stat of each file is enough.
        self._idle_until = 0.0

    def refresh(self) -> bool:
        """Scan the folder and follow it; whether the deployment, or what is said of it, has changed.

        Nothing is read while no listing and no stamp differs, but for a full scan every
        FULL_SCAN_SECONDS.
        """
        now = time.monotonic()
        if now < self._idle_until and disk.stamp(self._path) == self._stamp and self.versions.unchanged():
            return False
        before, existed = self.deployment, self.exists
        self._idle_until = now + FULL_SCAN_SECONDS
        self.deployment = self._scanned()
        self.exists = self._is_model()
        self._say(before, self.deployment, existed)
        self._unrecorded |= self._recording and before.plan != self.deployment.plan
        if self._unrecorded and self.deployment.versions and not self.deployment.mistake:
            self._record(self.deployment)
        changed = before != self.deployment or existed != self.exists
        self.stable = self.versions.stable and self._seen == self._text
        if changed or self._unrecorded or not self.stable:
            self._idle_until = 0.0
        return changed

    def _scanned(self) -> Deployment:
        """The deployment that follows from the files; what was served before, where that fails."""
        try:
            deployment = self._resolved()
        except (ArtifactError, ServingError) as error:
            deployment = self._kept(str(error))
        except ConfigError:
            raise
        except Exception:
            # The other models are to be served whatever is wrong with this one.
            if not self.deployment.mistake:
                logger.exception("model %s: looking at its folder failed", self.name)
            deployment = self._kept("looking at its folder failed; the log says how")
            self._idle_until = 0.0
        return replace(deployment, refused=self._refused(deployment), arrived=self._arrived_later)

    def _refused(self, found: Deployment) -> dict[int, str]:
        """Those that matter now: older ones were tried by some processes only."""
        oldest = min(found.versions, default=0)
        known = self.versions.refused
        return {number: known[number] for number in sorted(known) if number >= oldest}

    def _is_model(self) -> bool:
        found = self.deployment
        return bool(self.exists or found.versions or found.refused or found.mistake)

    def _resolved(self) -> Deployment:
        """The deployment that the files ask for; ServingError or ArtifactError where it cannot be had."""
        self._stamp = None
        self.versions.scan()
        if not NAME.fullmatch(self.name) and self.versions.numbers:
            raise ArtifactError("its name may hold letters, digits, '.', '_' and '-' only: rename the folder")
        self._read()
        return self.deploy(Serving() if self._text is None else serving.parse(self._text))

    def _read(self) -> None:
        """Follow the text of serving.toml once two scans have found it the same: it is written in parts."""
        # The stamp is the older of the two: a change between them is found by the next scan.
        stamp = disk.stamp(self._path)
        text, before = serving.read(self._folder), self._seen
        self._stamp, self._seen = stamp, text
        if text == before or not self.exists:
            self._text = text

    def deploy(self, wanted: Serving) -> Deployment:
        """What would be served if this were asked for; ServingError where it cannot be."""
        named = {number: self._load_named(number, wanted) for number in wanted.required()}
        kept = self._by_policy(wanted)
        loaded = kept | named
        if not loaded:
            if self.deployment.versions or set(self.versions.numbers) & set(wanted.retired):
                raise ServingError(f"{serving.FILE} leaves no version to serve: take one out of `retired`")
            return Deployment(name=self.name, wanted=wanted)
        traffic = wanted.shares() or {_plain(wanted, kept or loaded): 1.0}
        shadow = _shadow(wanted)
        together = {*traffic, *([] if shadow is None else [shadow[0]])}
        serving.check_features({number: _features(loaded[number]) for number in sorted(together)})
        return Deployment(
            name=self.name,
            versions={number: loaded[number] for number in sorted(loaded)},
            labels=wanted.labels,
            traffic={number: traffic[number] for number in sorted(traffic)},
            shadow=shadow,
            wanted=wanted,
        )

    def _load_named(self, number: int, wanted: Serving) -> Served:
        try:
            return self.versions.load(number)
        except ArtifactError as error:
            names = [label for label, version in wanted.labels.items() if version == number]
            called = f" ({', '.join(names)})" if names else ""
            raise ServingError(
                f"{serving.FILE} asks for version {number}{called}, which is not served: {error}"
            ) from None

    def _by_policy(self, wanted: Serving) -> dict[int, Served]:
        """What ``load`` asks for; a version that fails makes room for the next."""
        count = {"newest": 1}.get(str(wanted.load), wanted.load)
        found: dict[int, Served] = {}
        chosen = wanted.load if isinstance(wanted.load, tuple) else self.versions.numbers
        for number in chosen:
            if len(found) == count:
                break
            if number not in wanted.retired:
                with suppress(ArtifactError):  # it is among the refused then
                    found[number] = self.versions.load(number)
        return found

    def _kept(self, mistake: str) -> Deployment:
        """What is served stays; where nothing is yet, what was served last."""
        if self.deployment.versions:
            return replace(self.deployment, mistake=mistake)
        # From here on the history decides, too, which may change meanwhile.
        self._idle_until = 0.0
        for record in reversed(self._history()):
            try:
                return replace(self.deploy(record.serving()), mistake=mistake)
            except (ArtifactError, ServingError):
                continue
        return Deployment(name=self.name, mistake=mistake)

    def _history(self) -> list[Record]:
        try:
            return history.read(self._folder)
        except OSError:
            return []

    def _record(self, served: Deployment) -> None:
        """Into the history; later, where somebody is changing the model just now, or has."""
        try:
            with history.alone(self._folder, wait=False) as alone:
                # Otherwise a worker that has not seen the newest serving.toml would append a stale record.
                if alone and serving.read(self._folder) == self._text:
                    made = record(served, by=f"server {socket.gethostname()}")
                    history.append(self._folder, made, wait=False)
                    self._unrecorded, self._unwritable = False, ""
        except (OSError, ServingError) as error:
            reason = (isinstance(error, OSError) and error.strerror) or str(error)
            if reason != self._unwritable:
                logger.error("%s cannot be written: %s", self._folder / history.FILE, reason)
            self._unwritable = reason

    def _say(self, before: Deployment, now: Deployment, existed: bool) -> None:
        if now.mistake and now.mistake != before.mistake:
            kept = f"what is served stays ({_traffic(now)})" if now.versions else "it is not served"
            logger.error("model %s: %s; %s", self.name, now.mistake, kept)
        if existed and now.versions and _differ(before, now):
            logger.info("model %s is answered by %s (before: %s)", self.name, _traffic(now), _traffic(before))
        if not self.exists and not self._passed_over:
            self._passed_over = True
            logger.warning("%s is passed over: it holds no <number>/%s", self._folder, FILE)


def record(served: Deployment, by: str) -> Record:
    """A line of the history."""
    shadow = None if served.shadow is None else Shadowing(version=served.shadow[0], share=served.shadow[1])
    return Record(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        by=by,
        load=served.wanted.load,
        retired=served.wanted.retired,
        labels=served.labels,
        traffic={str(number): share for number, share in served.traffic.items()},
        shadow=shadow,
    )


def _differ(before: Deployment, now: Deployment) -> bool:
    return (before.labels, before.traffic, before.shadow) != (now.labels, now.traffic, now.shadow)


def _traffic(served: Deployment) -> str:
    shares = served.traffic.items()
    if len(shares) < 2:
        return " ".join(f"version {number}" for number, _ in shares) or "nothing"
    return ", ".join(f"version {number} ({share:.4g})" for number, share in shares)


def _plain(wanted: Serving, loaded: Iterable[int]) -> int:
    return wanted.labels.get(serving.STABLE, max(loaded))


def _shadow(wanted: Serving) -> tuple[int, float] | None:
    return None if wanted.shadow is None else (wanted.number(wanted.shadow.version), wanted.shadow.share)


def _features(served: Served) -> tuple[Feature, ...]:
    return served.model.manifest.features
