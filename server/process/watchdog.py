"""Frees a worker whose threads wait for clients that do not go on.

The HTTP server gives clients no deadline, and a thread that waits for one cannot be woken. What ends
the wait is to shut the connection (Linux, TCP): for reading, where nothing comes; both ways, where
nothing is read.

- When requests whose bodies do not come hold every thread that streams leave, those that are silent go.
  Where that does not help (clients that trickle on, other systems), the worker ends and is replaced.
- The stream that is silent longest goes when its place is needed: all threads are taken, or another
  was refused.
- A stream whose client does not read its answers goes, needed or not: most such clients will not read
  before they have sent everything, and would wait for ever.
- Where no connection tells how silent it is (Unix sockets, other systems), and another stream is refused
  although none of those under way goes on, the worker ends as soon as it computes no answer.

Watching from outside costs a request nothing. A worker that outlives the main process, which would
replace it, ends too. Each time the watchdog publishes how many requests are in flight.
"""

import logging
import os
import sys
import threading
import time
from collections.abc import Sequence
from types import FrameType

from unpickled.server.message import body
from unpickled.server.observe.inflight import InFlight
from unpickled.server.process.stalled import Clients, Wait
from unpickled.server.serve.slots import Slot, Slots

logger = logging.getLogger("unpickled")

# Seconds between checks, and from shutting connections to ending the worker.
_PERIOD = 0.25
_GRACE = 2.0


class Watchdog:
    """Watches this process from a thread of its own.

    Args:
        threads: Requests that this process can hold open at once.
        timeout: Seconds after which a client that does not go on is overdue.
        slots: The streams that are open.
        in_flight: The requests that are being answered.
        clients: Shuts connections; None where they cannot be told from each other.
    """

    def __init__(
        self, threads: int, timeout: int, slots: Slots, in_flight: InFlight, clients: Clients | None
    ) -> None:
        self._threads = threads
        self._timeout = timeout
        self._slots = slots
        self._in_flight = in_flight
        self._clients = clients
        self._parent = os.getppid()
        # Reads of bodies that are under way, and since when.
        self._reads: dict[FrameType, float] = {}

    def start(self) -> None:
        """Watch until the process ends."""
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def _watch(self) -> None:
        while True:
            time.sleep(_PERIOD)
            if os.getppid() != self._parent:
                logger.error("the server's main process is gone: worker %d ends", os.getpid())
                os._exit(1)
            self._check(time.monotonic())

    def _check(self, now: float) -> None:
        streams = [_wait(slot, now) for slot in self._slots.open()]
        requests = self._in_flight.count
        self._in_flight.publish()
        # Holding the frames keeps their identity: a frame seen twice is one and the same read.
        self._reads = {frame: self._reads.get(frame, now) for frame in _reading()}
        reads = [now - begun for begun in self._reads.values()]
        idle = [stream.waited for stream in streams]
        taken = len(reads) + len(streams) >= self._threads
        if taken:
            self._relieve(reads, idle)
        refused = self._slots.take_refused()
        overdue = [stream for stream in streams if stream.waited >= self._timeout]
        if self._clients is not None:
            self._clients.shut_streams(overdue, taken or refused)
        if refused and requests == len(reads) + len(streams):
            self._replace(idle)

    def _relieve(self, reads: Sequence[float], streams: Sequence[float]) -> None:
        """Act on how long threads have waited for bodies, and streams for their clients, in seconds."""
        # Act only when every thread is taken. Then a silent connection is either one a thread is reading
        # from, or one that still queues for a thread.
        overdue = sum(seconds >= self._timeout for seconds in reads)
        if overdue and self._clients is not None:
            self._clients.shut_silent(overdue, max(self._timeout, min(reads)))
        if min(reads or streams) >= self._timeout + _GRACE:
            self._end_worker("threads have waited for request bodies")

    def _replace(self, streams: Sequence[float]) -> None:
        """Act where one more stream was refused and nothing is computed; how long the others have waited."""
        stuck = min(streams, default=0.0) >= self._timeout + _GRACE
        if stuck and not (self._clients and self._clients.visible()):
            self._end_worker("streams have waited for their clients")

    def _end_worker(self, reason: str) -> None:
        logger.error(
            "worker %d ends and is replaced: all its %s for %d s", os.getpid(), reason, self._timeout
        )
        # Not sys.exit: the threads cannot be joined.
        os._exit(1)


def _reading() -> list[FrameType]:
    return [frame for frame in sys._current_frames().values() if frame.f_code in body.READING]


def _wait(slot: Slot, now: float) -> Wait:
    # Read once: the stream goes on meanwhile.
    since = slot.waiting_since
    return Wait(slot, now - since if since else 0.0, now - slot.sent, slot.sending)
