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
from unpickled.server.lifecycle.deployment import Deployment
from unpickled.server.lifecycle.repository import Repository
from unpickled.server.lifecycle.serving import Serving
from unpickled.server.shared import Shared

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

    @property
    def size(self) -> int:
        """Bytes that are kept at most."""
        return self._size

    def digests(self) -> dict[str, str]:
        """Path -> SHA-256 of each file that is kept."""
        with self._locked():
            return {path: entry.digest for path, entry in self._entries().items()}

    def update(self, digests: Mapping[str, str], contents: Mapping[str, bytes]) -> bool:
        """Keep the files with these paths and digests, no others, and beside them those with these contents.

        This is one step: no process ever finds the settings of a model without the versions that they ask
        for. Where there is no room, nothing is kept. Returns whether there was room.
        """
        with self._locked():
            kept = {path: each for path, each in self._entries().items() if digests.get(path) == each.digest}
            # A process that is killed in between leaves nothing, and no half of a file.
            self._use(0)
            end = _USED.size
            for entry in kept.values():
                length = entry.end - entry.place
                self._memory.move(end, entry.place, length)
                end += length
            for path in contents.keys() - kept.keys():
                content, head = contents[path], _head(path, contents[path])
                begin, start = end, end + len(head)
                end = start + len(content)
                if end > self._size:
                    return False
                self._memory[begin:start], self._memory[start:end] = head, content
            self._use(end - _USED.size)
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
    """Keeps what a repository serves; later looks come from a thread, as a disk may not answer any more."""

    def __init__(self, keep: Keep, repository: Repository) -> None:
        self._keep = keep
        self._repository = repository
        self._root = Path(repository.config.models)
        self._full = False

    def start(self) -> None:
        """Keep what is served now, and then all that is served until the process ends.

        The first look is over when this returns: a server that has announced itself has kept its models.
        """
        deployments = self._repository.deployments
        self.look()
        threading.Thread(target=self._follow, args=(deployments,), name="keeper", daemon=True).start()

    def _follow(self, deployments: Mapping[str, Deployment]) -> None:
        looked = time.monotonic()
        while not self._full:
            time.sleep(_PERIOD)
            now = time.monotonic()
            # The second look is for what another worker, which was killed, has left undone.
            if deployments is not self._repository.deployments or now - looked > _AGAIN:
                deployments, looked = self._repository.deployments, now
                self.look()

    def look(self) -> None:
        """Keep the files of all versions that are served now, and no others.

        A version is kept only if its file still has the content that was loaded. While the models folder has
        no models, everything stays.
        """
        with suppress(OSError):
            if disk.folders(str(self._root)):
                self._look(self._keep.digests())

    def _look(self, kept: Mapping[str, str]) -> None:
        wanted: dict[str, str] = {}
        deployments = [each for each in self._repository.deployments.values() if each.versions]
        if sum(version.size for each in deployments for version in each.versions.values()) > self._keep.size:
            # Not even read: that would take seconds of each start.
            self._keep.update({}, {})
            self._give_up()
            return
        for deployment in deployments:
            wanted |= self._wanted(deployment, kept)
        if wanted == kept:
            return
        contents = {
            path: content
            for path, sha256 in wanted.items()
            if kept.get(path) != sha256 and (content := _intact(self._root / path, sha256)) is not None
        }
        if not self._keep.update(wanted, contents):
            self._give_up()

    def _give_up(self) -> None:
        """Look no more: nothing is kept."""
        self._full = True
        logger.warning("the models are too large for a copy in memory, should their folder go away")

    def _wanted(self, deployment: Deployment, kept: Mapping[str, str]) -> dict[str, str]:
        """Path -> digest of each file of a model that is to be kept.

        Where serving.toml is wrong, or this process does not follow it yet, all that is kept stays: these
        settings and versions belong together.
        """
        name = deployment.name
        versions = {
            f"{name}/{number}/{FILE}": version.sha256 for number, version in deployment.versions.items()
        }
        path = f"{name}/{serving.FILE}"
        text = _content(self._root / path)
        if not _is_followed(text, deployment):
            return {path: sha256 for path, sha256 in kept.items() if path.startswith(f"{name}/")} or versions
        return versions if text is None else versions | {path: digest(text)}


def is_whole(keep: Keep, models: str) -> bool:
    """Whether a models folder has each version that is kept, with its content."""
    digests = {path: sha256 for path, sha256 in keep.digests().items() if path.endswith(f"/{FILE}")}
    return all(_intact(Path(models) / path, sha256) is not None for path, sha256 in digests.items())


def is_served(keep: Keep, deployments: Mapping[str, Deployment]) -> bool:
    """Whether deployments serve each model of which files are kept, as what is kept asks for.

    A mistake in a serving.toml that no process has followed is no reason to begin with the copies, among
    which there are no settings then: the model is served as its history says.
    """
    kept = keep.digests()
    for path in kept:
        name, number, *rest = path.split("/")
        deployment = deployments.get(name)
        if deployment is None or not deployment.versions:
            return False
        # A path is that of a version, or of the settings.
        if deployment.mistake and not (rest and int(number) in deployment.versions):
            return False
    return True


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


def _is_followed(text: bytes | None, deployment: Deployment) -> bool:
    """Whether the settings of a deployment are those in this text of a serving.toml, None without one."""
    if text is None:
        return deployment.serving == Serving()
    try:
        return serving.parse(text.decode("utf-8-sig")) == deployment.serving
    except (ServingError, UnicodeDecodeError):
        return False


def _head(path: str, content: bytes) -> bytes:
    """An entry up to its content."""
    name = path.encode("utf-8", "surrogatepass")
    return _LENGTHS.pack(len(name), len(content)) + name + digest(content).encode()


def digest(content: bytes) -> str:
    """The SHA-256 of a file."""
    return hashlib.sha256(content).hexdigest()


def _intact(path: Path, sha256: str) -> bytes | None:
    """The content of a file; None where it has not this digest, or cannot be read."""
    content = _content(path)
    return content if content is not None and digest(content) == sha256 else None


def _content(path: Path) -> bytes | None:
    try:
        with disk.opened(path) as stream:
            return stream.read(SIZE + 1)
    except OSError:
        return None
