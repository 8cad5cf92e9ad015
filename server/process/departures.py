"""Whether the client of a request that waits has gone, judged by the connections that are open.

The HTTP server does not say which connection a request came by; when a client goes, its connection closes. So
a client has gone for certain if each open connection is another one's. Wherever that is in doubt, the client
is taken to be there: a mistake would refuse one that waits.
"""

from unpickled.server.process.connections import Connection, Connections
from unpickled.server.process.running import Running

# Allowed difference between our timestamps and the kernel's.
_NEAR = 0.1
# Longest time that a request queues in the HTTP server while threads are free, in seconds.
_QUEUE = 2.0


class Departures:
    """Tells whether a client has gone.

    Args:
        connections: Those of this process.
        running: The requests that have a thread.
    """

    def __init__(self, connections: Connections, running: Running) -> None:
        self._connections = connections
        self._running = running

    def __call__(self, started: float, read: float, peer: str) -> bool:
        """Whether nobody waits for the answer to an HTTP/1 request, for certain.

        It takes no call of the system: the last whole look at the connections is asked, which has to be
        later than the request. A connection that has opened since is no matter, nor one that has answered
        since: that was another request.

        Args:
            started: When the request was first seen, in seconds of time.monotonic(); time.perf_counter() is
                the same on systems whose kernel tells of connections.
            read: When its body was there.
            peer: The address from which it came; "" for an HTTP/2 request, whose client may have others on
                the same connection: it is taken to be there.
        """
        connections = self._connections
        if not peer or not connections.proven or connections.since < read + _NEAR:
            return False
        if self._running.saturated > started - _QUEUE:
            return False
        # An IPv6 address has several spellings.
        exact = ":" not in peer
        return not any(
            _may_carry(connection, started, read)
            for connection in connections.all
            if not exact or connection.peer == peer
        )


def _may_carry(connection: Connection, started: float, read: float) -> bool:
    """Whether a request that has no answer yet may have come on a connection.

    It did not if the connection was not open yet when the body was there; if something has been answered on
    it since; or if, at a look since, it had been answered long before the request was first seen, and no
    data had come after that answer.
    """
    if connection.absent > read + _NEAR or connection.sent > read + _NEAR:
        return False
    return not (connection.rested > read + _NEAR and connection.rested_since < started - _QUEUE)
