"""Shutting the connections of stalled clients, which are found by the kernel's TCP times (Linux).

The HTTP server neither gives clients a deadline nor says which connection a request came by. TCP_INFO tells
how long each connection has been silent, or unread; from these times this module guesses to which connection
a stalled request or stream belongs. If several clients went silent at the same moment, it may shut the
connection of another one. With an HTTP server that has deadlines this module is not needed; without it, the
watchdog still ends a worker whose threads are all stalled.
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
    """An open stream: for how many seconds it has ``waited`` for its client, and ``sent`` nothing.

    ``sending``: it waits for the client to read; otherwise, to write.
    """

    slot: Slot
    waited: float
    sent: float
    sending: bool


class Clients(Protocol):
    """Shuts connections for the watchdog."""

    def visible(self) -> bool:
        """Whether the kernel has times for any connection; for Unix sockets it has none."""

    def shut_silent(self, count: int, seconds: float) -> None:
        """Shut the ``count`` request connections that have been silent longest, ``seconds`` at least."""

    def shut_streams(self, overdue: Sequence[Wait], needed: bool) -> None:
        """Shut streams whose clients do not read and, if ``needed``, the one that was silent longest."""


def clients(cuts: Cuts) -> Clients | None:
    """The Clients of this system; None where its kernel has no times for connections."""
    return TcpClients(cuts) if hasattr(socket, "TCP_INFO") else None


class TcpClients:
    """Shuts connections by their TCP times; announces each stream that it shuts for silence to ``cuts``."""

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
        # One at a time: the next one once the stream of the last one has ended.
        if needed and silent and not self._cuts.pending():
            self._shut_longest_silent(silent)

    def _shut_unread(self, stream: Wait) -> None:
        """Shut the connection that has been unread longest, if that is as long as the stream has waited."""
        unread = [connection for connection in _connections() if connection.unread >= stream.waited - _NEAR]
        if unread:
            max(unread, key=lambda connection: connection.unread).shut(socket.SHUT_RDWR)
            logger.warning("closed a stream whose client had not read for %.0f s", stream.waited)

    def _shut_longest_silent(self, streams: Sequence[Wait]) -> None:
        """Shut the connection that sent data when the stream that waits longest last answered.

        If several streams answered at that moment, it may be the connection of another one.
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
        alike = [each.slot for each in streams if abs(each.sent - nearest.sent) <= _NEAR]
        self._cuts.announce([stream.slot, *alike], stream.waited)
        nearest.shut(socket.SHUT_RD)
        logger.warning("closed a stream that was silent for %.0f s: its place was needed", stream.waited)


class _Connection(NamedTuple):
    """How many seconds ago data was ``sent``, ``received`` and ``acknowledged`` on a connection.

    ``begun``: data has been received at all; ``answered``: data has been sent; ``pending``: the client has
    not yet taken all of it.
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
        """Seconds since the client last sent data, while it is in the middle of a request; else 0."""
        answering = self.answered and self.sent <= self.received
        return self.received if self.begun and not answering else 0.0

    @property
    def unread(self) -> float:
        """Seconds since the client last took data, while data waits for it; else 0."""
        return max(self.sent, self.acknowledged) if self.pending else 0.0

    def shut(self, how: int) -> None:
        """Shut one or both directions of the connection, which wakes the thread that waits for it."""
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
    # A duplicate: closing it leaves the server's descriptor open.
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
