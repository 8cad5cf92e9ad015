"""The connections of this process, as the kernel tells their times (Linux, TCP).

The HTTP server says neither which connections it holds nor by which of them a request came. TCP_INFO tells
when data last went over a connection, and in which direction. Looking at 20,000 of them takes a tenth of a
second, so they are looked at in portions; between two looks a connection may change, and whoever shuts one
looks at it again before.
"""

import os
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic, sleep, thread_time

from unpickled.server.config import Listening

# struct tcp_info of <linux/tcp.h>: state, packets not acknowledged, milliseconds since data was last sent,
# received and acknowledged, bytes acknowledged and received, bytes not sent, bytes sent and sent again.
_TCP_INFO = struct.Struct("=B23xI16xI4xII60xQQ8xI52xQQ")
# Established, and closed by the client for sending alone.
_OPEN = (1, 8)
# A number that the kernel gives to each socket, once: <asm-generic/socket.h>.
_SO_COOKIE = 57
# Longest tick of the kernel's clock for these times.
_JIFFY = 0.01
# Connections that are looked at between two looks at the clock.
_PORTION = 64
# Bytes up to which the server has answered no request: an HTTP/2 server begins with frames of its own
# (settings, their acknowledgement, a window), and no answer of HTTP/1 is as short.
_GREETING = 80


def told() -> bool:
    """Whether this kernel tells times and counts of connections: some sandboxes only say 0.

    It is tried on a connection of this process to itself.
    """
    if not hasattr(socket, "TCP_INFO"):
        return False
    try:
        with (
            socket.create_server(("127.0.0.1", 0)) as listener,
            socket.create_connection(listener.getsockname(), timeout=1) as client,
            listener.accept()[0] as served,
        ):
            client.sendall(b"1")
            served.recv(1)
            tried = Connection(-1, _cookie(served), "", 0.0, monotonic())
            tried.follow(_info(served), monotonic())
            return tried.begun and not tried.answered
    except (OSError, struct.error):
        return False


class Connection:
    """One connection of a client; times are seconds of time.monotonic().

    Attributes:
        descriptor: Its number in this process.
        cookie: Its number in the kernel, which no other socket gets.
        peer: The address of the client.
        absent: When it was not open yet; 0 if it was open at the first look.
        opened: When it was open at the latest.
        received: When the client last sent data; while it has sent none, when the connection was opened.
        sent: When the server last sent new data; while it has sent none, when the connection was opened.
        begun: Whether the client has sent data at all.
        answered: Whether the server has sent more than an HTTP/2 server does by itself.
        unread: Since when the client has taken nothing, while data waits for it; else 0.
        rested: The last look at which nothing had been received since data was last sent; 0 without one.
        rested_since: When data had last been sent at that look.
    """

    __slots__ = (
        "_bytes_received",
        "_bytes_sent",
        "absent",
        "answered",
        "begun",
        "cookie",
        "descriptor",
        "opened",
        "peer",
        "received",
        "rested",
        "rested_since",
        "seen",
        "sent",
        "unread",
    )

    def __init__(self, descriptor: int, cookie: bytes, peer: str, absent: float, opened: float) -> None:
        self.descriptor = descriptor
        self.cookie = cookie
        self.peer = peer
        self.absent = absent
        self.opened = opened
        self.received = self.sent = opened
        self.begun = self.answered = False
        self.unread = self.rested = self.rested_since = 0.0
        # When it was looked at.
        self.seen = 0.0
        self._bytes_sent = self._bytes_received = -1

    def follow(self, info: bytes, now: float) -> None:
        """Take over what the kernel tells now."""
        _, unacknowledged, sent, received, acknowledged, taken, arrived, unsent, written, again = (
            _TCP_INFO.unpack(info)
        )
        # Data that is sent again is not new. Before Linux 4.19 the kernel does not count what it sends; it
        # acknowledges the handshake as one byte.
        written = written - again if written else max(0, taken - 1)
        if not self.seen and not written:
            # So far the kernel tells when the connection was opened.
            self.opened = now - sent / 1000
            self.absent = max(self.absent, self.opened - _JIFFY)
        if written != self._bytes_sent:
            self._bytes_sent = written
            self.sent = now - sent / 1000
            self.answered = written > _GREETING
        if arrived != self._bytes_received:
            self._bytes_received = arrived
            self.received = now - received / 1000
            self.begun = arrived > 0
        self.unread = now - max(sent, acknowledged) / 1000 if unacknowledged + unsent else 0.0
        if not self._waits():
            self.rested, self.rested_since = now, self.sent
        self.seen = now

    def _waits(self) -> bool:
        """Whether data has come since the server last sent some."""
        return self.begun and (self.received > self.sent or self._bytes_sent == 0)

    @property
    def silent_since(self) -> float:
        """When the client last sent data, while the server has sent none since; else 0."""
        return self.received if self._waits() else 0.0

    @contextmanager
    def held(self) -> Iterator[socket.socket | None]:
        """The connection as it is now, looked at once more; None where it has closed meanwhile.

        The descriptor is a duplicate, so that the number can get no other connection while it is held.
        """
        try:
            connection = socket.socket(fileno=os.dup(self.descriptor))
        except OSError:
            yield None
            return
        with connection:
            try:
                same = _cookie(connection) == self.cookie
                if same:
                    self.follow(_info(connection), monotonic())
            except OSError:
                same = False
            yield connection if same else None


class Connections:
    """The connections of clients that this process holds.

    Attributes:
        all: Those of the last whole pass, in no order.
        since: When that pass began: whatever was open then, and is open still, is among them.
        count: How many there are, those of Unix sockets included, of which the kernel tells no times.
    """

    def __init__(self, listening: Listening) -> None:
        self.all: list[Connection] = []
        self.since = 0.0
        self.count = 0
        self._place: object = listening.uds or listening.port
        self._by_descriptor: dict[int, Connection] = {}
        self._descriptors: Iterator[int] = iter(())
        self._begun = 0.0
        self._untimed = 0

    def look(self, seconds: float) -> bool:
        """Go on with a pass for ``seconds`` of processor time at most; True if the pass is complete."""
        end = thread_time() + seconds
        if not self._begun:
            self._begin()
        for number, descriptor in enumerate(self._descriptors, 1):
            self._examine(descriptor)
            if number % _PORTION == 0:
                # Requests wait for the interpreter's lock meanwhile.
                sleep(0)
                if thread_time() > end:
                    return False
        self._complete()
        return True

    def _begin(self) -> None:
        self._begun = monotonic()
        self._untimed = 0
        self._descriptors = iter(_descriptors(len(self._by_descriptor)))

    def _complete(self) -> None:
        begun = self._begun
        self._by_descriptor = {
            descriptor: connection
            for descriptor, connection in self._by_descriptor.items()
            if connection.seen >= begun
        }
        # New lists: other threads read the old ones.
        self.all = [*self._by_descriptor.values()]
        self.count = len(self.all) + self._untimed
        self.since, self._begun = begun, 0.0

    def _examine(self, descriptor: int) -> None:
        try:
            # A borrowed object: a duplicate would cost two more calls of the system.
            borrowed = socket.SocketType(socket.AF_INET, socket.SOCK_STREAM, 0, descriptor)
        except OSError:  # no socket, or not open
            return
        try:
            cookie = _cookie(borrowed)
            info = _info(borrowed)
            now = monotonic()
            connection = self._by_descriptor.get(descriptor)
            if connection is None or connection.cookie != cookie:
                connection = self._added(descriptor, borrowed, cookie, info, now)
            if connection is not None:
                connection.follow(info, now)
        except OSError:
            self._count_untimed(borrowed)
        finally:
            borrowed.detach()

    def _added(
        self, descriptor: int, borrowed: socket.SocketType, cookie: bytes, info: bytes, now: float
    ) -> Connection | None:
        """A record for a new connection; None for a listener, or a connection that this process began."""
        if info[0] not in _OPEN or borrowed.getsockname()[1] != self._place:
            return None
        connection = Connection(descriptor, cookie, borrowed.getpeername()[0], self.since, now)
        self._by_descriptor[descriptor] = connection
        return connection

    def _count_untimed(self, borrowed: socket.SocketType) -> None:
        with suppress(OSError):
            if borrowed.getsockname() == self._place and not borrowed.getsockopt(
                socket.SOL_SOCKET, socket.SO_ACCEPTCONN
            ):
                self._untimed += 1


def shut(connection: socket.socket, how: int) -> None:
    """Shut one or both directions of a connection, which wakes the thread that waits for it."""
    with suppress(OSError):
        connection.shutdown(how)


def _cookie(connection: socket.SocketType) -> bytes:
    return connection.getsockopt(socket.SOL_SOCKET, _SO_COOKIE, 8)


def _info(connection: socket.SocketType) -> bytes:
    # Older kernels tell less.
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size).ljust(
        _TCP_INFO.size, b"\0"
    )


def _descriptors(connections: int) -> Iterable[int]:
    """Numbers among which are all open descriptors of this process.

    The folder that lists them costs more for each than a look at a number that is not open.
    """
    size = _table_size()
    if connections * 2 > size > 0:
        return range(size)
    return map(int, os.listdir("/proc/self/fd"))


def _table_size() -> int:
    """How many descriptors this process has room for, the open ones included; 0 where it is not told."""
    with suppress(OSError), open("/proc/self/status", "rb") as status:
        for line in status:
            if line.startswith(b"FDSize:"):
                return int(line.split()[1])
    return 0
