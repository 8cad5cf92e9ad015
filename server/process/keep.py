"""The files of the served models, kept in memory while their folder is away.

A worker that has loaded a version copies its file into memory that all processes share, once for all of them,
and the serving.toml beside it. When the folder is unmounted, or a file in it is damaged or removed, running
workers go on from their own memory; one that starts then finds the files here.

    memory  | used | entry ...                     used: bytes of all entries
    entry   | lengths | path | digest | content
"""

import hashlib
import logging
import os
import shutil
import struct
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from unpickled.server.artifact.manifest import FILE
from unpickled.server.errors import ConfigError, ServingError
from unpickled.server.lifecycle import disk, serving
from unpickled.server.lifecycle.repository import Repository
from unpickled.server.process.shared import Shared

logger = logging.getLogger("unpickled")

# Bytes that are kept at most; only those in use take memory.
SIZE = 256 * 1024 * 1024
# Seconds between two looks at what is served, and between two at what is kept.
_PERIOD, _AGAIN = 2.0, 60.0
_USED = struct.Struct("=Q")
_LENGTHS = struct.Struct("=IQ")
_DIGEST = 64


class _Entry(NamedTuple):
    """The place of an entry, and where its content begins and ends."""

    place: int
    start: int
    end: int
    digest: str


class Keep(Shared):
    """Files by their path in the models folder, at most ``size`` bytes of them."""

    def __init__(self, size: int = SIZE) -> None:
        super().__init__(size)

    def digests(self) -> dict[str, str]:
        """Path -> SHA-256 of each file that is kept."""
        with self._locked():
            return {path: entry.digest for path, entry in self._entries().items()}

    def retain(self, digests: Mapping[str, str]) -> None:
        """Keep only the files with these paths and digests."""
        with self._locked():
            entries = self._entries().items()
            kept = [entry for path, entry in entries if digests.get(path) == entry.digest]
            # A process that is killed in between leaves nothing, and no half of a file.
            self._use(0)
            end = _USED.size
            for entry in kept:
                length = entry.end - entry.place
                self._memory.move(end, entry.place, length)
                end += length
            self._use(end - _USED.size)

    def add(self, path: str, content: bytes) -> bool:
        """Keep a file, unless another process has just done so; whether there is room for it."""
        name = path.encode("utf-8", "surrogatepass")
        head = _LENGTHS.pack(len(name), len(content)) + name + digest(content).encode()
        with self._locked():
            if path in self._entries():
                return True
            place = _USED.size + self._used()
            if place + len(head) + len(content) > self._size:
                return False
            self._memory[place : place + len(head)] = head
            self._memory[place + len(head) : place + len(head) + len(content)] = content
            self._use(place + len(head) + len(content) - _USED.size)
            return True

    def write(self, folder: Path) -> bool:
        """Write all files into a folder; whether there is one."""
        with self._locked(), memoryview(self._memory) as memory:
            entries = self._entries()
            for path, entry in entries.items():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                with memory[entry.start : entry.end] as content:
                    (folder / path).write_bytes(content)
        return bool(entries)

    def _entries(self) -> dict[str, _Entry]:
        entries: dict[str, _Entry] = {}
        place, end = _USED.size, _USED.size + self._used()
        while place < end:
            length, size = _LENGTHS.unpack_from(self._memory, place)
            name = place + _LENGTHS.size
            start = name + length + _DIGEST
            path = self._memory[name : name + length].decode("utf-8", "surrogatepass")
            sha256 = self._memory[name + length : start].decode()
            entries[path] = _Entry(place, start, start + size, sha256)
            place = start + size
        return entries

    def _used(self) -> int:
        return int(_USED.unpack_from(self._memory)[0])

    def _use(self, size: int) -> None:
        _USED.pack_into(self._memory, 0, size)


class Keeper:
    """Keeps what a repository serves, from a thread of its own: a disk may not answer."""

    def __init__(self, keep: Keep, repository: Repository) -> None:
        self._keep = keep
        self._repository = repository
        self._root = Path(repository.config.models)
        self._full = False

    def start(self) -> None:
        """Keep what is served from now on, until the process ends."""
        threading.Thread(target=self._follow, name="keeper", daemon=True).start()

    def _follow(self) -> None:
        deployments, looked = None, 0.0
        while not self._full:
            now = time.monotonic()
            # The second look is for what another worker, which was killed, has left undone.
            if deployments is not self._repository.deployments or now - looked > _AGAIN:
                deployments, looked = self._repository.deployments, now
                self.look()
            time.sleep(_PERIOD)

    def look(self) -> None:
        """Keep the files of all versions that are served now, and no others.

        A version is kept only if its file still has the content that was loaded. While the models folder has
        no models, everything stays.
        """
        with suppress(OSError):
            if disk.folders(str(self._root)):
                self._look(self._keep.digests())

    def _look(self, kept: Mapping[str, str]) -> None:
        texts = self._texts()
        wanted = {path: digest(text) for path, text in texts.items()} | self._versions()
        # A serving.toml that is not followed leaves the copy of the one before.
        wanted |= {path: kept[path] for path in self._mistaken(texts) if path in kept}
        if wanted == kept:
            return
        self._keep.retain(wanted)
        for path in wanted:
            if kept.get(path) != wanted[path]:
                content = texts.get(path) or _content(self._root / path)
                if content is not None and digest(content) == wanted[path]:
                    self._add(path, content)

    def _add(self, path: str, content: bytes) -> None:
        if not self._full and not self._keep.add(path, content):
            self._full = True
            self._keep.retain({})
            logger.warning("the models are too large for a copy in memory, should their folder go away")

    def _versions(self) -> dict[str, str]:
        return {
            f"{deployment.name}/{number}/{FILE}": version.sha256
            for deployment in self._repository.deployments.values()
            for number, version in deployment.versions.items()
        }

    def _texts(self) -> dict[str, bytes]:
        """The settings that are followed."""
        texts = {}
        for name, deployment in self._repository.deployments.items():
            content = _content(self._root / name / serving.FILE)
            if deployment.versions and content is not None:
                with suppress(ServingError, UnicodeDecodeError):
                    if serving.parse(content.decode("utf-8-sig")) == deployment.serving:
                        texts[f"{name}/{serving.FILE}"] = content
        return texts

    def _mistaken(self, texts: Mapping[str, bytes]) -> set[str]:
        """The paths of settings that are there and not followed."""
        served = {f"{name}/{serving.FILE}" for name in self._repository.served} - texts.keys()
        return {path for path in served if (self._root / path).exists()}


def is_whole(keep: Keep, models: str) -> bool:
    """Whether a models folder has each file that is kept, with its content."""
    contents = ((_content(Path(models) / path), sha256) for path, sha256 in keep.digests().items())
    return all(content is not None and digest(content) == sha256 for content, sha256 in contents)


@contextmanager
def restored(keep: Keep, models: str) -> Iterator[str | None]:
    """A folder with the files that are kept; None where there are none.

    From the end of the block on it is another name of ``models``: a repository that has loaded the files
    follows the models folder again once that is back. Raises ConfigError where there is no place for it.
    """
    home = _written(keep, models)
    if home is None:
        yield None
        return
    folder, link = home / "kept", home / "models"
    try:
        yield str(link)
        (home / "next").symlink_to(Path(models).absolute())
        os.replace(home / "next", link)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _written(keep: Keep, models: str) -> Path | None:
    """A new folder with the files, and a link to them; None, and no folder, where there are no files."""
    home = None
    try:
        home = Path(tempfile.mkdtemp(prefix="unpickled-"))
        if keep.write(home / "kept"):
            (home / "models").symlink_to(home / "kept")
            return home
    except OSError as error:
        raise ConfigError(
            f"the models folder {models!r} lacks files that are served, and no temporary folder takes their "
            f"copies ({error.strerror}): make room there, or set TMPDIR"
        ) from None
    finally:
        if home is not None and not (home / "models").is_symlink():
            shutil.rmtree(home, ignore_errors=True)
    return None


def digest(content: bytes) -> str:
    """The SHA-256 of a file."""
    return hashlib.sha256(content).hexdigest()


def _content(path: Path) -> bytes | None:
    try:
        with disk.opened(path) as stream:
            return stream.read(SIZE + 1)
    except OSError:
        return None
