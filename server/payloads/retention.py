"""Removes files of the payload log and of reported truth that are older, or more, than what is kept."""

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from unpickled.server.payloads import parts, upload
from unpickled.server.payloads.journals import DAMAGED, OPEN

logger = logging.getLogger("unpickled")

_DAY = 86_400.0


class Swept(NamedTuple):
    """The files and bytes that were removed, and how many files stay only as they are not uploaded yet."""

    files: int = 0
    bytes: int = 0
    waiting: int = 0


class _File(NamedTuple):
    """A finished file: ``last`` is a time that none of its rows is later than, in seconds since 1970."""

    path: Path
    last: float
    size: int


def sweep(
    folder: Path,
    keep_days: float,
    keep_bytes: int,
    now: float | None = None,
    uploads: bool = False,
) -> Swept:
    """Remove what need not be kept, the oldest first. Files that are being written are never touched.

    Journals count, too, so that those that cannot be finished do not fill the disk.

    Args:
        folder: That of the payload log.
        keep_days: Days for which finished parts, truth, and damaged journals are kept.
        keep_bytes: Bytes of journals and finished parts that are kept.
        now: Seconds since 1970; by default now.
        uploads: Whether parts are uploaded. One that is not uploaded yet stays, unless those that wait have
            more than ``keep_bytes`` by themselves.

    Returns:
        The removed files. One that cannot be removed is logged, and one that another process has removed
        meanwhile is not counted.
    """
    now = time.time() if now is None else now
    logged = [_File(part.path, _last(part.path, part.day), part.size) for part in parts.find(folder)]
    logged.sort(key=lambda file: file.last)
    oldest, room = now - keep_days * _DAY, max(0, keep_bytes - unfinished(folder))
    doomed = _too_old(logged, oldest)
    doomed |= _too_many(logged, doomed, room)
    waiting = {file for file in doomed if uploads and not upload.is_uploaded(file.path)}
    spared = waiting - _too_many(sorted(waiting, key=lambda file: file.last), set(), room)
    if waiting - spared:
        logger.error(
            "%d files of the payload log are removed though they are not uploaded: they, and journals, have "
            "more bytes than log_keep_bytes",
            len(waiting - spared),
        )
    doomed -= spared
    doomed |= _too_old([*_truth(folder), *_damaged(folder)], oldest)
    removed = [file for file in sorted(doomed, key=lambda file: file.last) if _removed(file.path)]
    _remove_leftovers(folder, now)
    return Swept(len(removed), sum(file.size for file in removed), len(spared))


def unfinished(folder: Path) -> int:
    """Bytes of the journals in a folder, whatever server they belong to, damaged ones among them."""
    return sum(file.size for file in _files(folder, f"*/{OPEN}/*"))


def _damaged(folder: Path) -> Iterator[_File]:
    return _files(folder, f"*/{OPEN}/*{DAMAGED}")


def _files(folder: Path, pattern: str) -> Iterator[_File]:
    """Files that end when they were last written to."""
    for path in folder.glob(pattern):
        with suppress(OSError):
            status = path.stat()
            yield _File(path, status.st_mtime, status.st_size)


def _last(path: Path, day: date) -> float:
    """A file ends with its day, or when it was finished if that was earlier."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
    with suppress(OSError):
        return min(midnight.timestamp(), path.stat().st_mtime)
    return midnight.timestamp()


def _too_old(files: Iterable[_File], before: float) -> set[_File]:
    return {file for file in files if file.last < before}


def _too_many(files: list[_File], gone: set[_File], most: int) -> set[_File]:
    """The oldest files beyond that many bytes."""
    excess = sum(file.size for file in files if file not in gone) - most
    beyond = set()
    for file in files:
        if excess <= 0:
            break
        if file not in gone:
            beyond.add(file)
            excess -= file.size
    return beyond


def _truth(folder: Path) -> Iterator[_File]:
    for path in folder.glob("*/truth/date=*/*"):
        day = parts.day_of(path.parent.name)
        if day is not None and not path.name.startswith("."):
            with suppress(OSError):
                yield _File(path, _last(path, day), path.stat().st_size)


def _removed(path: Path) -> bool:
    """Remove a file, what tells that it is uploaded, and its folder if it is empty then."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        logger.error("%s is to be removed and cannot be: %s", path, error.strerror)
        return False
    upload.forget(path)
    # The folder of today may be about to get a file.
    with suppress(OSError):
        path.parent.rmdir()
    return True


def _remove_leftovers(folder: Path, now: float) -> None:
    """Remove parts that writers which died have left open, a day ago or earlier."""
    for path in folder.glob(f"*/date=*/.*{parts.OPEN}*"):
        with suppress(OSError):
            if path.stat().st_mtime < now - _DAY:
                path.unlink()
