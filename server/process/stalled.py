"""Shuts connections of clients that do not go on, found by what the kernel tells of them (Linux, TCP).

The HTTP server neither gives clients a deadline nor says which connection a request came by. TCP_INFO
tells how long each connection has been silent, or unread; this module guesses from these times which of
them a stalled request or stream belongs to. Of several that went silent at the same moment it may shut
another's. Replace it where an HTTP server has deadlines of its own; without it the watchdog still ends a
worker whose threads are all stalled.
"""

import logging
import os
import socket
import stat
import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple, Protocol

from unpickled.server.serve.slots import Cuts, Slot

logger = logging.getLogger("unpickled")

# Allowed difference between our timestamp and the kernel's for the same write, in seconds.
_NEAR = 0.25
# struct tcp_info of <linux/tcp.h>: packets not acknowledged, milliseconds since data was last sent,
# received and acknowledged, bytes acknowledged and received, bytes not sent.
_TCP_INFO = struct.Struct("=24xI16xI4xII60xQQ8xI")


class Wait(NamedTuple):
    """An open stream: for how many seconds its client has been ``waited`` for, and was ``sent`` nothing.

    ``sending``: the client does not read; otherwise it does not write.
    """

    slot: Slot
    waited: float
    sent: float
    sending: bool


class Clients(Protocol):
    """The seam between the watchdog and whatever ends a client's silence."""

    def visible(self) -> bool:
        """Whether any connection tells how silent it is; Unix sockets do not."""

    def shut_silent(self, count: int, seconds: float) -> None:
        """Shut the ``count`` connections of requests that are silent longest, ``seconds`` at least."""

    def shut_streams(self, overdue: Sequence[Wait], needed: bool) -> None:
        """Shut streams whose clients do not read and, if ``needed``, the one that is silent longest."""


def clients(cuts: Cuts) -> Clients | None:
    """Those of this system; None where it does not tell how silent a connection is."""
    return TcpClients(cuts) if hasattr(socket, "TCP_INFO") else None


class TcpClients:
    """Clients by the times of their TCP connections; ``cuts`` is told of each stream that is shut."""

    def __init__(self, cuts: Cuts) -> None:
        self._cuts = cuts

    def visible(self) -> bool:
        return bool(_connections())

    def shut_silent(self, count: int, seconds: float) -> None:
        connections = [connection for connection in _connections() if connection.silent >= seconds]
        silent = sorted(connections, key=lambda connection: connection.silent)
        for connection in silent[-count:]:
            connection.shut(socket.SHUT_RD)
        if silent:
            logger.warning(
                "closed connections that were silent for %.0f s in the middle of a request", seconds
            )

    def shut_streams(self, overdue: Sequence[Wait], needed: bool) -> None:
        for stream in [stream for stream in overdue if stream.sending]:
            self._shut_unread(stream)
        silent = [stream for stream in overdue if not stream.sending]
        # One at a time: the next only when this one's stream has ended.
        if needed and silent and not self._cuts.pending():
            self._shut_longest_silent(silent)

    def _shut_unread(self, stream: Wait) -> None:
        """Its connection is the one that has been unread for as long, or longest."""
        unread = [connection for connection in _connections() if connection.unread >= stream.waited - _NEAR]
        if unread:
            max(unread, key=lambda connection: connection.unread).shut(socket.SHUT_RDWR)
            logger.warning("closed a stream whose client had not read for %.0f s", stream.waited)

    def _shut_longest_silent(self, streams: Sequence[Wait]) -> None:
        """Its connection is the one on which something was sent when the stream last answered.

        Of several that answered at that moment, it may be another's.
        """
        stream = max(streams, key=lambda stream: stream.waited)
        candidates = [
            connection
            for connection in _connections()
            if connection.answered
            and connection.received >= stream.waited - _NEAR
            and connection.sent <= stream.sent + _NEAR
        ]
        if not candidates:
            return
        nearest = min(candidates, key=lambda connection: abs(connection.sent - stream.sent))
        others = [other.slot for other in streams if abs(other.sent - nearest.sent) <= _NEAR]
        self._cuts.announce([stream.slot, *others], stream.waited)
        nearest.shut(socket.SHUT_RD)
        logger.warning("closed a stream that was silent for %.0f s: its place was needed", stream.waited)


class _Connection(NamedTuple):
    """How long ago, in seconds, something was ``sent``, ``received`` and acknowledged.

    ``begun``: something was received at all; ``answered``: something was sent; ``pending``: what was
    written has not arrived.
    """

    descriptor: int
    sent: float
    received: float
    acknowledged: float
    begun: bool
    answered: bool
    pending: bool

    @property
    def silent(self) -> float:
        """Seconds since anything came, where a request has begun and no answer has; else 0."""
        answering = self.answered and self.sent <= self.received
        return self.received if self.begun and not answering else 0.0

    @property
    def unread(self) -> float:
        """Seconds since the client took any of what is waiting for it; 0 where nothing is."""
        return max(self.sent, self.acknowledged) if self.pending else 0.0

    def shut(self, how: int) -> None:
        """Wake the thread that waits for this client: nothing comes, or goes, any more."""
        with suppress(OSError), _duplicate(self.descriptor) as connection:
            connection.shutdown(how)


def _connections() -> list[_Connection]:
    examined = [_examine(descriptor) for descriptor in _sockets()]
    return [connection for connection in examined if connection]


def _sockets() -> list[int]:
    """Descriptors of this process that are sockets."""
    descriptors = []
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                descriptors.append(int(name))
    return descriptors


def _duplicate(descriptor: int) -> socket.socket:
    # Closing the duplicate leaves the server's own descriptor open.
    return socket.socket(fileno=os.dup(descriptor))


def _examine(descriptor: int) -> _Connection | None:
    try:
        with _duplicate(descriptor) as connection:
            connection.getpeername()
            info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
        unacknowledged, sent, received, acknowledged, bytes_sent, bytes_received, unsent = _TCP_INFO.unpack(
            info
        )
    except (OSError, struct.error):
        return None
    return _Connection(
        descriptor,
        sent / 1000,
        received / 1000,
        acknowledged / 1000,
        begun=bytes_received > 0,
        # The kernel acknowledges the handshake as one byte.
        answered=bytes_sent > 1,
        pending=unacknowledged + unsent > 0,
    )
