"""The attendant of the process that writes the payload log: it starts, replaces and ends it."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from contextlib import suppress

from unpickled.server.config import Config
from unpickled.server.observe.counters import Block, Memory
from unpickled.server.observe.logged import ALIVE, EXITS
from unpickled.server.payloads.task import KEY, Task
from unpickled.server.payloads.transport import Transport

logger = logging.getLogger("unpickled")

# Seconds between the end of a writer and the start of the next, as it ends again and again.
_PAUSES = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
# One that has lived so long, in seconds, was no failure.
_SOUND = 60.0
# Signals that a terminal or a service manager sends to the whole group.
_OF_GROUPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Seconds between two looks of a process that has no others.
_PERIOD = 0.5
_PROGRAM = "unpickled.server.payloads.writer"


class Attendant:
    """Keeps one writer alive.

    Args:
        config: The settings.
        transport: The rings and the claim, which the writer inherits.
        memory: The counters, some of which are the writer's.
        block: Counts the writers that end by themselves.
    """

    def __init__(self, config: Config, transport: Transport, memory: Memory, block: Block) -> None:
        # Their descriptors are open for as long as they are held.
        self._held = transport, memory
        rings, claim, key = transport
        self._first = KEY.pack(len(key or b"")) + (key or b"")
        self._seconds = config.listening.shutdown_timeout
        self._task = Task(
            log=config.log,
            log_level=config.observing.log_level,
            rings=rings.descriptor,
            size=rings.size,
            memory=memory.descriptor,
            blocks=memory.blocks,
            token=memory.token,
            claim=claim.descriptor,
            claim_token=claim.token,
            seconds=self._seconds,
        )
        self._alive = block.series((ALIVE,), 1, gauge=True)
        self._exits = block.series((EXITS,), 1)
        self._process: subprocess.Popen[bytes] | None = None
        self._born = self._due = 0.0
        self._failures = 0
        self._lock = threading.Lock()
        self._is_over = False

    @property
    def pid(self) -> int | None:
        """The process id of the writer; None while there is none."""
        return None if self._process is None else self._process.pid

    def look(self) -> None:
        """Start the writer where there is none, and it is due."""
        with self._lock:
            if not self._is_over:
                self._look(time.monotonic())

    def stay(self, owner: object) -> None:
        """Look again and again in a thread, until an object is released or this process ends; then finish."""
        self.look()
        ended = threading.Event()
        threading.Thread(target=_look_on, args=(self, ended), name="attendant", daemon=True).start()
        weakref.finalize(owner, _finish, self, ended, os.getpid())

    def finish(self) -> None:
        """Have the writer write what is left, once the workers have ended, and end; bounded in time."""
        with self._lock:
            self._due = 0.0
            # Once more, if it has ended just now, or if the server ended before the first look.
            if self._born or self._is_waited_for:
                self._look(time.monotonic())
            self._is_over = True
            process, self._process = self._process, None
        if process is not None:
            self._end(process)

    @property
    def _is_waited_for(self) -> bool:
        """Whether rows wait for the writer."""
        rings = self._held[0].rings
        return any(rings.ring(number).waiting for number in range(rings.places))

    def _look(self, now: float) -> None:
        if self._process is not None and self._process.poll() is not None:
            self._replace(self._process.returncode, now)
        if self._process is None and self._due <= now:
            self._start(now)
        self._alive[0] = float(self._process is not None)

    def _end(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdin is not None
        with suppress(OSError):
            process.stdin.write(b".")
        with suppress(OSError):
            process.stdin.close()
        try:
            process.wait(self._seconds + 1.0)
        except subprocess.TimeoutExpired:
            logger.error("the payload log is not written in time: the next server finishes its journals")
            process.kill()
            process.wait()

    def _start(self, now: float) -> None:
        # -P: a file that happens to lie where the server was started is no module of this program.
        command = [sys.executable, "-P", "-m", _PROGRAM, self._task.text()]
        descriptors = (self._task.rings, self._task.memory, self._task.claim)
        # The writer begins with these held back, and keeps them so: a signal to the whole group may come at
        # any moment, and rows of the workers after it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _OF_GROUPS)
        try:
            self._process = subprocess.Popen(
                command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, pass_fds=descriptors
            )
            self._born = now
            assert self._process.stdin is not None
            self._process.stdin.write(self._first)
        except OSError as error:
            self._wait(now)
            logger.error("the process that writes the payload log cannot be started: %s", error.strerror)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _replace(self, status: int, now: float) -> None:
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            process.stdin.close()
        self._exits[0] += 1.0
        if now - self._born >= _SOUND:
            self._failures = 0
        self._wait(now)
        logger.error(
            "the process that writes the payload log ended (status %d): rows wait for the next one", status
        )

    def _wait(self, now: float) -> None:
        self._due = now + _PAUSES[min(self._failures, len(_PAUSES) - 1)]
        self._failures += 1


def _look_on(attendant: Attendant, ended: threading.Event) -> None:
    while not ended.wait(_PERIOD):
        attendant.look()


def _finish(attendant: Attendant, ended: threading.Event, owner: int) -> None:
    ended.set()
    # A process that was forked off has no writer.
    if os.getpid() == owner:
        attendant.finish()
