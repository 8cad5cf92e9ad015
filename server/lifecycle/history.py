"""history.jsonl: which versions of a model were served when, one JSON object a line, appended only."""

import errno
import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from server.errors import ServingError
from server.lifecycle import serving
from server.lifecycle.serving import STABLE, Count, Serving, Shadowing, Version

FILE = "history.jsonl"

# What flock says on a file system that has no locks.
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.EBADF}


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a model was served as, from ``at`` (ISO 8601, UTC) on.

    ``by`` is "server HOST" or a command. ``load``, ``retired`` and ``labels`` as in Serving;
    ``traffic`` has the share of plain /predict by version and is always given, as is the number
    of the version that shadows.
    """

    at: str
    by: str
    load: Literal["newest", "all"] | Count | tuple[Version, ...] = "newest"
    retired: tuple[Version, ...] = ()
    labels: dict[str, Version] = {}
    traffic: Annotated[dict[str, float], Meta(min_length=1)]
    shadow: Shadowing | None = None

    def state(self) -> tuple[object, ...]:
        """What makes two records the same: everything but when, and by whom."""
        return (self.load, self.retired, self.labels, self.traffic, self.shadow)

    def serving(self) -> Serving:
        """A serving.toml that asks for exactly this, whatever the newest version is by then."""
        stable = {str(self.labels[STABLE]): 1.0} if STABLE in self.labels else {}
        return Serving(
            load=self.load,
            retired=self.retired,
            labels=self.labels,
            traffic={} if self.traffic == stable else self.traffic,
            shadow=self.shadow,
        )


def read(folder: Path) -> list[Record]:
    """The records of a model, oldest first; OSError where its file is there and cannot be read."""
    try:
        return _records((folder / FILE).read_bytes())
    except FileNotFoundError:
        return []


def append(folder: Path, record: Record) -> bool:
    """Add a record, unless it says what the last one does; whether it was added.

    The line is there whole or, where that raises OSError, not at all.
    """
    with _locked(folder / FILE) as file:
        lines = _all(file)
        records = _records(lines)
        if records and records[-1].state() == record.state():
            return False
        # The last line lacks its end where a writer was killed.
        start = b"\n" if lines and not lines.endswith(b"\n") else b""
        _write(file, start + msgspec.json.encode(record) + b"\n", len(lines))
        return True


def withdraw(folder: Path, record: Record) -> None:
    """Take back a record that was just appended, if it still is the last one."""
    with _locked(folder / FILE) as file:
        lines, line = _all(file), msgspec.json.encode(record) + b"\n"
        if lines.endswith(line):
            os.ftruncate(file, len(lines) - len(line))


def previous(records: Sequence[Record]) -> Record | None:
    """What was served before the last change: the newest record that differs from the last one."""
    differing = (record for record in reversed(records) if record.state() != records[-1].state())
    return next(differing, None)


def _records(lines: bytes) -> list[Record]:
    return [record for line in lines.split(b"\n") for record in _decoded(line)]


def _decoded(line: bytes) -> list[Record]:
    """The record of a line; none where it is half a line, or somebody else's."""
    try:
        record = msgspec.json.decode(line, type=Record)
        serving.check(record.serving())
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ServingError):
        return []
    return [record]


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        lock(file)
        yield file
    finally:
        os.close(file)


@contextmanager
def alone(folder: Path, wait: bool = True) -> Iterator[bool]:
    """One change to a folder at a time; False where another is under way and is not waited for."""
    file = os.open(folder, os.O_RDONLY)
    try:
        yield lock(file, wait)
    finally:
        os.close(file)


def lock(file: int, wait: bool = True) -> bool:
    """Whether an open file or folder is this process's alone now, until it is closed."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True


def _all(file: int) -> bytes:
    return os.pread(file, os.fstat(file).st_size, 0)


def _write(file: int, line: bytes, size: int) -> None:
    """Write a line behind the first ``size`` bytes of a file, or leave it as it was."""
    try:
        while line:
            line = line[os.write(file, line) :]
        os.fsync(file)
    except OSError:
        os.ftruncate(file, size)
        raise
