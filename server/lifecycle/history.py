"""history.jsonl: which versions of a model were deployed when; one JSON object a line, appended only."""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from unpickled.server.errors import ServingError
from unpickled.server.lifecycle import serving
from unpickled.server.lifecycle.decision import Decision
from unpickled.server.lifecycle.disk import opened
from unpickled.server.lifecycle.serving import STABLE, Count, Serving, Shadowing, Version
from unpickled.server.model.policy import Policy
from unpickled.server.system import OPENING, fcntl

FILE = "history.jsonl"
# Lock file for changes to one model. A separate empty file: NFS locks only files opened for writing, and
# the history itself is appended to while the lock is held.
LOCK = ".history.lock"
# The author of a record that goes back to an earlier one; see previous().
ROLLBACK = "rollback"

# Errors of flock on a file system without locks.
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The deployment of a model from ``at`` (ISO 8601, UTC) on.

    ``by`` is "server HOST" or a command. ``load``, ``retired``, ``labels`` and ``inputs`` as in Serving;
    ``traffic`` has the share of plain /predict by version and is always given, as is the number
    of the version that shadows. ``decision`` is that of a judge, who changes the deployment or leaves it.
    """

    at: str
    by: str
    load: Literal["newest", "all"] | Count | tuple[Version, ...] = "newest"
    retired: tuple[Version, ...] = ()
    labels: dict[str, Version] = {}
    traffic: Annotated[dict[str, float], Meta(min_length=1)]
    shadow: Shadowing | None = None
    inputs: Policy = Policy()
    decision: Decision | None = None

    def state(self) -> tuple[object, ...]:
        """All of it but time, author and decision: records with equal states serve the same."""
        return (self.load, self.retired, self.labels, self.traffic, self.shadow, self.inputs)

    def answers(self) -> tuple[object, ...]:
        """The part that decides over plain requests: the versions that answer them, and the shadow."""
        return (self.traffic, self.shadow)

    def serving(self) -> Serving:
        """A serving.toml that asks for exactly this, whatever the newest version is by then."""
        stable = {str(self.labels[STABLE]): 1.0} if STABLE in self.labels else {}
        return Serving(
            load=self.load,
            retired=self.retired,
            labels=self.labels,
            traffic={} if self.traffic == stable else self.traffic,
            shadow=self.shadow,
            inputs=self.inputs,
        )


def read(folder: Path) -> list[Record]:
    """The records of a model, oldest first; OSError where there is a history that cannot be read."""
    try:
        with opened(folder / FILE) as file:
            return _records(file.read())
    except FileNotFoundError:
        return []


def append(folder: Path, record: Record, wait: bool = True) -> bool:
    """Add a record unless it says the same as the last one and no decision; returns whether it was added.

    Raises:
        BlockingIOError: Another program has locked the file, and ``wait`` is false.
        OSError: The record cannot be written; no part of it is left in the file.
    """
    with _locked(folder / FILE, wait) as file:
        lines = _content(file)
        records = (record for line in reversed(lines.split(b"\n")) for record in _decoded(line))
        last = next(records, None)
        if record.decision is None and last is not None and last.state() == record.state():
            return False
        # If a writer was killed, the last line may lack its line end.
        start = b"\n" if lines and not lines.endswith(b"\n") else b""
        _write(file, start + msgspec.json.encode(record) + b"\n", len(lines))
        return True


def withdraw(folder: Path, record: Record, wait: bool = True) -> None:
    """Take back a record that was just appended, if it still is the last one; OSError as in append."""
    with _locked(folder / FILE, wait) as file:
        lines, line = _content(file), msgspec.json.encode(record) + b"\n"
        if lines.endswith(line):
            os.ftruncate(file, len(lines) - len(line))


def previous(records: Sequence[Record]) -> Record | None:
    """The target of a rollback: the newest record with other answers to plain requests than the last one.

    Records that a rollback has left behind are skipped, so that each rollback goes a step further back. The
    shares of traffic that a judge gives to a challenger one after the other are one step.
    """
    steps: list[Record] = []
    for record in records:
        if record.by == ROLLBACK and any(step.answers() == record.answers() for step in steps):
            while steps[-1].answers() != record.answers():
                steps.pop()
        if not steps or (steps[-1].answers() != record.answers() and not _continues(steps[-1], record)):
            steps.append(record)
        else:
            steps[-1] = record
    return steps[-2] if len(steps) > 1 else None


def _continues(earlier: Record, record: Record) -> bool:
    """Whether a judge goes on with a challenger that has some traffic already."""
    before, now = earlier.decision, record.decision
    return before is not None and now is not None and before.weight > 0 and before.files == now.files


def _records(lines: bytes) -> list[Record]:
    return [record for line in lines.split(b"\n") for record in _decoded(line)]


def _decoded(line: bytes) -> list[Record]:
    """The record of a line; none where the line is cut off, or is no record."""
    try:
        record = msgspec.json.decode(line, type=Record)
        serving.check(record.serving())
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ServingError):
        return []
    return [record]


@contextlib.contextmanager
def alone(folder: Path, wait: bool = True) -> Iterator[bool]:
    """Hold the lock of a model's folder: one program changes it at a time.

    append() and withdraw() may be called within. Yields False where another program holds the lock and
    ``wait`` is false. Raises OSError where the folder cannot be written to.
    """
    file = _open(folder / LOCK)
    try:
        yield _lock(file, wait)
    finally:
        os.close(file)


def hand_over(file: int, like: Path) -> None:
    """Give a new file the owner of ``like``, if this process may do that."""
    with contextlib.suppress(OSError):
        owner = like.stat()
        os.fchown(file, owner.st_uid, owner.st_gid)


@contextlib.contextmanager
def _locked(path: Path, wait: bool) -> Iterator[int]:
    file = _open(path)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(errno.EINVAL, "it is not a file", str(path))
        if not _lock(file, wait):
            raise BlockingIOError(errno.EAGAIN, "another program has locked it", str(path))
        yield file
    finally:
        os.close(file)


def _open(path: Path) -> int:
    """A file to append to. A new one gets its folder's owner: commands of root must not lock out a server."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | OPENING
    try:
        file = os.open(path, flags | os.O_EXCL, 0o666)
    except FileExistsError:
        return os.open(path, flags, 0o666)
    hand_over(file, path.parent)
    return file


def _lock(file: int, wait: bool) -> bool:
    """Lock an open file until it is closed; False where another program holds the lock."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True


def _content(file: int) -> bytes:
    return os.pread(file, os.fstat(file).st_size, 0)


def _write(file: int, line: bytes, size: int) -> None:
    """Append a line to a file of ``size`` bytes; where that fails, cut the file back to that size."""
    try:
        while line:
            line = line[os.write(file, line) :]
        os.fsync(file)
    except BaseException:
        os.ftruncate(file, size)
        raise
