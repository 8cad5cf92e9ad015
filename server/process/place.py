"""The place of one worker: the process that fills it, or the pause before the next one."""

import signal
from multiprocessing.process import BaseProcess
from typing import Literal

from msgspec import Struct

from unpickled.server.process.heartbeat import Heartbeat, State

# Seconds between the end of a worker and the start of the next one, as it ends again and again.
PAUSES = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
# A worker that has lived so long, in seconds, was no failure.
_SOUND = 60.0
# The share of ``hang_timeout`` after which a silent worker counts as one that hangs.
_SILENT = 1 / 3

_STATES: dict[State, Literal["starting", "ready", "not ready", "draining"]] = {
    State.STARTING: "starting",
    State.READY: "ready",
    State.NOT_READY: "not ready",
    State.DRAINING: "draining",
}


class Report(Struct, frozen=True, kw_only=True):
    """One worker, as the admin port tells it.

    ``pid`` is null while it waits to be started, ``starts_in`` the seconds until then. ``restarts`` is how
    often the place was filled again.
    """

    worker: int
    pid: int | None
    state: Literal["starting", "ready", "not ready", "draining", "hung", "waiting"]
    restarts: int
    starts_in: float | None


class Place:
    """The place of the worker at ``index``.

    Attributes:
        process: The worker; None while the place waits for one.
        slot: The part of shared memory that the worker writes.
        other: The same of one that takes over from it.
        due: time.monotonic() at which the next worker starts.
        hung: Whether the worker was killed because it gave no sign of life.
        restarts: How often the place was filled again.
    """

    def __init__(self, index: int, workers: int, heartbeat: Heartbeat, hang_timeout: float) -> None:
        self.index = index
        self.slot, self.other = index, index + workers
        self.process: BaseProcess | None = None
        self.due = 0.0
        self.hung = False
        self.restarts = -1
        self._heartbeat = heartbeat
        self._hang_timeout = hang_timeout
        self._failures = 0
        self._born = 0.0
        self._beats = 0
        self._silent = 0.0

    @property
    def name(self) -> str:
        """The worker, as the log names it."""
        process = "" if self.process is None else f" (process {self.process.pid})"
        return f"worker {self.index + 1}{process}"

    def fill(self, process: BaseProcess, now: float) -> None:
        """Begin with a process that has just been started."""
        self.process, self.hung = process, False
        self.restarts += 1
        self._born, self._beats, self._silent = now, 0, 0.0

    def succeed(self, process: BaseProcess, now: float) -> BaseProcess | None:
        """Go on with a process that writes to the other slot; the one before, which still runs."""
        before = self.process
        self.slot, self.other = self.other, self.slot
        self.fill(process, now)
        return before

    def empty(self, now: float) -> float:
        """End with the process, or with one that could not be started; the seconds until the next one."""
        if self.process is not None and now - self._born >= _SOUND:
            self._failures = 0
        pause = PAUSES[min(self._failures, len(PAUSES) - 1)]
        self._failures += 1
        if self.process is not None:
            self.process.close()
        self.process, self.due = None, now + pause
        return pause

    @property
    def failures(self) -> int:
        """How often, one soon after the other, the worker has ended by now."""
        return self._failures

    def listen(self, seconds: float) -> bool:
        """Look for a sign of life, ``seconds`` after the last look; whether the worker hangs.

        The seconds are those that the main process has lived through: a machine that was asleep, or a
        container that was paused, makes no worker hang.
        """
        beats = self._heartbeat.beats(self.slot)
        if self.process is None or beats == 0 or beats != self._beats:
            self._beats, self._silent = beats, 0.0
        else:
            self._silent += seconds
        return self._silent >= self._hang_timeout

    @property
    def worn(self) -> bool:
        """Whether the worker asks for another one in its place."""
        return self.process is not None and self._heartbeat.worn(self.slot)

    @property
    def silent(self) -> bool:
        """Whether the worker should have given a sign of life for some time."""
        return self._silent >= self._hang_timeout * _SILENT

    @property
    def lives(self) -> bool:
        """Whether the worker runs, or starts."""
        return self.process is not None and not self.silent

    def report(self, now: float) -> Report:
        """The worker, as the admin port tells it."""
        state = self._heartbeat.state(self.slot)
        if state is State.READY and not self._heartbeat.listens(self.slot):
            # Its models are loaded, and its port still refuses connections.
            state = State.STARTING
        return Report(
            worker=self.index + 1,
            pid=None if self.process is None else self.process.pid,
            state="waiting" if self.process is None else "hung" if self.silent else _STATES[state],
            restarts=max(self.restarts, 0),
            starts_in=None if self.process else round(max(self.due - now, 0.0), 1),
        )


def is_crash(reason: str) -> bool:
    """Whether a worker with this end was ended by what it did; not by an order, as an operator may send it.

    SIGKILL is the kernel's as well, when memory runs out.
    """
    return reason not in {"status 0", "SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1"}


def cause(status: int) -> str:
    """The end of a process with an exit status of ``multiprocessing``: "SIGKILL", "status 1"."""
    if status >= 0:
        return f"status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:  # a real-time signal
        return f"signal {-status}"
