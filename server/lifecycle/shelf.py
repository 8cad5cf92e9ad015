"""One model's folder, and the deployment that its files ask for; the previous one where they fail."""

import errno
import logging
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from msgspec.structs import replace

from unpickled.server.artifact.manifest import FILE, NAME, Feature
from unpickled.server.config import Runtime
from unpickled.server.errors import ArtifactError, ConfigError, ServingError
from unpickled.server.lifecycle import disk, history, serving
from unpickled.server.lifecycle.deployment import Deployment
from unpickled.server.lifecycle.disk import Stamp
from unpickled.server.lifecycle.history import Record
from unpickled.server.lifecycle.serving import Serving
from unpickled.server.lifecycle.trials import Trials
from unpickled.server.lifecycle.versions import Served, Versions

logger = logging.getLogger("unpickled")

# Seconds after which a folder is read in full although nothing seems to have changed: on some network file
# systems a new content leaves inode, size and times as they were.
FULL_SCAN_SECONDS = 10.0


class Shelf:
    """One model's folder and its deployment.

    ``arrived_later``: the folder appeared after the start; ``recording``: changes go into the history;
    ``trials``: contents that arrive while requests are answered are tried in another process first; ``keys``:
    the public keys, one of which has to have signed each version.
    ``settled``: nothing has changed between the last two scans, so no file is being written.
    """

    def __init__(
        self,
        folder: Path,
        runtime: Runtime,
        arrived_later: bool = False,
        recording: bool = True,
        trials: Trials | None = None,
        keys: str | None = None,
    ) -> None:
        self.name = folder.name
        self.versions = Versions(folder, runtime, arrived_later, trials, keys)
        self.deployment = Deployment(name=folder.name)
        self.exists = False
        self.settled = True
        self._folder = folder
        self._path = str(folder / serving.FILE)
        # serving.toml: its stamp (None: not read), its text at the last full scan, and the text in force.
        self._stamp: Stamp | None = None
        self._scanned_text: str | None = None
        self._text: str | None = None
        self._arrived_later = arrived_later
        self._recording = recording
        self._unrecorded = False
        # Why the history could not be written at the last attempt: a reason is logged once.
        self._unwritable = ""
        # Scans in a row that have found no model and no file that is being written.
        self._empty_scans = 0
        # Until this time.monotonic(), a stat of each file is enough.
        self._idle_until = 0.0

    @property
    def idle(self) -> bool:
        """Whether the last scan has found nothing that the next one is to look at again."""
        return self._idle_until > 0.0

    def refresh(self, scans: int = 1) -> bool:
        """Scan the folder and follow it; returns whether any field of the deployment has changed.

        While neither the listing nor a stamp changes, files are read every FULL_SCAN_SECONDS only, or where
        the folder is not looked at in each scan, so many times less often.
        """
        now = time.monotonic()
        if now < self._idle_until and disk.stamp(self._path) == self._stamp and self.versions.unchanged():
            return False
        before, existed = self.deployment, self.exists
        self._idle_until = now + FULL_SCAN_SECONDS * scans
        scanned = self._scan()
        # An equal one stays the same object: readers see by that that nothing has changed.
        self.deployment = before if scanned == before else scanned
        self.exists = self._is_model()
        self._log(before, self.deployment, existed)
        self._unrecorded |= self._recording and before.plan != self.deployment.plan
        if self._unrecorded and self.deployment.versions and not self.deployment.mistake:
            self._record(self.deployment)
        changed = before != self.deployment or existed != self.exists
        self.settled = self.versions.settled and self._scanned_text == self._text
        if changed or self._unrecorded or not self.settled:
            self._idle_until = 0.0
        return changed

    def _scan(self) -> Deployment:
        """The deployment that the files ask for; the previous one, with a mistake, where that fails."""
        try:
            deployment = self._follow_files()
        except (ArtifactError, ServingError) as error:
            deployment = self._fallback(str(error))
        except ConfigError:
            raise
        except Exception:
            # Whatever is wrong with this model must not stop the others.
            if not self.deployment.mistake:
                logger.exception("model %s: scanning its folder failed", self.name)
            deployment = self._fallback("scanning its folder failed; the log says how")
            self._idle_until = 0.0
        return replace(deployment, refused=self._refused(deployment))

    def _refused(self, deployment: Deployment) -> dict[int, str]:
        """Refused versions, without those older than all that are served: only some processes tried these."""
        oldest = min(deployment.versions, default=0)
        reasons = self.versions.refused
        return {number: reasons[number] for number in sorted(reasons) if number >= oldest}

    def _is_model(self) -> bool:
        """Whether there is something to serve or to report; a model whose last version is deleted is none."""
        deployment = self.deployment
        return bool(deployment.versions or deployment.refused or deployment.mistake)

    def _follow_files(self) -> Deployment:
        """The deployment that the files ask for; ServingError or ArtifactError where it cannot be served."""
        self._stamp = None
        self.versions.scan()
        if not NAME.fullmatch(self.name) and self.versions.numbers:
            raise ArtifactError(
                "its name may hold letters, digits, '.', '_' and '-' only, and begins with a letter or a "
                "digit: rename the folder"
            )
        self._read()
        if self._scanned_text != self._text and self.deployment.versions:
            # Versions wait as well: the new text may say that the newest is not to answer.
            return self.deployment
        return self.deploy(Serving() if self._text is None else serving.parse(self._text))

    def _read(self) -> None:
        """Follow the text of serving.toml once two scans agree: editors may write a file in parts."""
        # The stamp is taken before the text is read, so that the next scan finds a change between the two.
        stamp = disk.stamp(self._path)
        text, before = serving.read(self._folder), self._scanned_text
        self._stamp, self._scanned_text = stamp, text
        if text == before or not self.exists:
            self._text = text

    def deploy(self, desired: Serving) -> Deployment:
        """The deployment that these settings lead to; ServingError where it cannot be served."""
        required = {number: self._load_required(number, desired) for number in desired.required()}
        by_policy = self._load_by_policy(desired)
        loaded = by_policy | required
        if not loaded:
            if self.deployment.versions or set(self.versions.numbers) & set(desired.retired):
                raise ServingError(f"{serving.FILE} leaves no version to serve: take one out of `retired`")
            return Deployment(name=self.name, serving=desired)
        traffic = desired.shares() or {_main(desired, by_policy or loaded): 1.0}
        shadow = _shadow(desired)
        together = {*traffic, *([] if shadow is None else [shadow[0]])}
        serving.check_features({number: _features(loaded[number]) for number in sorted(together)})
        serving.check_inputs(desired.inputs, map(_features, loaded.values()))
        serving.check_ranges(
            desired.inputs, {number: served.model.manifest for number, served in loaded.items()}
        )
        return Deployment(
            name=self.name,
            versions={number: loaded[number] for number in sorted(loaded)},
            labels=desired.labels,
            traffic={number: traffic[number] for number in sorted(traffic)},
            shadow=shadow,
            serving=desired,
        )

    def _load_required(self, number: int, desired: Serving) -> Served:
        try:
            return self.versions.load(number)
        except ArtifactError as error:
            labels = [label for label, version in desired.labels.items() if version == number]
            version = f"{number} ({', '.join(labels)})" if labels else str(number)
            raise ServingError(
                f"{serving.FILE} asks for version {version}, which is not served: {error}"
            ) from None

    def _load_by_policy(self, desired: Serving) -> dict[int, Served]:
        """The versions that ``load`` asks for; the next newest takes the place of one that fails."""
        count = {"newest": 1}.get(str(desired.load), desired.load)
        loaded: dict[int, Served] = {}
        candidates = desired.load if isinstance(desired.load, tuple) else self.versions.numbers
        for number in candidates:
            if len(loaded) == count:
                break
            if number not in desired.retired:
                with suppress(ArtifactError):  # versions.refused has the reason
                    loaded[number] = self.versions.load(number)
        return loaded

    def _fallback(self, mistake: str) -> Deployment:
        """The present deployment; with none, that of the newest record that can be served."""
        if self.deployment.versions:
            return replace(self.deployment, mistake=mistake)
        # Scan in full again: the history, which no stamp covers, may have changed by then.
        self._idle_until = 0.0
        # A copied history does not make a name fit for paths, headers and metrics.
        for record in reversed(self._history() if NAME.fullmatch(self.name) else []):
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

    def _record(self, deployment: Deployment) -> None:
        """Append to the history, or leave it to a later scan while a command changes the model."""
        try:
            with history.alone(self._folder, wait=False) as alone:
                # Otherwise a worker that has not seen the newest serving.toml would append a stale record.
                if alone and serving.read(self._folder) == self._text:
                    line = deployment.record(by=f"server {socket.gethostname()}")
                    history.append(self._folder, line, wait=False)
                    self._unrecorded, self._unwritable = False, ""
        except (OSError, ServingError) as error:
            reason = (isinstance(error, OSError) and error.strerror) or str(error)
            if isinstance(error, OSError) and error.errno == errno.EROFS:
                # No later scan would do better. If it is the whole folder, the banner says so, once for all.
                self._unrecorded = False
                if disk.is_read_only(str(self._folder.parent)):
                    return
            if reason != self._unwritable:
                logger.error("%s cannot be written: %s", self._folder / history.FILE, reason)
            self._unwritable = reason

    def _log(self, before: Deployment, now: Deployment, existed: bool) -> None:
        if now.mistake and now.mistake != before.mistake:
            effect = f"what is served stays: {now.summary}" if now.versions else "it is not served"
            logger.error("model %s: %s; %s", self.name, now.mistake, effect)
        if existed and now.versions and _differ(before, now):
            labels = ", ".join(f"{label} {number}" for label, number in now.labels.items()) or "none"
            previously = "" if now.summary == before.summary else f" (before: {before.summary})"
            logger.info("model %s: %s%s; labels: %s", self.name, now.summary, previously, labels)
        inputs, previous = now.serving.inputs, before.serving.inputs
        if before.versions and inputs != previous:
            logger.info("model %s: inputs: %s (before: %s)", self.name, inputs.sentence, previous.sentence)
        self._warn_of_empty_folder()

    def _warn_of_empty_folder(self) -> None:
        """Warn once that the folder holds no model; one that arrives may be filled until the next scan."""
        empty = not self.exists and self.versions.settled
        self._empty_scans = self._empty_scans + 1 if empty else 0
        if self._empty_scans != (2 if self._arrived_later else 1):
            return
        if (self._folder / FILE).exists():
            above = self._folder.parent.parent
            logger.warning("%s is a version, not a model: serve with --models %s", self._folder, above)
        else:
            logger.warning("%s is no model: it holds no <number>/%s", self._folder, FILE)


def _differ(before: Deployment, now: Deployment) -> bool:
    return (before.labels, before.traffic, before.shadow) != (now.labels, now.traffic, now.shadow)


def _main(desired: Serving, loaded: Iterable[int]) -> int:
    """The version that answers all plain requests where no traffic is set."""
    return desired.labels.get(serving.STABLE, max(loaded))


def _shadow(desired: Serving) -> tuple[int, float] | None:
    shadow = desired.shadow
    return None if shadow is None else (desired.number(shadow.version), shadow.share)


def _features(served: Served) -> tuple[Feature, ...]:
    return served.model.manifest.features
