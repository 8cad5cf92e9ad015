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
replace it, ends too. While it is at it, it publishes how many requests are in flight.
"""

import logging
import os
import socket
import stat
import struct
import sys
import threading
import time
from contextlib import suppress
from types import FrameType
from typing import NamedTuple

from unpickled.server.config import Config
from unpickled.server.message import body
from unpickled.server.observe import tally
from unpickled.server.observe.counters import Block
from unpickled.server.serve.endpoint import in_flight
from unpickled.server.serve.slots import PLACES, Place

logger = logging.getLogger("unpickled")

# Seconds between looks, and from shutting connections to ending the worker.
_PERIOD = 0.25
_GRACE = 2.0
# Two clocks tell when the same bytes were sent, in seconds apart.
_NEAR = 0.25
# struct tcp_info of <linux/tcp.h>: packets not acknowledged, milliseconds since data was last sent,
# received and acknowledged, bytes acknowledged and received, bytes not sent.
_TCP_INFO = struct.Struct("=24xI16xI4xII60xQQ8xI")


def start(config: Config, block: Block) -> None:
    """Watch this process from a thread of its own."""
    threading.Thread(target=_watch, args=(config, block), name="watchdog", daemon=True).start()


def _watch(config: Config, block: Block) -> None:
    parent = os.getppid()
    since: dict[FrameType, float] = {}
    while True:
        time.sleep(_PERIOD)
        if os.getppid() != parent:
            logger.error("the server's main process is gone: worker %d ends", os.getpid())
            os._exit(1)
        now = time.monotonic()
        streams = [_look(place, now) for place in PLACES.listed()]
        count = in_flight()
        tally.set_in_flight(block, count)
        # Holding the frames keeps their identity: a frame seen twice is one and the same read.
        since = {frame: since.get(frame, now) for frame in _reading()}
        waits = [now - start for start in since.values()]
        taken = len(waits) + len(streams) >= config.threads
        idle = [stream.waited for stream in streams]
        if taken:
            _relieve(waits, idle, config)
        overdue = [stream for stream in streams if stream.waited >= config.body_timeout]
        refused = PLACES.refused()
        _cut(overdue, taken or refused)
        if refused and count == len(waits) + len(streams):
            _replace(idle, config)


def _relieve(waits: list[float], streams: list[float], config: Config) -> None:
    """Act on how long threads have waited for bodies and streams for their clients, in seconds."""
    # With a thread free, stalled bodies harm nobody. With none, only streams compute: what is silent
    # is either waited for or, if it came after the last thread was taken, waits for a thread.
    overdue = sum(wait >= config.body_timeout for wait in waits)
    if overdue:
        _shut_silent(overdue, max(config.body_timeout, min(waits)))
    if min(waits or streams) >= config.body_timeout + _GRACE:
        _end_worker(config.body_timeout, "threads have waited for request bodies")


def _replace(streams: list[float], config: Config) -> None:
    """Act where one more stream was refused and nothing is computed; how long the others have waited."""
    stuck = min(streams, default=0.0) >= config.body_timeout + _GRACE
    if stuck and not _connections():
        _end_worker(config.body_timeout, "streams have waited for their clients")


def _reading() -> list[FrameType]:
    return [frame for frame in sys._current_frames().values() if frame.f_code in body.READING]


class _Look(NamedTuple):
    """A look at a stream: for how many seconds its client is ``waited`` for, and was ``sent`` nothing."""

    place: Place
    waited: float
    sent: float
    sends: bool


def _look(place: Place, now: float) -> _Look:
    # Read once: it goes on meanwhile.
    since = place.since
    return _Look(place, now - since if since else 0.0, now - place.sent, place.sends)


class _Connection(NamedTuple):
    """How long ago, in seconds, something was ``sent``, ``received`` and acknowledged (``heard``).

    ``begun``: something was received at all; ``told``: something was sent; ``pending``: what was written has
    not arrived.
    """

    descriptor: int
    sent: float
    received: float
    heard: float
    begun: bool
    told: bool
    pending: bool

    @property
    def silent(self) -> float:
        """Seconds since anything came, where a request has begun and no answer has; else 0."""
        answered = self.told and self.sent <= self.received
        return self.received if self.begun and not answered else 0.0

    @property
    def unread(self) -> float:
        """Seconds since the client took any of what is waiting for it; 0 where nothing is."""
        return max(self.sent, self.heard) if self.pending else 0.0

    def shut(self, how: int) -> None:
        """Who waits for it is told that nothing comes, or goes, any more."""
        with suppress(OSError), _duplicate(self.descriptor) as connection:
            connection.shutdown(how)


def _shut_silent(count: int, seconds: float) -> None:
    """Shut the ``count`` connections that are silent longest, ``seconds`` at least."""
    silent = sorted((found for found in _connections() if found.silent >= seconds), key=_silence)
    for connection in silent[-count:]:
        connection.shut(socket.SHUT_RD)
    if silent:
        logger.warning("closed connections that were silent for %.0f s in the middle of a request", seconds)


def _silence(connection: _Connection) -> float:
    return connection.silent


def _cut(overdue: list[_Look], needed: bool) -> None:
    """Shut connections of streams whose clients do not go on: of those that are silent, one at a time."""
    for unread in [found for found in overdue if found.sends]:
        _cut_unread(unread)
    silent = [found for found in overdue if not found.sends]
    if needed and silent and not PLACES.cutting():
        _cut_silent(silent)


def _cut_unread(stream: _Look) -> None:
    """Its connection is the one that has been unread for as long, or longest."""
    unread = [found for found in _connections() if found.unread >= stream.waited - _NEAR]
    if unread:
        max(unread, key=lambda found: found.unread).shut(socket.SHUT_RDWR)
        logger.warning("closed a stream whose client had not read for %.0f s", stream.waited)


def _cut_silent(streams: list[_Look]) -> None:
    """The longest; its connection is the one on which something was sent when it last answered.

    Of several that answered at that moment, it may be another's.
    """
    stream = max(streams, key=lambda found: found.waited)
    silent = [found for found in _connections() if found.told and found.received >= stream.waited - _NEAR]
    near = [found for found in silent if found.sent <= stream.sent + _NEAR]
    if near:
        nearest = min(near, key=lambda found: abs(found.sent - stream.sent))
        others = [found.place for found in streams if abs(found.sent - nearest.sent) <= _NEAR]
        PLACES.cut([stream.place, *others], stream.waited)
        nearest.shut(socket.SHUT_RD)
        logger.warning("closed a stream that was silent for %.0f s: its place was needed", stream.waited)


def _sockets() -> list[int]:
    """Descriptors of this process that are sockets, where the system tells how silent they are."""
    if not hasattr(socket, "TCP_INFO"):
        return []
    found = []
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                found.append(int(name))
    return found


def _duplicate(descriptor: int) -> socket.socket:
    # Closing the duplicate leaves the server's own descriptor open.
    return socket.socket(fileno=os.dup(descriptor))


def _connections() -> list[_Connection]:
    found = [_examine(descriptor) for descriptor in _sockets()]
    return [connection for connection in found if connection]


def _examine(descriptor: int) -> _Connection | None:
    try:
        with _duplicate(descriptor) as connection:
            connection.getpeername()
            info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
        unacknowledged, sent, received, heard, bytes_sent, bytes_received, unsent = _TCP_INFO.unpack(info)
    except (OSError, struct.error):
        return None
    return _Connection(
        descriptor,
        sent / 1000,
        received / 1000,
        heard / 1000,
        begun=bytes_received > 0,
        # The kernel acknowledges the handshake as one byte.
        told=bytes_sent > 1,
        pending=unacknowledged + unsent > 0,
    )


def _end_worker(seconds: int, why: str) -> None:
    logger.error("worker %d ends and is replaced: all its %s for %d s", os.getpid(), why, seconds)
    # Not sys.exit: the threads cannot be joined.
    os._exit(1)
