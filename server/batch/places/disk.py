"""Files on the disks of this machine."""

import glob
import io
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import takewhile
from pathlib import Path
from typing import BinaryIO

from unpickled.server.artifact.numbered import sync
from unpickled.server.batch.places.place import Entry
from unpickled.server.errors import ServingError
from unpickled.server.system import POSIX, fcntl

# The end of the name of a file that is being written; its beginning is a dot.
_UNFINISHED = ".unfinished"
_LOCK = "_lock"


class Disk:
    """The files of this machine, by their paths. See ``Place`` in places/place.py."""

    def list(self, pattern: str) -> list[Entry]:
        """The files that a path, a folder or a pattern stands for, sorted by path."""
        folder = _fixed(pattern)
        if os.path.isdir(pattern):
            paths = [str(path) for path in Path(pattern).rglob("*") if _is_seen(path.relative_to(pattern))]
        elif glob.has_magic(pattern) and not os.path.exists(pattern):
            paths = [path for path in glob.glob(pattern, recursive=True) if _is_seen(Path(path).name)]
        else:
            paths = [pattern]
        files = sorted(path for path in paths if os.path.isfile(path))
        return [_entry(path, folder) for path in files]

    def open(self, path: str) -> BinaryIO:
        """A file to read."""
        return io.BufferedReader(_Watched(path))

    def check(self, file: BinaryIO) -> None:
        """Nobody has written to an open file since it was opened."""
        if isinstance(file, io.BufferedReader) and isinstance(file.raw, _Watched):
            file.raw.check()

    @contextmanager
    def write(self, path: str) -> Iterator[BinaryIO]:
        """A file to write, which appears whole by its renaming."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_name(f".{target.name}.{secrets.token_hex(4)}{_UNFINISHED}")
        try:
            with open(unfinished, "xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(unfinished, target)
            sync(target.parent)
        finally:
            unfinished.unlink(missing_ok=True)

    def append(self, path: str, content: bytes) -> None:
        """Add lines to the end of a file; a last line that is cut off, as the disk was full, is removed."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        is_new = not target.exists()
        with open(target, "a+b") as file:
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            sync(target.parent)

    def read(self, path: str) -> bytes | None:
        """The content of a file."""
        try:
            return Path(path).read_bytes()
        except FileNotFoundError:
            return None

    def remove(self, path: str) -> None:
        """Remove a file, if it is there."""
        Path(path).unlink(missing_ok=True)

    def sweep(self, folder: str) -> None:
        """Remove files that killed processes were writing."""
        for path in Path(folder).rglob(f".*{_UNFINISHED}"):
            with suppress(FileNotFoundError):
                path.unlink()

    @contextmanager
    def locked(self, folder: str) -> Iterator[None]:
        """No other job has the folder within the block; the kernel ends the lock of a killed process.

        Windows has no such lock: there, nothing keeps two jobs apart.
        """
        Path(folder).mkdir(parents=True, exist_ok=True)
        with open(Path(folder, _LOCK), "ab") as file:
            try:
                if POSIX:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ServingError(
                    f"another job is writing to {folder}: wait for its end, or name another folder"
                ) from None
            yield


class _Watched(io.FileIO):
    """A file to read, which knows its size and its time of change when it was opened."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._opened = self._now()

    def check(self) -> None:
        if self._now() != self._opened:
            raise OSError("it was written to while it was read: give the command again once it is whole")

    def _now(self) -> tuple[int, int]:
        status = os.fstat(self.fileno())
        return status.st_size, status.st_mtime_ns


def _fixed(pattern: str) -> Path:
    """The folder that a pattern names without wildcards; that of a path to a file."""
    if os.path.isdir(pattern):
        return Path(pattern)
    parts = Path(pattern).parts[:-1]
    if not os.path.exists(pattern):
        parts = tuple(takewhile(lambda part: not glob.has_magic(part), parts))
    return Path(*parts)


def _is_seen(path: Path | str) -> bool:
    return not any(part.startswith((".", "_")) for part in Path(path).parts)


def _entry(path: str, folder: Path) -> Entry:
    status = os.stat(path)
    return Entry(path, Path(path).relative_to(folder).as_posix(), status.st_size, str(status.st_mtime_ns))
