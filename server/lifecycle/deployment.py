"""What one model serves now, as it follows from its folder."""

import logging
import socket
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec.structs import replace

from unpickled.server.artifact.manifest import FILE, NAME, Feature
from unpickled.server.config import Config
from unpickled.server.errors import ArtifactError, ConfigError, ServingError
from unpickled.server.lifecycle import history, serving
from unpickled.server.lifecycle.history import Record
from unpickled.server.lifecycle.serving import Serving, Shadowing
from unpickled.server.lifecycle.versions import Served, Versions

logger = logging.getLogger("unpickled")


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
    def reason(self) -> str:
        """Why nothing is served."""
        if self.mistake:
            return self.mistake
        return self.refused[max(self.refused)] if self.refused else "it has no version that may be loaded"


class Shelf:
    """One model's folder, and what of it is served; ``recording``: with a history."""

    def __init__(self, folder: Path, config: Config, patient: bool = False, recording: bool = True) -> None:
        self.name = folder.name
        self.versions = Versions(folder, config, patient)
        self.deployment = Deployment(name=folder.name)
        self.exists = False
        self._folder = folder
        # What serving.toml holds, and what of it is followed.
        self._seen: str | None = None
        self._text: str | None = None
        self._arrived = patient
        self._recording = recording
        self._unrecorded = False
        self._unwritable = ""
        self._passed_over = False

    @property
    def settled(self) -> bool:
        """Whether nothing has changed between the last two looks: no file is being written."""
        return self.versions.settled and self._seen == self._text

    def refresh(self) -> bool:
        """Look again; whether what is served, or what is said of it, has changed."""
        before, existed = self.deployment, self.exists
        try:
            self.versions.look()
            found = self._resolved()
        except (ArtifactError, ServingError) as error:
            found = self._kept(str(error))
        except ConfigError:
            raise
        except Exception:
            # Whatever it is, the other models are not to suffer from it.
            if not before.mistake:
                logger.exception("model %s: looking at its folder failed", self.name)
            found = self._kept("looking at its folder failed; the log says how")
        self.deployment = replace(found, refused=self._refused(found), arrived=self._arrived)
        self.exists = self._is_model()
        self._say(before, self.deployment, existed)
        self._unrecorded |= self._recording and _state(before) != _state(self.deployment)
        if self._unrecorded and self.deployment.versions and not self.deployment.mistake:
            self._record(self.deployment)
        return before != self.deployment or existed != self.exists

    def _refused(self, found: Deployment) -> dict[int, str]:
        """Those that matter now: older ones were tried by some processes only."""
        oldest = min(found.versions, default=0)
        known = self.versions.refused
        return {number: known[number] for number in sorted(known) if number >= oldest}

    def _is_model(self) -> bool:
        found = self.deployment
        return bool(self.exists or found.versions or found.refused or found.mistake)

    def _resolved(self) -> Deployment:
        """What the files ask for; ServingError or ArtifactError where it cannot be had."""
        if not NAME.fullmatch(self.name) and self.versions.numbers:
            raise ArtifactError("its name may hold letters, digits, '.', '_' and '-' only: rename the folder")
        self._read()
        return self.deploy(Serving() if self._text is None else serving.parse(self._text))

    def _read(self) -> None:
        """Follow the text of serving.toml once two looks have found it the same: it is written in parts."""
        text, before = serving.read(self._folder), self._seen
        self._seen = text
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
                # Else a process that lags behind would record what is past already.
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


def _state(served: Deployment) -> tuple[object, ...]:
    """What a history tells apart."""
    return record(served, by="").state() if served.versions else ()


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
