"""A watchdog that frees a worker of stalled clients, and looks after its connections.

The HTTP server gives clients no deadline, and a thread that waits for one cannot be woken. Shutting the
connection ends the wait (Linux, TCP): for reading, if the client does not send; both ways, if it does not
read.

- Connections that hold a place for nothing are closed: see reaper.py.
- When stalled uploads hold every thread that streams leave, the connections that are silent are shut. Where
  that does not help (clients that send a byte now and then, other systems), the worker ends and is replaced.
- So they are when stalled uploads hold memory that another request was refused for.
- The stream that has been silent longest is closed when its place is needed: all threads are taken, or
  another stream was refused.
- A body that is broken off over HTTP/2 may keep its thread busy for ever: the worker asks to be replaced.
- A stream or a long answer whose client does not read is closed in any case: most such clients read only
  after they have sent everything, and would wait for ever.
- Where the kernel has no times for connections (Unix sockets, other systems), and a stream is refused while
  all open ones are stalled, the worker ends as soon as it computes no answer.

Watching from a thread costs a request nothing. A worker whose main process is gone, which would replace it,
ends too. At each check the watchdog publishes how many requests are in flight, and how many connections are
open.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence

from unpickled.server.model.session import RUNS
from unpickled.server.observe.connected import Connected
from unpickled.server.process.connections import Connections
from unpickled.server.process.reaper import Reaper
from unpickled.server.process.running import Running
from unpickled.server.process.spinning import Spinning
from unpickled.server.process.stalled import Stalled, Wait
from unpickled.server.serve.slots import Slot
from unpickled.server.service import Service

logger = logging.getLogger("unpickled")

# Seconds between checks, and from shutting connections to ending the worker.
_PERIOD = 0.25
_GRACE = 2.0
# Checks that runs and clients have, once they were told to end: seconds by the clock might all pass between
# two checks of a process that stands still.
_CHECKS = round(_GRACE / _PERIOD)
# Share of a processor that looking at connections may take.
_SHARE = 0.03


class Watchdog:
    """Watches this process from a thread of its own.

    Args:
        service: Everything in this process that answers requests.
        running: The threads that answer its requests.
        connections: The connections of this process; None where the kernel has no times for them.
        connected: Counts them.
        beat: Shows the main process that this one runs; called at each check.
        wear: Asks the main process for another worker in place of this one.
    """

    def __init__(
        self,
        service: Service,
        running: Running,
        connections: Connections | None,
        connected: Connected,
        beat: Callable[[], None],
        wear: Callable[[], None],
    ) -> None:
        listening, limits = service.config.listening, service.config.limits
        self._threads = listening.threads
        self._hang_timeout = listening.hang_timeout
        self._body_timeout = limits.body_timeout
        self._send_timeout = listening.send_timeout
        self._slots = service.slots
        self._in_flight = service.in_flight
        self._admission = service.admission
        self._budget = service.budget
        self._running = running
        self._connections = connections
        self._connected = connected
        self._beat = beat
        self._wear = wear
        self._worn = False
        self._spinning = Spinning(limits.max_body_bytes)
        self._reaper = Reaper(listening, connections, running) if connections else None
        self._stalled = Stalled(connections, service.slots.cuts) if connections else None
        self._parent = os.getppid()
        # Processor time that may be spent on connections; below 0 after a look that took longer.
        self._credit = 0.0
        # Thread -> how often its run was told to end, as it did not by itself.
        self._late: dict[int, int] = {}
        # Checks at which no thread got on, as each has waited too long for its client.
        self._stuck = 0
        self._failed = False

    def start(self) -> None:
        """Watch until the process ends."""
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def _watch(self) -> None:
        while True:
            self._beat()
            time.sleep(_PERIOD)
            if os.getppid() != self._parent:
                logger.error("the server's main process is gone: worker %d ends", os.getpid())
                os._exit(1)
            try:
                self._look(time.monotonic())
            except Exception:
                if not self._failed:
                    self._failed = True
                    logger.exception("the watchdog of worker %d failed, and goes on", os.getpid())

    def _look(self, now: float) -> None:
        self._in_flight.publish()
        self._running.look(now)
        self._end_runs()
        self._look_for_spinning()
        self._follow_connections()
        self._check(now)

    def _end_runs(self) -> None:
        """End runs of models that are late, or do not end; end the worker where a run goes on after that."""
        self._admission.end_overdue()
        runs = self._running.runs
        late = [thread for thread, seconds in runs.items() if seconds >= self._hang_timeout]
        self._late = {thread: self._late.get(thread, 0) + 1 for thread in late}
        for thread, times in self._late.items():
            RUNS.end(thread)
            if times > _CHECKS:
                self._end_worker(f"a run of a model has not ended for {runs[thread]:.0f} s")

    def _look_for_spinning(self) -> None:
        slots = self._slots.open()
        parts = [(slot.thread, slot.waiting_since) for slot in slots if not slot.sending]
        count = self._spinning.count([part for part in parts if part[1]], self._running.readers.items())
        if count and not self._worn:
            self._worn = True
            logger.error(
                "worker %d is replaced: threads (%d) wait for ever for bodies that broke off over HTTP/2",
                os.getpid(),
                count,
            )
            self._wear()

    def _follow_connections(self) -> None:
        self._credit = min(self._credit + _SHARE * _PERIOD, _SHARE * _PERIOD)
        if self._connections is None or self._reaper is None or self._credit <= 0:
            return
        begun = time.thread_time()
        if self._connections.look(self._credit):
            self._connected.note(self._connections.count)
            self._reaper.reap()
        self._credit -= time.thread_time() - begun

    def _check(self, now: float) -> None:
        streams = [_wait(slot, now) for slot in self._slots.open()]
        requests = self._in_flight.count
        reads = self._running.reads
        idle = [stream.waited for stream in streams]
        busy = len(reads) + len(streams) >= self._threads
        self._stuck = self._stuck if busy else 0
        # Whether no thread computes: then a silent connection waits for its own client.
        waiting = requests == len(reads) + len(streams)
        if busy:
            self._relieve(reads, idle)
        elif self._budget.needed and waiting:
            self._budget.needed = False
            self._shut_silent(reads)
        refused = self._slots.take_refused()
        self._close(streams, busy or refused)
        if refused and waiting:
            self._replace(idle)

    def _close(self, streams: Sequence[Wait], needed: bool) -> None:
        """Close streams whose clients do not read and, if ``needed``, the one that was silent longest."""
        if self._stalled is None:
            return
        for stream in streams:
            # The reaper has closed those for which data waits in the kernel.
            if stream.sending and stream.slot.multiplexed and stream.waited >= self._send_timeout + _GRACE:
                self._stalled.shut_unread(stream)
        silent = [stream for stream in streams if not stream.sending and stream.waited >= self._body_timeout]
        if needed and silent:
            self._stalled.shut_longest_silent(silent)

    def _relieve(self, reads: Sequence[float], streams: Sequence[float]) -> None:
        """Shut silent requests, and end the worker if none of its threads gets on after that.

        ``reads`` and ``streams`` are the seconds that threads have waited for bodies and for clients.
        """
        # Act only when every thread is taken. Then a silent connection is either one a thread is reading
        # from, or one that still queues for a thread.
        self._shut_silent(reads)
        stuck = min(reads or streams) >= self._body_timeout
        self._stuck = self._stuck + 1 if stuck else 0
        if self._stuck > _CHECKS:
            self._end_worker(f"all its threads have waited for request bodies for {self._body_timeout} s")

    def _shut_silent(self, reads: Sequence[float]) -> None:
        overdue = sum(seconds >= self._body_timeout for seconds in reads)
        if overdue and self._stalled is not None:
            self._stalled.shut_silent(overdue, max(self._body_timeout, min(reads)))

    def _replace(self, streams: Sequence[float]) -> None:
        """End the worker if all open streams are stuck; one more was refused, and no thread computes.

        ``streams`` are the seconds that they have waited for their clients.
        """
        stuck = min(streams, default=0.0) >= self._body_timeout + _GRACE
        if stuck and not (self._stalled and self._stalled.visible()):
            self._end_worker(f"all its streams have waited for their clients for {self._body_timeout} s")

    def _end_worker(self, reason: str) -> None:
        logger.error("worker %d ends and is replaced: %s", os.getpid(), reason)
        # Not sys.exit: the threads cannot be joined.
        os._exit(1)


def _wait(slot: Slot, now: float) -> Wait:
    # Read once: the stream's thread may change it at any moment.
    since = slot.waiting_since
    return Wait(slot, now - since if since else 0.0, now - slot.sent, slot.sending)
