"""A watchdog that frees a worker whose threads wait for stalled clients.

The HTTP server gives clients no deadline, and a thread that waits for one cannot be woken. Shutting the
connection ends the wait (Linux, TCP): for reading, if the client does not send; both ways, if it does not
read.

- When stalled uploads hold every thread that streams leave, the connections that are silent are shut. Where
  that does not help (clients that send a byte now and then, other systems), the worker ends and is replaced.
- The stream that has been silent longest is closed when its place is needed: all threads are taken, or
  another stream was refused.
- A stream whose client does not read its answers is closed in any case: most such clients read only after
  they have sent everything, and would wait for ever.
- Where the kernel has no times for connections (Unix sockets, other systems), and a stream is refused while
  all open ones are stalled, the worker ends as soon as it computes no answer.

Watching from a thread costs a request nothing. A worker whose main process is gone, which would replace it,
ends too. At each check the watchdog publishes how many requests are in flight.
"""

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from types import FrameType

from unpickled.server.message import body
from unpickled.server.observe.inflight import InFlight
from unpickled.server.process.stalled import Clients, Wait
from unpickled.server.serve import noted
from unpickled.server.serve.slots import Slot, Slots

logger = logging.getLogger("unpickled")

# Seconds between checks, and from shutting connections to ending the worker.
_PERIOD = 0.25
_GRACE = 2.0
# The functions that wait for bytes.
_READING = (*body.READING, *noted.READING)


class Watchdog:
    """Watches this process from a thread of its own.

    Args:
        threads: Requests that this process can hold open at once.
        timeout: Seconds after which a stalled client is overdue.
        slots: The streams that are open.
        in_flight: The requests that are being answered.
        clients: Shuts connections; None where the kernel has no times for them.
        beat: Shows the main process that this one runs; called at each check.
    """

    def __init__(
        self,
        threads: int,
        timeout: int,
        slots: Slots,
        in_flight: InFlight,
        clients: Clients | None,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self._threads = threads
        self._timeout = timeout
        self._slots = slots
        self._in_flight = in_flight
        self._clients = clients
        self._beat = beat
        self._parent = os.getppid()
        # Frames that read a body -> time.monotonic() at which the watchdog first saw them.
        self._reads: dict[FrameType, float] = {}

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
            self._check(time.monotonic())

    def _check(self, now: float) -> None:
        streams = [_wait(slot, now) for slot in self._slots.open()]
        requests = self._in_flight.count
        self._in_flight.publish()
        # Keeping the frames keeps their identity: a frame that is seen again is the same read.
        self._reads = {frame: self._reads.get(frame, now) for frame in _reading()}
        reads = [now - begun for begun in self._reads.values()]
        idle = [stream.waited for stream in streams]
        busy = len(reads) + len(streams) >= self._threads
        if busy:
            self._relieve(reads, idle)
        refused = self._slots.take_refused()
        overdue = [stream for stream in streams if stream.waited >= self._timeout]
        if self._clients is not None:
            self._clients.shut_streams(overdue, busy or refused)
        if refused and requests == len(reads) + len(streams):
            self._replace(idle)

    def _relieve(self, reads: Sequence[float], streams: Sequence[float]) -> None:
        """Shut silent requests, or end the worker if none of its threads gets on.

        ``reads`` and ``streams`` are the seconds that threads have waited for bodies and for clients.
        """
        # Act only when every thread is taken. Then a silent connection is either one a thread is reading
        # from, or one that still queues for a thread.
        overdue = sum(seconds >= self._timeout for seconds in reads)
        if overdue and self._clients is not None:
            self._clients.shut_silent(overdue, max(self._timeout, min(reads)))
        if min(reads or streams) >= self._timeout + _GRACE:
            self._end_worker("threads have waited for request bodies")

    def _replace(self, streams: Sequence[float]) -> None:
        """End the worker if all open streams are stuck; one more was refused, and no thread computes.

        ``streams`` are the seconds that they have waited for their clients.
        """
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
    return [frame for frame in sys._current_frames().values() if frame.f_code in _READING]


def _wait(slot: Slot, now: float) -> Wait:
    # Read once: the stream's thread may change it at any moment.
    since = slot.waiting_since
    return Wait(slot, now - since if since else 0.0, now - slot.sent, slot.sending)
