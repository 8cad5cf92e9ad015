"""Shutting the connections of stalled clients, which are found by the kernel's TCP times (Linux).

The HTTP server does not say which connection a request came by. The kernel tells how long each has been
silent; from that this module guesses to which connection a stalled request or stream belongs. If several
clients went silent at the same moment, it may shut the connection of another one.
"""

import logging
import socket
from collections.abc import Callable, Sequence
from time import monotonic
from typing import NamedTuple

from unpickled.server.process.connections import Connection, Connections, shut
from unpickled.server.serve.slots import Cuts, Slot

logger = logging.getLogger("unpickled")

# Allowed difference between our timestamp and the kernel's for the same write, in seconds.
_NEAR = 0.25


class Wait(NamedTuple):
    """An open stream: for how many seconds it has ``waited`` for its client, and ``sent`` nothing.

    ``sending``: it waits for the client to read; otherwise, to write.
    """

    slot: Slot
    waited: float
    sent: float
    sending: bool


class Stalled:
    """Shuts connections of stalled clients; announces streams that it shuts for silence to ``cuts``."""

    def __init__(self, connections: Connections, cuts: Cuts) -> None:
        self._connections = connections
        self._cuts = cuts

    def visible(self) -> bool:
        """Whether the kernel has times for any connection; for Unix sockets it has none."""
        return bool(self._connections.all)

    def shut_silent(self, count: int, seconds: float) -> None:
        """Shut the ``count`` request connections that have been silent longest, ``seconds`` at least."""

        def is_silent(connection: Connection) -> bool:
            return 0 < connection.silent_since <= monotonic() - seconds

        silent = [connection for connection in self._connections.all if is_silent(connection)]
        silent.sort(key=lambda connection: connection.silent_since)
        for connection in silent[:count]:
            _shut(connection, socket.SHUT_RD, is_silent)
        if silent:
            logger.warning(
                "closed connections that were silent for %.0f s in the middle of a request", seconds
            )

    def shut_unread(self, stream: Wait) -> None:
        """Shut the HTTP/2 connection of a stream whose client lets the server send nothing more.

        Nothing waits in the kernel then. The connection was open when the stream began, has sent something
        since, and its client has been silent for as long as the stream waits for it.
        """
        now = monotonic()
        begun, waits = stream.slot.begun - _NEAR, now - stream.waited + _NEAR

        def is_unread(connection: Connection) -> bool:
            silent = connection.received <= waits and not connection.unread
            return silent and connection.answered and connection.absent <= begun <= connection.sent

        candidates = [
            connection
            for connection in self._connections.all
            if connection.peer == stream.slot.peer and is_unread(connection)
        ]
        if candidates:
            nearest = min(candidates, key=lambda connection: abs(connection.sent - stream.slot.sent))
            if _shut(nearest, socket.SHUT_RDWR, is_unread):
                logger.warning("closed a connection whose client had not read for %.0f s", stream.waited)

    def shut_longest_silent(self, streams: Sequence[Wait]) -> None:
        """Shut the connection that sent data when the stream that waits longest last answered.

        If several streams answered at that moment, it may be the connection of another one. One at a time:
        the next one once the stream of the last one has ended.
        """
        if self._cuts.pending():
            return
        now = monotonic()
        stream = max(streams, key=lambda stream: stream.waited)

        def is_candidate(connection: Connection) -> bool:
            silent = connection.received <= now - stream.waited + _NEAR
            return connection.answered and silent and connection.sent >= now - stream.sent - _NEAR

        candidates = [connection for connection in self._connections.all if is_candidate(connection)]
        if not candidates:
            return
        nearest = min(candidates, key=lambda connection: abs(now - connection.sent - stream.sent))
        alike = [each.slot for each in streams if abs(each.sent - (now - nearest.sent)) <= _NEAR]
        self._cuts.announce([stream.slot, *alike], stream.waited)
        _shut(nearest, socket.SHUT_RD, is_candidate)
        logger.warning("closed a stream that was silent for %.0f s: its place was needed", stream.waited)


def _shut(connection: Connection, how: int, still: Callable[[Connection], bool]) -> bool:
    """Shut a connection, and return True, unless it has changed since it was looked at."""
    with connection.held() as held:
        if held is None or not still(connection):
            return False
        shut(held, how)
    return True
