"""One connection that never blocks: a request goes out, an answer comes in, nobody waits for either."""

import socket
from typing import NamedTuple

from benchmarks.traffic.connection import Address

CHUNK = 262_144
_HEAD_END = b"\r\n\r\n"
_LENGTH = b"\r\ncontent-length:"
_CLOSES = b"\r\nconnection: close"
_LAST_CHUNK = b"0\r\n\r\n"


class Answer(NamedTuple):
    """A whole answer; ``closes`` is true where no other may follow on this connection."""

    status: int
    content: bytes
    closes: bool


class Line:
    """A connection with at most one request under way. ``used``: whether it has brought an answer."""

    __slots__ = ("_received", "_unsent", "fd", "socket", "used")

    def __init__(self, address: Address) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # The handshake goes on by itself; the first bytes are kept until it is over.
        self.socket.connect_ex((address.host, address.port))
        self.fd = self.socket.fileno()
        self.used = False
        self._unsent: memoryview | bytes = b""
        self._received = b""

    def send(self, message: bytes) -> bool:
        """Begin a request; False where a part of it is left to be sent. Raises OSError."""
        self._received = b""
        self._unsent = message
        return self.flush()

    def flush(self) -> bool:
        """Send what is left of the request; False where something still is. Raises OSError."""
        try:
            sent = self.socket.send(self._unsent)
        except BlockingIOError:
            return False
        if sent == len(self._unsent):
            self._unsent = b""
            return True
        self._unsent = memoryview(self._unsent)[sent:]
        return False

    def receive(self) -> Answer | None:
        """The answer, once it is whole; raises OSError, also where the server ends the connection."""
        try:
            data = self.socket.recv(CHUNK)
        except BlockingIOError:
            return None
        if not data:
            raise ConnectionResetError("the server closed the connection without an answer")
        self._received = self._received + data if self._received else data
        answer = _read(self._received)
        if answer is not None:
            self.used = True
        return answer

    @property
    def silent(self) -> bool:
        """Whether no byte of an answer has come since the request was sent."""
        return not self._received

    def close(self) -> None:
        """End the connection, with or without an answer."""
        self.socket.close()


def _read(received: bytes) -> Answer | None:
    """The answer in these bytes, None where it is not whole; it has a length or comes in chunks."""
    end = received.find(_HEAD_END)
    if end < 0:
        return None
    head = received[: end + 2].lower()
    status, closes, at = int(received[9:12]), _CLOSES in head, head.find(_LENGTH)
    if at < 0:
        whole = received.endswith(_LAST_CHUNK)
        return Answer(status, _joined(received[end + 4 :]), closes) if whole else None
    length = int(head[at + len(_LENGTH) : head.index(b"\r\n", at + 2)])
    content = received[end + 4 :]
    return Answer(status, content, closes) if len(content) >= length else None


def _joined(chunks: bytes) -> bytes:
    """The content of a whole answer that came in chunks."""
    parts, at = [], 0
    while (end := chunks.index(b"\r\n", at)) and (length := int(chunks[at:end].partition(b";")[0], 16)):
        parts.append(chunks[end + 2 : end + 2 + length])
        at = end + 4 + length
    return b"".join(parts)
