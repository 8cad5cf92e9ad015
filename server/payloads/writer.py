"""The process that writes the payload log: a program of its own, which inherits only memory.

    python -m unpickled.server.payloads.writer <task as JSON>

Its main process starts it with the signals held back that end a server: it ends after the workers.

It moves rows from the rings into journals some times a second, and makes parts of them. It takes little of
the processor while requests need it. Its standard input tells it to end: by a line once the workers have
ended, or by its end if the main process was killed.
"""

import contextlib
import gc
import logging
import logging.config
import os
import select
import sys
import time
from pathlib import Path

from unpickled.server.observe import log as lines
from unpickled.server.observe.counters import Memory
from unpickled.server.observe.logged import BYTES, FAILING, FAILURES, LAST, WAITING
from unpickled.server.payloads import claim
from unpickled.server.payloads.finisher import Finisher
from unpickled.server.payloads.journals import Journals
from unpickled.server.payloads.pauses import Pauses
from unpickled.server.payloads.ring import Rings
from unpickled.server.payloads.task import KEY, Task

logger = logging.getLogger("unpickled")

_NICE = 19
# Seconds between two looks at the rings; after a look that found more than so many bytes, a shorter time.
_PAUSE, _SOON, _MANY = 0.2, 0.02, 256 * 1024
# Seconds that workers have to end without their main process.
_ORPHANED = 10.0


class Writer:
    """Writes the payload log of one server until it is told to end.

    ``orders`` is the descriptor that tells it, and ``key`` the key of hashes; None where nothing is hashed.
    """

    def __init__(self, task: Task, orders: int, key: bytes | None) -> None:
        self._task = task
        self._orders = orders
        self._memory = Memory.attached(task.memory, task.blocks, task.token)
        block = self._memory.reserve_for_writer()
        self._failing = block.series((FAILING,), 1, gauge=True)
        self._block = block
        self._waiting = block.series((WAITING,), 1, gauge=True)
        self._bytes = block.series((BYTES,), 1)
        self._failures = block.series((FAILURES,), 1)
        self._pauses = Pauses("written")
        self._finisher = Finisher(task.log, task.claim_token, block)
        self._counted = 0
        self._journals = Journals(
            task.log,
            task.claim_token,
            Rings.inherited(task.rings, task.size),
            block,
            key,
            self._finisher.add,
        )

    def run(self) -> None:
        """Write until the server has ended."""
        self._finisher.start()
        pause = 0.0
        while not self._is_told(pause):
            pause = max(self._pauses.seconds, _SOON if self._move() > _MANY else _PAUSE)
        self._end(time.monotonic() + self._task.seconds)

    def _move(self) -> int:
        """Move what is in the rings to the disk; how many bytes."""
        try:
            self._finisher.check_room()
            length = self._journals.write()
            self._journals.rotate()
        except OSError as error:
            self._failures[0] += 1.0
            self._pauses.failed(error)
            length = 0
        else:
            self._pauses.worked()
        self._tell()
        if length:
            self._bytes[0] += length
            # Not before the first row.
            self._block.series((LAST,), 1, gauge=True)[0] = time.time()
        self._waiting[0] = float(self._journals.waiting)
        return length

    def _tell(self) -> None:
        """Tell whether the disk fails: this thread, which writes journals, or the one that finishes them."""
        self._failing[0] = float(self._pauses.seconds > 0 or self._finisher.is_failing)
        failures = self._finisher.failures
        self._failures[0] += failures - self._counted
        self._counted = failures

    def _is_told(self, seconds: float) -> bool:
        """Wait, and return whether it is time to end: the workers put no more rows."""
        ready, _, _ = select.select([self._orders], [], [], seconds)
        if not ready:
            return False
        if not os.read(self._orders, 1):
            # The main process was killed. Its workers notice, and end.
            until = time.monotonic() + _ORPHANED
            while self._memory.workers() and time.monotonic() < until:
                self._move()
                time.sleep(_PAUSE)
        return True

    def _end(self, until: float) -> None:
        """Write what is left."""
        while (self._move() or self._journals.waiting) and time.monotonic() < until:
            time.sleep(self._pauses.seconds)
        with contextlib.suppress(OSError):
            self._journals.rotate(everything=True)
        left, bytes_left = self._finisher.end(until), self._journals.waiting
        if not left:
            claim.give_up(Path(self._task.log.log_folder), self._task.claim_token)
        else:
            logger.error("journals of the payload log (%d) are left for the next server to finish", left)
        if bytes_left:
            logger.error("rows of the payload log (%d bytes) could not be written, and are lost", bytes_left)


def main(arguments: list[str]) -> int:
    """Do the task; returns the exit status."""
    task = Task.read(arguments[0])
    logging.config.dictConfig(lines.settings(task.log_level))
    # Rows come and go by the ten thousands, and none of them is part of a cycle.
    gc.set_threshold(100_000, 50, 1000)
    with contextlib.suppress(OSError):
        os.nice(_NICE)
    orders = sys.stdin.fileno()
    Writer(task, orders, _key(orders)).run()
    return 0


def _key(orders: int) -> bytes | None:
    """The key of hashes, which comes before all orders."""
    with open(orders, "rb", buffering=0, closefd=False) as file:
        length = KEY.unpack(file.read(KEY.size).ljust(KEY.size, b"\0"))[0]
        key = b""
        while len(key) < length and (more := file.read(length - len(key))):
            key += more
    return key or None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
