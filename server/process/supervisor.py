"""The main process: it starts the workers, replaces those that end or hang, and ends them all.

It has one thread and one loop, which waits for signals, for the end of workers and for whatever else is
registered with its selector. So nothing can be held by another thread at the moment of a fork, and no wake-up
is lost.

    serving ── SIGTERM ──> draining ── drain_delay, or a second signal ──> ending ── all have ended ──>
       └────── SIGINT ─────────────────────────────────────────────────────┘
"""

import logging
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable
from enum import Enum
from multiprocessing.process import BaseProcess

from unpickled.server.config import Listening
from unpickled.server.observe import tally
from unpickled.server.observe.counters import Block
from unpickled.server.process.heartbeat import Heartbeat
from unpickled.server.process.orders import DRAIN, SCAN
from unpickled.server.process.place import Place, Report, cause, is_crash
from unpickled.server.process.quarantine import Quarantine
from unpickled.server.process.renewal import Renewal, send
from unpickled.server.process.signals import Signals, held
from unpickled.server.process.start import Start

logger = logging.getLogger("unpickled")

_END = (signal.SIGTERM, signal.SIGINT)
# A worker begins with these held back, until its thread for orders takes them.
_ORDERS = (*_END, SCAN, DRAIN)
# Seconds between two looks for signs of life.
_PERIOD = 0.5
# A worker that ends so often before the server has ever answered ends the server.
_MOST_STARTS = 2


class Phase(Enum):
    """The life of a server."""

    SERVING = "serving"
    DRAINING = "draining"
    ENDING = "ending"


class Supervisor:
    """Keeps ``listening.workers`` workers alive until it is told to end.

    Args:
        listening: How many workers there are, and for how long they may be silent, drain and end.
        spawn: The process of the worker that writes to a slot of shared memory, not yet started. There are
            twice as many slots as workers.
        heartbeat: Where the workers show that they run.
        start: Whether a worker could start.
        quarantine: Takes note of the requests that were under way at a crash.
        block: Counts the workers that end by themselves.

    Attributes:
        selector: Waits; the data of each key is called once its file is ready.
        places: The workers.
        phase: Whether the server serves, drains or ends.
        chores: Called at each look for signs of life, while the server serves.
        renewal: Replaces the workers one by one.
    """

    def __init__(
        self,
        listening: Listening,
        spawn: Callable[[int], BaseProcess],
        heartbeat: Heartbeat,
        start: Start,
        quarantine: Quarantine,
        block: Block,
    ) -> None:
        self.selector = selectors.DefaultSelector()
        self.phase = Phase.SERVING
        self.places = [
            Place(index, listening.workers, heartbeat, listening.hang_timeout)
            for index in range(listening.workers)
        ]
        self.chores: list[Callable[[], None]] = []
        self.renewal = Renewal(
            self.places, self._started, heartbeat, listening.drain_delay, listening.shutdown_timeout
        )
        self._listening = listening
        self._spawn = spawn
        self._heartbeat = heartbeat
        self._start = start
        self._quarantine = quarantine
        self._block = block
        self._signals = Signals()
        self._looked = time.monotonic()
        # time.monotonic() at which draining, or ending, is over.
        self._deadline = 0.0
        self._failed = False
        self._on_end: Callable[[], None] = lambda: None

    def run(self, on_end: Callable[[], None]) -> bool:
        """Serve until a signal ends the server; False where no worker could start.

        ``on_end`` is called before the workers are told to end.
        """
        self._on_end = on_end
        # A fork inherits descriptors; a process that is spawned does not.
        os.register_at_fork(after_in_child=self._forget)
        self.selector.register(self._signals, selectors.EVENT_READ, lambda events: None)
        self._signals.follow(*_END, SCAN, signal.SIGCHLD)
        while True:
            self._turn(time.monotonic())
            if self.phase is not Phase.SERVING and not self._processes():
                return not self._failed
            for key, events in self.selector.select(self._wait()):
                _attempt(key.data, events)

    def reports(self) -> list[Report]:
        """How each worker is."""
        now = time.monotonic()
        return [place.report(now) for place in self.places]

    def _turn(self, now: float) -> None:
        for number in self._signals.take():
            self._obey(number, now)
        for place in self.places:
            if place.process is not None and place.process.exitcode is not None:
                self._replace(place, place.process.exitcode, now)
        self.renewal.reap(now)
        if self.phase is Phase.SERVING:
            self._look(now)
            self.renewal.go_on(now)
            for place in self.places:
                if place.process is None and place.due <= now:
                    self._fill(place, now)
        elif now >= self._deadline:
            self._hurry(now)

    def _wait(self) -> float:
        """Seconds for which nothing has to be done, unless something comes."""
        now = time.monotonic()
        if self.phase is Phase.SERVING:
            times = [self._looked + _PERIOD, *(place.due for place in self.places if place.process is None)]
        else:
            times = [self._deadline]
        return max(0.0, min(times) - now)

    def _obey(self, number: int, now: float) -> None:
        if number == SCAN:
            self._order(SCAN)
        elif number in _END and self.phase is Phase.SERVING:
            self.phase, self._deadline = Phase.DRAINING, now
            if number == signal.SIGTERM and self._listening.drain_delay:
                self._order(DRAIN)
                self._deadline += self._listening.drain_delay
        elif number in _END and self.phase is Phase.DRAINING:
            self._deadline = now

    def _hurry(self, now: float) -> None:
        """Go on to the next phase: tell the workers to end or, if they have not, kill them."""
        if self.phase is Phase.DRAINING:
            self.phase, self._deadline = Phase.ENDING, now + self._listening.shutdown_timeout
            self._on_end()
            self._order(signal.SIGTERM)
            return
        for process in self._processes():
            logger.warning("worker process %d has not ended in time, and is killed", process.pid)
        self._order(signal.SIGKILL)
        self._deadline = now + _PERIOD

    def _processes(self) -> list[BaseProcess]:
        """All workers, those that come and go included."""
        return [*(place.process for place in self.places if place.process), *self.renewal.processes()]

    def _order(self, number: signal.Signals) -> None:
        for process in self._processes():
            send(process, number)

    def _look(self, now: float) -> None:
        """Kill workers that give no sign of life."""
        if now < self._looked + _PERIOD:
            return
        # One look stands for little more than its period, however long this process was stopped.
        seconds, self._looked = min(now - self._looked, 2 * _PERIOD), now
        tally.set_waiting(self._block, sum(place.process is None for place in self.places))
        for place in self.places:
            if place.listen(seconds) and not place.hung:
                timeout = self._listening.hang_timeout
                logger.error("%s gives no sign of life for %d s: it is killed", place.name, timeout)
                place.hung = True
                send(place.process, signal.SIGKILL)
            elif place.worn:
                self.renewal.add(place)
        for chore in self.chores:
            _attempt(chore)

    def _fill(self, place: Place, now: float) -> None:
        try:
            process = self._started(place.slot)
        except OSError as error:
            pause = place.empty(now)
            logger.error(
                "worker %d cannot be started (%s): again in %g s", place.index + 1, error.strerror, pause
            )
            return
        place.fill(process, now)

    def _started(self, slot: int) -> BaseProcess:
        """A new worker that writes to a slot; OSError where it cannot be started."""
        self._heartbeat.reset(slot)
        with held(*_ORDERS):
            process = self._spawn(slot)
            process.start()
        return process

    def _replace(self, place: Place, status: int, now: float) -> None:
        """Note that a worker has ended; unless the server ends, another one is due after a pause."""
        name, reason = place.name, "hung" if place.hung else cause(status)
        pause = place.empty(now)
        if self.phase is not Phase.SERVING or self._start.failed:
            return
        tally.worker_exited(self._block, reason)
        if is_crash(reason):
            for digest in self._quarantine.crashed(place.slot):
                logger.error(
                    "request %s was under way at each crash: it is refused for an hour", digest.hex()
                )
        if not self._start.announced and place.failures >= _MOST_STARTS:
            logger.error("%s ended (%s) before it could serve: the server ends", name, reason)
            self._failed = True
            self.phase, self._deadline = Phase.DRAINING, now
            return
        when = f"in {pause:g} s" if pause else "now"
        logger.error("%s ended (%s): it is replaced %s", name, reason, when)

    def _forget(self) -> None:
        """Close the descriptors of the main process in a worker."""
        self._signals.forget()
        for key in [*(self.selector.get_map() or {}).values()]:
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        self.selector.close()


def _attempt(function: Callable[..., object], *arguments: object) -> None:
    """Call a function whose failure must not end the server."""
    try:
        function(*arguments)
    except Exception:
        logger.exception("a failure in the main process; the workers go on")
