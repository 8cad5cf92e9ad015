"""The versions of one model: found on disk, loaded when they are needed, each content tried once."""

import hashlib
import logging
import os
import time
from pathlib import Path

import msgspec

from unpickled.server.artifact.manifest import FILE
from unpickled.server.config import Config
from unpickled.server.errors import ArtifactError, ProviderError
from unpickled.server.lifecycle import disk
from unpickled.server.lifecycle.serving import VERSION
from unpickled.server.model import session as model
from unpickled.server.model.session import Model

logger = logging.getLogger("unpickled")

# Each file is read again, to see whether its content is still the same, at no more than this rate.
_BYTES_PER_SECOND = 4_000_000

# Inode, size and times: where they differ the content may.
_Stamp = tuple[int, ...]
_MISSING: _Stamp = ()


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """A version in memory. ``load_seconds`` is from reading the file to its last golden row."""

    name: str
    version: int
    model: Model
    sha256: str
    size: int
    load_seconds: float


class _File:
    """One model.onnx as it was at the last look, there ``since`` so many; ``sha256`` was tried last."""

    def __init__(self, stamp: _Stamp, settled: bool, since: int) -> None:
        self.stamp = stamp
        self.settled = settled
        self.since = since
        self.stale = True
        self.sha256 = ""
        self.checked = 0.0


class Versions:
    """What models/<name>/ holds, and which of it is in memory.

    A content that fails is remembered in ``refused``, with the sentence that says why, and tried again
    when it changes. What is loaded stays until ``keep`` lets go of it, even where its file is spoilt or
    gone. ``patient``: files of the first look, too, may still be on their way. ``failures`` are versions,
    one entry a failed try.
    """

    def __init__(self, folder: Path, config: Config, patient: bool = False) -> None:
        self.folder = folder
        self.name = folder.name
        self.loaded: dict[int, Served] = {}
        self.refused: dict[int, str] = {}
        self.failures: list[int] = []
        self._config = config
        self._files: dict[int, _File] = {}
        # Loaded, and not on disk since so many looks.
        self._gone: dict[int, int] = {}
        self._patient = patient
        self._looks = 0

    @property
    def numbers(self) -> list[int]:
        """Versions to choose from, newest first: whole on disk, or in memory.

        What is in memory only comes after what has arrived since its file went.
        """
        whole = {number for number, file in self._files.items() if file.settled}
        arrived = max((self._files[number].since for number in whole), default=0)
        outdated = {number for number, gone in self._gone.items() if gone <= arrived}
        newest = sorted(whole | self.loaded.keys(), reverse=True)
        return sorted(newest, key=outdated.__contains__)

    @property
    def settled(self) -> bool:
        """Whether no file has changed between the last two looks: none is being written."""
        return all(file.settled for file in self._files.values())

    def look(self) -> None:
        """Find out what is on disk now; ArtifactError where the folder cannot be read."""
        found = self._on_disk()
        for number in found:
            self._look_at(number)
        for number in found & self._gone.keys():
            del self._gone[number]
        for number in self._files.keys() - found:
            self._lose(number)
        self._looks += 1

    def _lose(self, number: int) -> None:
        del self._files[number]
        self.refused.pop(number, None)
        if number in self.loaded:
            self._gone[number] = self._looks
            self._refuse(number, "its folder is gone: a server that restarts cannot serve it")

    def load(self, number: int) -> Served:
        """A version, verified; ArtifactError says why it cannot be served.

        Raises ProviderError in strict mode before the second look.
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
        """Let go of every other version: its memory is free once no request uses it."""
        for number in self.loaded.keys() - numbers:
            del self.loaded[number]
            if number in self._files:
                self._files[number].stale = True
            else:
                self._gone.pop(number, None)
                self.refused.pop(number, None)

    def _on_disk(self) -> set[int]:
        try:
            entries = [entry for entry in os.scandir(self.folder) if VERSION.fullmatch(entry.name)]
        except OSError as error:
            raise ArtifactError(f"{self.folder} cannot be read: {error.strerror}") from None
        return {int(entry.name) for entry in entries if disk.is_folder(Path(entry.path))}

    def _look_at(self, number: int) -> None:
        stamp = self._stamp(number)
        file = self._files.get(number)
        if file is None:
            self._files[number] = _File(stamp, not self._patient and self._looks == 0, self._looks)
        elif file.stamp != stamp:
            file.stamp, file.settled, file.stale = stamp, False, True
            file.since = self._looks
        else:
            file.settled = True
            file.stale = file.stale or self._content_changed(number, file)

    def _content_changed(self, number: int, file: _File) -> bool:
        """Whether the bytes differ although the stamp does not, as on some network file systems."""
        now = time.monotonic()
        if file.stamp == _MISSING or now - file.checked < file.stamp[1] / _BYTES_PER_SECOND:
            return False
        file.checked = now
        try:
            with disk.opened(self._path(number)) as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest() != file.sha256
        except OSError:
            return True

    def _try(self, number: int, file: _File) -> None:
        """Load what is on disk, unless it is what was tried last; what is loaded stays where it fails."""
        started = time.perf_counter()
        try:
            data = self._read(number, file)
            sha256 = hashlib.sha256(data).hexdigest()
            if self._is_known(number, sha256, file):
                return
            loaded = model.load(data, self._config)
        except (ArtifactError, ProviderError) as error:
            # At the start, a server without its provider is told to whoever starts it.
            if isinstance(error, ProviderError) and not self._patient and self._looks < 2:
                raise
            self.failures.append(number)
            self._refuse(number, str(error))
            return
        finally:
            file.stale = False
        self.refused.pop(number, None)
        self.loaded[number] = Served(
            name=self.name,
            version=number,
            model=loaded,
            sha256=sha256,
            size=len(data),
            load_seconds=round(time.perf_counter() - started, 4),
        )
        if self._patient or self._looks > 1:
            logger.info("model %s version %d is loaded (sha256 %.12s)", self.name, number, sha256)

    def _is_known(self, number: int, sha256: str, file: _File) -> bool:
        """Whether this content has been tried: it is loaded, or refused as it was."""
        tried, file.sha256 = file.sha256, sha256
        served = self.loaded.get(number)
        if served is not None and served.sha256 == sha256:
            self.refused.pop(number, None)
            return True
        return sha256 == tried and number in self.refused

    def _read(self, number: int, file: _File) -> bytes:
        path = self._path(number)
        try:
            with disk.opened(path) as stream:
                file.stamp = _stamp_of(os.fstat(stream.fileno()))
                file.checked = time.monotonic()
                return stream.read()
        except OSError as error:
            file.sha256 = ""
            raise ArtifactError(f"{path} cannot be read: {error.strerror}") from None

    def _refuse(self, number: int, reason: str) -> None:
        before = self.refused.get(number)
        self.refused[number] = reason
        if before != reason:
            kept = "; what is loaded of it stays" if number in self.loaded else ""
            logger.error("model %s version %d is not served: %s%s", self.name, number, reason, kept)

    def _stamp(self, number: int) -> _Stamp:
        try:
            # Opened, as network file systems look at the server's attributes only then.
            with disk.opened(self._path(number)) as stream:
                return _stamp_of(os.fstat(stream.fileno()))
        except OSError:
            return _MISSING

    def _path(self, number: int) -> Path:
        return self.folder / str(number) / FILE


def _stamp_of(status: os.stat_result) -> _Stamp:
    return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
