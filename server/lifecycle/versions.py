"""The versions of one model: found on disk, loaded on demand, each content tried once.

The life of a version, as the scans of one process see it:

    new ------------> settled ---------> loaded --------> released
     ^  same stamp      |    golden        |   not asked
     |  in two scans    |    rows pass     |   for any more
     +------------------+                  |
       the file changes +--> refused       +--> lost: its folder is removed;
                             until the          served from memory, behind
                             content changes    versions that arrive later
"""

import hashlib
import logging
import os
import time
from pathlib import Path

import msgspec

from unpickled.server.artifact import manifest
from unpickled.server.artifact.manifest import FILE
from unpickled.server.artifact.onnxfile import LONGEST
from unpickled.server.config import Runtime
from unpickled.server.errors import ArtifactError, ProviderError, RequestError
from unpickled.server.lifecycle import disk
from unpickled.server.lifecycle.disk import MISSING, Stamp
from unpickled.server.lifecycle.serving import VERSION
from unpickled.server.lifecycle.signed import Signed
from unpickled.server.lifecycle.trials import Trials
from unpickled.server.model import session
from unpickled.server.model.session import Model

logger = logging.getLogger("unpickled")

# The rate at which scans read a file again, to see whether its content is still the same.
_BYTES_PER_SECOND = 4_000_000
# Characters of a digest that tell a file from all others of its model.
DIGEST = 12


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """A version in memory. ``load_seconds`` lasts from reading the file to checking its last golden row."""

    name: str
    version: int
    model: Model
    sha256: str
    size: int
    load_seconds: float

    @property
    def key(self) -> tuple[str, str, str]:
        """Name, version and the start of the digest, which no other file has: they name counts of it."""
        return self.name, str(self.version), self.sha256[:DIGEST]


class _File:
    """State of one model.onnx at the last scan.

    ``settled``: two scans have found the same stamp, so nobody is writing the file. ``first_seen`` is the
    number of the scan that first saw this content. ``sha256`` is the digest of the content read last,
    ``tried`` that of the content that was loaded last, or was to be. ``stale``: the file may hold another
    content by now, or another signature. ``signed`` is the stamp of the signature and of the keys.
    ``checked`` is the time.monotonic() of the last time the file was read.
    """

    def __init__(
        self, path: str, stamp: Stamp, signed: tuple[Stamp, ...], settled: bool, first_seen: int
    ) -> None:
        self.path = path
        self.stamp = stamp
        self.signed = signed
        self.settled = settled
        self.first_seen = first_seen
        self.stale = True
        self.sha256 = self.tried = ""
        self.checked = 0.0


class Versions:
    """The versions in models/<name>/, and those of them that are in memory.

    ``refused`` has the reason for each version that cannot be served; a version is tried again when its
    content changes. A loaded version stays until ``keep`` releases it, even if its file is damaged or
    removed. ``arrived_later``: the folder appeared after the start, so even the files of the first scan
    may still be incomplete. ``trials``: contents that arrive while requests are answered are tried in another
    process first. ``keys``: a file or folder of public keys, one of which has to have signed each version.
    """

    def __init__(
        self,
        folder: Path,
        runtime: Runtime,
        arrived_later: bool = False,
        trials: Trials | None = None,
        keys: str | None = None,
    ) -> None:
        self.folder = folder
        self.name = folder.name
        self.loaded: dict[int, Served] = {}
        self.refused: dict[int, str] = {}
        self._failures: list[int] = []
        self._runtime = runtime
        self._files: dict[int, _File] = {}
        # Loaded version whose folder is lost -> number of the scan that missed it.
        self._lost: dict[int, int] = {}
        self._arrived_later = arrived_later
        self._trials = trials
        self._signed = Signed(folder, keys)
        self._scans = 0

    @property
    def numbers(self) -> list[int]:
        """Versions that may be served, newest first: complete on disk, or in memory.

        A version whose folder is lost comes after those that arrived since.
        """
        whole = {number for number, file in self._files.items() if file.settled}
        latest = max((self._files[number].first_seen for number in whole), default=0)
        outdated = {number for number, lost in self._lost.items() if lost <= latest}
        newest = sorted(whole | self.loaded.keys(), reverse=True)
        return sorted(newest, key=outdated.__contains__)

    @property
    def settled(self) -> bool:
        """Whether no file has changed between the last two scans: none is being written."""
        return all(file.settled for file in self._files.values())

    def take_failures(self) -> list[int]:
        """The version of each load that failed since the last call."""
        failures, self._failures = self._failures, []
        return failures

    def unchanged(self) -> bool:
        """Whether a listing and a stat of each file find what the last scan found."""
        try:
            numbers = self._on_disk()
        except ArtifactError:
            return False
        files = self._files
        if numbers != files.keys():
            return False
        return all(
            disk.stamp(file.path) == file.stamp and self._signed.stamp(number) == file.signed
            for number, file in files.items()
        )

    def scan(self) -> None:
        """Note which versions are on disk now; ArtifactError where the folder cannot be read."""
        numbers = self._on_disk()
        for number in numbers:
            self._scan_file(number)
        for number in numbers & self._lost.keys():
            del self._lost[number]
        for number in self._files.keys() - numbers:
            self._lose(number)
        self._scans += 1

    def _lose(self, number: int) -> None:
        del self._files[number]
        self.refused.pop(number, None)
        if number in self.loaded:
            self._lost[number] = self._scans
            self._refuse(number, "its folder is gone: a server that restarts cannot serve it")

    def load(self, number: int) -> Served:
        """A version, verified; ArtifactError says why it cannot be served.

        Raises ProviderError in strict mode before the second scan.
        """
        file = self._files.get(number)
        if file is not None and file.stale and (file.settled or number not in self.loaded):
            self._try(number, file)
        if number in self.loaded:
            return self.loaded[number]
        if number in self.refused:
            raise ArtifactError(self.refused[number])
        raise ArtifactError(f"there is no version {number} in {self.folder}")

    def keep(self, numbers: set[int]) -> None:
        """Release all versions but these; the memory of one is freed once no request uses it."""
        for number in self.loaded.keys() - numbers:
            del self.loaded[number]
            if number in self._files:
                self._files[number].stale = True
            else:
                self._lost.pop(number, None)
                self.refused.pop(number, None)

    def _on_disk(self) -> set[int]:
        try:
            with os.scandir(self.folder) as entries:
                numbered = [entry for entry in entries if VERSION.fullmatch(entry.name)]
                return {int(entry.name) for entry in numbered if disk.is_folder(entry)}
        except OSError as error:
            raise ArtifactError(f"{self.folder} cannot be read: {error.strerror}") from None

    def _scan_file(self, number: int) -> None:
        file = self._files.get(number)
        if file is None:
            path = str(self._path(number))
            settled = not self._arrived_later and self._scans == 0
            signed = self._signed.stamp(number)
            self._files[number] = _File(path, disk.stamp(path), signed, settled, self._scans)
            return
        stamp, signed = disk.stamp(file.path), self._signed.stamp(number)
        if file.signed != signed:
            # The content is the same: it is no version that arrives.
            file.signed, file.stale = signed, True
        if file.stamp != stamp:
            file.stamp, file.settled, file.stale = stamp, False, True
            file.first_seen = self._scans
        else:
            file.settled = True
            file.stale = file.stale or self._content_changed(number, file)

    def _content_changed(self, number: int, file: _File) -> bool:
        """Whether the bytes have changed under the same stamp, as on some network file systems."""
        now = time.monotonic()
        if (
            file.stamp == MISSING
            or file.stamp[1] > LONGEST
            or now - file.checked < file.stamp[1] / _BYTES_PER_SECOND
        ):
            return False
        file.checked = now
        try:
            with disk.opened(self._path(number)) as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest() != file.sha256
        except OSError:
            return True

    def _try(self, number: int, file: _File) -> None:
        """Load the file unless its content was tried last; if that fails, the loaded version stays."""
        started = time.perf_counter()
        try:
            data = self._read(number, file)
            file.sha256 = sha256 = hashlib.sha256(data).hexdigest()
            self._check_signature(number, sha256, file)
            if self._was_tried(number, sha256, file):
                return
            model = self._load(sha256, data)
            load_seconds = round(time.perf_counter() - started, 4)
            _measure(model)
        except (ArtifactError, ProviderError) as error:
            # At the start, a missing provider is a mistake in the settings: the server must not start.
            if isinstance(error, ProviderError) and not self._arrived_later and self._scans < 2:
                raise
            self._failures.append(number)
            self._refuse(number, str(error))
            return
        finally:
            file.stale = False
        self.refused.pop(number, None)
        self.loaded[number] = Served(
            name=self.name,
            version=number,
            model=model,
            sha256=sha256,
            size=len(data),
            load_seconds=load_seconds,
        )
        if self._serving:
            logger.info("model %s version %d is loaded (sha256 %.12s)", self.name, number, sha256)

    @property
    def _serving(self) -> bool:
        """Whether requests are answered by now: this is not the start."""
        return self._arrived_later or self._scans > 1

    def _load(self, sha256: str, data: bytes) -> Model:
        if self._trials is None:
            return session.load(data, self._runtime)
        if self._serving or self._trials.cautious:
            # No other process is needed for faults that show without ONNX Runtime.
            manifest.read(data)
            self._trials.check(sha256, data)
        with self._trials.loading(sha256):
            return session.load(data, self._runtime)

    def _check_signature(self, number: int, sha256: str, file: _File) -> None:
        """ArtifactError where a signature is required and missing; with one, the content is tried again."""
        try:
            self._signed.check(number, sha256)
        except ArtifactError:
            file.tried = ""
            raise

    def _was_tried(self, number: int, sha256: str, file: _File) -> bool:
        """Whether this content has been tried before, and so is loaded or refused already."""
        last_tried, file.tried = file.tried, sha256
        served = self.loaded.get(number)
        if served is not None and served.sha256 == sha256:
            self.refused.pop(number, None)
            return True
        return sha256 == last_tried and number in self.refused

    def _read(self, number: int, file: _File) -> bytes:
        path = self._path(number)
        try:
            with disk.opened(path) as stream:
                data, file.stamp = disk.content(stream)
                file.checked = time.monotonic()
                return data
        except OSError as error:
            file.sha256 = file.tried = ""
            raise ArtifactError(f"{path} cannot be read: {error.strerror}") from None

    def _refuse(self, number: int, reason: str) -> None:
        before = self.refused.get(number)
        self.refused[number] = reason
        if before != reason:
            if number in self.loaded:
                reason += "; what is loaded of it stays"
            logger.error("model %s version %d is not served: %s", self.name, number, reason)

    def _path(self, number: int) -> Path:
        return self.folder / str(number) / FILE


def _measure(model: Model) -> None:
    """Measure a model before it is deployed: routes that waited for it would be out of date meanwhile."""
    try:
        model.cost  # noqa: B018
    except RequestError as error:
        raise ArtifactError(f"it fails on its golden rows: {error.__cause__ or error}") from error
