"""Closing connections that hold a place for nothing.

- The client of a new connection has sent no request within ``header_timeout``.
- No request has come on a connection for longer than ``keep_alive``: HTTP/2 has no such limit of its own.
- The client has taken nothing of an answer for ``send_timeout``, while the kernel has data for it.

A connection on which a request may wait for its answer is never among the first two: a request came after the
connection was opened and before its client last sent data, so that the connection may be closed if no such
request can be queueing or running.
"""

import logging
import socket
import struct
from collections.abc import Iterable
from contextlib import suppress
from time import monotonic, sleep

from unpickled.server.config import Listening
from unpickled.server.process.connections import Connection, Connections, shut
from unpickled.server.process.running import SLACK, Running

logger = logging.getLogger("unpickled")

# Seconds between two proofs that nothing queues: each takes Python's lock for two switch intervals.
_BETWEEN_PROOFS = 1.0
# The HTTP server ends silent HTTP/1 connections itself; this one comes after it.
_LATER = 5.0
# Connections that are closed at a time.
_PORTION = 64
# SO_LINGER: what is left for the client is thrown away when the connection closes.
_DISCARD = struct.pack("ii", 1, 0)


class Reaper:
    """Closes connections by the times of the kernel.

    Args:
        listening: The timeouts.
        connections: Those of this process.
        running: The requests that it answers.
    """

    def __init__(self, listening: Listening, connections: Connections, running: Running) -> None:
        self._header_timeout = listening.header_timeout
        self._keep_alive = listening.keep_alive
        self._send_timeout = listening.send_timeout
        self._connections = connections
        self._running = running
        self._tried = 0.0

    def reap(self) -> None:
        """Close what may be closed among the connections of the last pass."""
        now = monotonic()
        everyone = self._connections.all
        self._close_unread(now)
        new = [c for c in everyone if not c.answered and now - c.opened >= self._header_timeout]
        self._close_silent(c for c in new if not c.begun)
        oldest = now - self._keep_alive - _LATER
        stale = [c for c in everyone if c.answered and c.received < oldest and c.sent < oldest]
        doubtful = [c for c in (*new, *stale) if c.begun and c.received + SLACK < now]
        if doubtful:
            self._prove(max(c.received for c in doubtful), now)
            self._close_silent(c for c in doubtful if not self._may_wait(c))

    def _prove(self, received: float, now: float) -> None:
        if self._running.proof < received + SLACK and now - self._tried >= _BETWEEN_PROOFS:
            self._tried = now
            self._running.prove()

    def _may_wait(self, connection: Connection) -> bool:
        return self._running.may_await(connection.absent, connection.received)

    def _close_silent(self, connections: Iterable[Connection]) -> None:
        for number, connection in enumerate(connections, 1):
            if number % _PORTION == 0:
                # Requests wait for the interpreter's lock meanwhile.
                sleep(0)
            received = connection.received
            with connection.held() as held:
                # Unless something has just come.
                if held and connection.received <= received + 0.001:
                    shut(held, socket.SHUT_RDWR)

    def _close_unread(self, now: float) -> None:
        seconds = self._send_timeout
        unread = [c for c in self._connections.all if 0 < c.unread < now - seconds]
        if closed := sum(_discard(connection, now - seconds) for connection in unread):
            logger.warning("closed connections (%d) whose clients had not read for %d s", closed, seconds)


def _discard(connection: Connection, since: float) -> bool:
    """Close a connection whose client still takes nothing; what was left for it is thrown away."""
    with connection.held() as held:
        if held is None or not 0 < connection.unread < since:
            return False
        with suppress(OSError):
            held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DISCARD)
        shut(held, socket.SHUT_RDWR)
    return True
