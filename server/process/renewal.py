"""The replacement of workers that are sound, one by one, so that others answer meanwhile."""

import logging
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.process import BaseProcess

from unpickled.server.process.heartbeat import Heartbeat
from unpickled.server.process.orders import DRAIN
from unpickled.server.process.place import Place, cause

logger = logging.getLogger("unpickled")

# Seconds after which a worker that could not take over is started again.
_PAUSE = 5.0


class Renewal:
    """Starts another worker for a place, and ends the one before once the new one takes connections.

    Args:
        places: The workers.
        start: Starts the worker that writes to a slot; OSError where that fails.
        heartbeat: Where the workers show that they listen.
        delay: Seconds for which a worker closes its connections, one by one, before it is told to end.
        timeout: Seconds that it then has to end.
    """

    def __init__(
        self,
        places: Sequence[Place],
        start: Callable[[int], BaseProcess],
        heartbeat: Heartbeat,
        delay: float,
        timeout: float,
    ) -> None:
        self._places = places
        self._start = start
        self._heartbeat = heartbeat
        self._delay = delay
        self._timeout = timeout
        # Places that are to be renewed; the first of them may have a successor.
        self._waiting: list[Place] = []
        self._successor: BaseProcess | None = None
        # A process that leaves, the signals that it still gets, and the time.monotonic() of the next one.
        self._leaving: BaseProcess | None = None
        self._orders: list[signal.Signals] = []
        self._due = 0.0

    def begin(self) -> None:
        """Replace every worker, also those that are just being replaced."""
        self._waiting = [*(self._waiting[:1] if self._successor else []), *self._places]

    def add(self, place: Place) -> None:
        """Replace one worker, unless that is about to happen."""
        if place not in self._waiting:
            self._waiting.append(place)

    def processes(self) -> Iterator[BaseProcess]:
        """The workers that come and go."""
        return (process for process in (self._successor, self._leaving) if process is not None)

    def reap(self, now: float) -> None:
        """Take note of the ends of workers that come or go."""
        if self._leaving is not None and self._leaving.exitcode is not None:
            self._leaving.close()
            self._leaving, self._due = None, now
        if self._successor is not None and self._successor.exitcode is not None:
            reason, place = cause(self._successor.exitcode), self._waiting[0]
            logger.error("a new process for %s ended (%s): again in %g s", place.name, reason, _PAUSE)
            self._successor.close()
            self._successor, self._due = None, now + _PAUSE

    def go_on(self, now: float) -> None:
        """Do the next step, if it is time."""
        if self._leaving is not None:
            if now >= self._due:
                send(self._leaving, self._orders.pop(0) if self._orders else signal.SIGKILL)
                self._due = now + self._timeout
        elif self._successor is not None:
            if self._heartbeat.listens(self._waiting[0].other):
                self._take_over(self._waiting.pop(0), self._successor, now)
        elif self._waiting and now >= self._due:
            self._renew(self._waiting[0], now)

    def _renew(self, place: Place, now: float) -> None:
        if place.process is None:
            # The next worker there is a new one in any case.
            self._waiting.pop(0)
            return
        try:
            self._successor = self._start(place.other)
        except OSError as error:
            logger.error("a new process for %s cannot be started: %s", place.name, error.strerror)
            self._due = now + _PAUSE

    def _take_over(self, place: Place, successor: BaseProcess, now: float) -> None:
        self._successor, self._leaving = None, place.succeed(successor, now)
        self._orders, self._due = [signal.SIGTERM], now + self._delay
        send(self._leaving, DRAIN)


def send(process: BaseProcess | None, number: signal.Signals) -> None:
    """Send a signal to a process that has not ended."""
    if process is not None and process.pid is not None and process.exitcode is None:
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)
