"""The thread that makes parts of complete journals, and then removes those."""

import errno
import logging
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from unpickled.server.config import Log
from unpickled.server.observe.counters import Block
from unpickled.server.observe.logged import PARTS, UPLOADS
from unpickled.server.payloads import claim, journal, parts, retention
from unpickled.server.payloads.journal import Frames, Unreadable
from unpickled.server.payloads.journals import keep_damaged, of_server, put_aside, remove_unbegun
from unpickled.server.payloads.pauses import Pauses
from unpickled.server.payloads.rows import Unpacker
from unpickled.server.payloads.schema import Cells, Schema
from unpickled.server.payloads.upload import Uploader

logger = logging.getLogger("unpickled")

# Seconds between two looks for journals that other servers have left.
_PERIOD = 60.0
_LOOK = 0.2


class Finisher:
    """Finishes journals one after the other.

    A part has the name of its journal and is whole at once, and the journal is removed after that: a journal
    that is still there, is finished again, and replaces the part by an equal one. Old files are removed also
    while that fails. Journals of one model that fail hold up no others, and one that somebody has removed is
    left out.

    Args:
        log: The folder, what is kept there, and the object store that gets a copy.
        token: That of the server; the journals of others are finished once they have ended.
        block: Counts the parts.

    Attributes:
        failures: Attempts to finish a journal that failed.
    """

    def __init__(self, log: Log, token: str, block: Block) -> None:
        self._log = log
        self._folder = folder = Path(log.log_folder)
        self._uploader = Uploader(folder, log.log_to) if log.log_to else None
        self._uploads = block.series((UPLOADS,), 3)
        self._token = token
        self._parts = block.series((PARTS,), 1)
        self._queue: deque[Path] = deque()
        self._pauses = Pauses("finished")
        # The folder of a model whose journals fail -> time.monotonic() before which none is tried again.
        self._held: dict[Path, float] = {}
        self._device = _device(folder)
        self._ending = threading.Event()
        self._looked = -_PERIOD
        self._left = 0
        # Servers of which no part can be made.
        self._failed: set[str] = set()
        self.failures = 0
        self._fails_own = self._fails_others = self._is_full = False
        self._thread = threading.Thread(target=self._work, name="finisher", daemon=True)

    def start(self) -> None:
        """Finish what is added from now on, and what servers that have ended left."""
        self._thread.start()
        if self._uploader is not None:
            self._uploader.start()

    def add(self, path: Path) -> None:
        """Finish a journal, soon."""
        self._queue.append(path)

    @property
    def is_failing(self) -> bool:
        """Whether journals cannot be finished at present."""
        return self._fails_own or self._fails_others

    def check_room(self) -> None:
        """Raise OSError where journals that cannot be finished have all the bytes that the log may have."""
        if self.is_failing and self._is_full:
            raise OSError(errno.EDQUOT, "journals that cannot be finished have more than log_keep_bytes")

    def end(self, until: float) -> int:
        """Finish and upload what has been added, until a time of time.monotonic(); the journals left."""
        self._ending.set()
        self._thread.join(max(0.0, until - time.monotonic()))
        if self._uploader is not None:
            self._uploader.close(max(0.0, until - time.monotonic()))
        return self._left + len(self._queue)

    def _work(self) -> None:
        if parts.form() == "parquet":
            # pyarrow takes a second to import, or ten beside much work: too long for the end of a server.
            parts.reader(Path("a.parquet"))
        while True:
            # First this: a journal may be added just before the end.
            is_ending = self._ending.is_set()
            path = self._due(is_ending)
            if path is not None:
                self._next(path, is_ending)
            elif is_ending:
                break
            else:
                self._look(time.monotonic())
                self._ending.wait(_LOOK)
        if self._uploader is not None:
            self._uploader.attempt()
            self._publish(self._uploader)

    def _look(self, now: float) -> None:
        """Now and then, finish what other servers have left, and remove what need not be kept."""
        if self._uploader is not None:
            self._publish(self._uploader)
        if now - self._looked <= _PERIOD:
            return
        self._looked = now
        log = self._log
        try:
            # First this: it may make the room that finishing needs.
            retention.sweep(self._folder, log.log_keep_days, log.log_keep_bytes, uploads=bool(log.log_to))
            self._adopt()
        except Exception:
            logger.exception("old files of the payload log are not looked after this time")

    def _publish(self, uploader: Uploader) -> None:
        self._uploads[0], self._uploads[1] = float(uploader.files), float(uploader.failures)
        self._uploads[2] = float(uploader.waiting)

    def work_off(self) -> None:
        """Finish what has been added, in this thread; an OSError ends it."""
        while self._queue:
            self._finish(self._queue[0])
            self._queue.popleft()

    def _due(self, is_last: bool) -> Path | None:
        """Bring a journal to the front whose model may be tried now; None where there is none."""
        now = time.monotonic()
        # Turned around rather than searched: another thread may append meanwhile.
        for _ in range(len(self._queue)):
            if is_last or self._held.get(_home(self._queue[0]), now) <= now:
                return self._queue[0]
            self._queue.rotate(-1)
        return None

    def _next(self, path: Path, is_last: bool) -> None:
        """Finish the first journal, or hold back those of its model; at the end, for the next server."""
        is_sound = True
        try:
            self._finish(path)
        except OSError as error:
            self._pauses.failed(error)
            self._note_failure()
            self._fails_own = True
            self._held[_home(path)] = time.monotonic() + self._pauses.seconds
            if is_last:
                self._left += 1
                self._queue.popleft()
            else:
                self._queue.rotate(-1)
            return
        except Exception:
            # A defect, which the next server may not have.
            logger.exception("no part can be made of %s: it stays for the next server", path)
            self._left += 1
            self._note_failure()
            is_sound = False
        self._queue.popleft()
        self._held.pop(_home(path), None)
        if not self._held:
            self._pauses.worked()
            self._fails_own = not is_sound

    def _note_failure(self) -> None:
        self.failures += 1
        self._is_full = retention.unfinished(self._folder) > self._log.log_keep_bytes

    def _adopt(self) -> None:
        """Finish the journals of servers that have ended; those that fail are left, with the claim."""
        fails = False
        for token in claim.tokens(self._folder) - {self._token} - self._failed:
            try:
                with claim.wound_up(self._folder, token) as ended:
                    if ended:
                        self._wind_up(token)
            except OSError as error:
                fails = True
                self._note_failure()
                logger.error("journals of another server cannot be finished now: %s", error)
            except Exception:
                self._failed.add(token)
                self._note_failure()
                logger.exception("journals of another server cannot be finished, and stay for the next one")
        self._fails_others = fails

    def _wind_up(self, token: str) -> None:
        for path in of_server(self._folder, token):
            logger.info("the payload log goes on with what another server has left: %s", path.name)
            self._finish(path)
        remove_unbegun(self._folder, token)

    def _finish(self, path: Path) -> None:
        """Make a part of a journal. Raises OSError."""
        try:
            schema, frames = journal.schema_of(path), Frames(path)
            written = parts.write(self._folder, schema, _cells(schema, frames), path.stem)
        except (OSError, MemoryError) as error:
            if self._is_removed(path):
                logger.error("%s was removed before it was finished: its rows are lost", path)
                return
            raise error if isinstance(error, OSError) else OSError(0, "no memory is left") from error
        except Unreadable as error:
            put_aside(path, error)
            return
        if frames.unreadable:
            keep_damaged(path, frames.unreadable)
        else:
            path.unlink()
        self._parts[0] += len(written)
        if self._uploader is not None:
            self._uploader.wake()

    def _is_removed(self, path: Path) -> bool:
        """Whether a journal is gone, though its disk is there."""
        return not path.exists() and _device(self._folder) == self._device


def _home(path: Path) -> Path:
    """The folder of the model that a journal belongs to."""
    return path.parent.parent


def _device(folder: Path) -> int | None:
    """The disk of a folder; None where there is no such folder."""
    with suppress(FileNotFoundError):
        return folder.stat().st_dev
    return None


def _cells(schema: Schema, frames: Frames) -> Iterator[Cells]:
    unpacker = Unpacker(schema)
    for kept in frames:
        yield from unpacker.cells(kept.payload)
