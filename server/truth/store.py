"""The truth that is kept beside the payload log, by the date on which it was reported.

    <log_folder>/<model>/truth/date=2026-05-01/<token>-<worker>.jsonl
    {"id":"7f3kq2ma-0-1832","truth":"setosa","at":"...","received":"2026-05-01T12:00:00.123456+00:00"}

``truth`` is a label, a number or a list of numbers (values.py). ``at`` is left out where the client did not
say when it became known. Each request is one write of whole lines to a file that no other process writes to.
The process that writes the payload log removes old dates (payloads/retention.py); room.py bounds the bytes.
"""

import errno
import logging
import os
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

from unpickled.server.errors import BodyTooLarge, MalformedJSON, TruthNotStored
from unpickled.server.message import strict
from unpickled.server.message.answer import dumps
from unpickled.server.truth.room import Room

logger = logging.getLogger("unpickled")

_FOLDER, _DATE = "truth", "date="


class Kept(NamedTuple):
    """The truth of one row, as it was reported.

    id: of the row, as the payload log has it: with the number of the row, without a colon.
    truth: a label, a number or a list of numbers.
    at: when it became known, in UTC by ISO 8601; "" where the client did not say.
    received: when the server got it.
    """

    id: str
    truth: Any
    at: str
    received: str


class Store:
    """Appends what one process has taken.

    Args:
        folder: The setting log_folder.
        name: Tells this process from all others, of other servers as well.
        keep: The setting log_keep_bytes.
    """

    def __init__(self, folder: str, name: str, keep: int) -> None:
        self._folder = Path(folder)
        self._room = Room(self._folder, f"*/{_FOLDER}/{_DATE}*/*.jsonl", keep)
        self._name = name
        self._lock = threading.Lock()

    def add(self, model: str, lines: Sequence[Kept], remembered: bool = True) -> None:
        """Store all of these lines, or raise TruthNotStored and store none.

        ``remembered`` says that each is about a prediction which the server knows.
        """
        if not lines:
            return
        content = b"".join(dumps(_members(line)) + b"\n" for line in lines)
        date = lines[0].received[:10]
        path = self._folder / model / _FOLDER / f"{_DATE}{date}" / f"{self._name}.jsonl"
        with self._lock:
            self._room.check(len(content), remembered)
            try:
                # A folder that the server makes is its user's alone; of another one, files follow its mode.
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                path.parent.mkdir(parents=True, exist_ok=True)
                _append(path, content, 0o600 | (self._folder.stat().st_mode & 0o044))
            except OSError as error:
                raise TruthNotStored(
                    f"the truth cannot be written to log_folder ({error.strerror}), and none of this request "
                    "counts: send it again once the disk is mended",
                    headers={"Retry-After": "10"},
                ) from error
            self._room.take(len(content))


def read(folder: str | Path, model: str, since: datetime | None = None) -> Iterator[Kept]:
    """The truth that was reported for a model from the date of ``since`` on, the earliest first.

    A row may be there more than once, as what is not remembered is stored as it comes. A line that is
    damaged, as one may be after a crash of the machine, is left out and logged.
    """
    first = "" if since is None else since.astimezone(UTC).date().isoformat()
    for day in sorted(Path(folder, model, _FOLDER).glob(f"{_DATE}*")):
        if day.name.removeprefix(_DATE) < first:
            continue
        lines = [line for path in sorted(day.glob("*.jsonl")) for line in _lines(path)]
        yield from sorted(lines, key=lambda line: line.received)


def _members(line: Kept) -> dict[str, Any]:
    members = line._asdict()
    if not line.at:
        del members["at"]
    return members


def _append(path: Path, content: bytes, mode: int) -> None:
    """Write lines to the end of a file, all of them or none; a new file has this mode."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, mode), "a+b", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        if end and os.pread(file.fileno(), 1, end - 1) != b"\n":
            # A process was killed while it wrote: its half of a line stays alone.
            content = b"\n" + content
        try:
            if file.write(content) < len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            file.truncate(end)
            raise


def _lines(path: Path) -> Iterator[Kept]:
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return  # its date was just removed
    except IsADirectoryError:
        logger.warning("%s is a folder, and left out", path)
        return
    with closing(file):
        for number, content in enumerate(file, start=1):
            line = _read(content)
            if line is None:
                logger.warning("line %d of %s is damaged, and left out", number, path)
            else:
                yield line


def _read(content: bytes) -> Kept | None:
    """The report in a line; None where that is damaged."""
    try:
        document = strict.parse(content)
        line = Kept(document["id"], document["truth"], document.get("at", ""), document["received"])
    except (MalformedJSON, BodyTooLarge, KeyError, TypeError, AttributeError):
        return None
    is_text = all(isinstance(text, str) for text in (line.id, line.at, line.received))
    return line if is_text else None


def forget(folder: str | Path, model: str, ids: Collection[str]) -> int:
    """Take the truth of these rows out; how many lines that was. Raises OSError.

    Such lines become spaces where they are, around those that stay: a server may append meanwhile.
    """
    count = 0
    for path in Path(folder, model, _FOLDER).glob(f"{_DATE}*/*.jsonl"):
        # Retention may be faster, and a folder is no file of truth.
        with suppress(FileNotFoundError, IsADirectoryError), path.open("r+b") as file:
            lines = file.readlines()
            starts = [0, *accumulate(map(len, lines))]
            gone = [number for number, line in enumerate(lines) if _id(line) in ids]
            if len(gone) == len(lines) and path.stat().st_size == starts[-1]:
                path.unlink()
            for place, number in enumerate(gone):
                _blank(file.fileno(), starts[number], lines[number], is_first=place == number)
            count += len(gone)
    return count


def _id(content: bytes) -> str:
    try:
        return str(strict.parse(content)["id"])
    except (MalformedJSON, BodyTooLarge, KeyError, TypeError):
        return ""


def _blank(descriptor: int, start: int, line: bytes, is_first: bool) -> None:
    """Make a line spaces at the end of the one before it, or the first lines at the beginning of the next."""
    if is_first:
        os.pwrite(descriptor, b" " * len(line), start)
    else:
        os.pwrite(descriptor, b" " * (1 + len(line.rstrip(b"\n"))), start - 1)
    os.fsync(descriptor)
