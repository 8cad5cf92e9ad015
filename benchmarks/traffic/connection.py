"""One keep-alive connection: a request goes out in one write, an answer costs a few microseconds."""

import socket
import ssl
from http.client import HTTPException
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import gevent.socket
import gevent.ssl
from geventhttpclient._parser import HTTPResponseParser

from benchmarks.errors import BenchmarkError

# Seconds, as for Locust's own HTTP users.
PATIENCE = 60.0
CHUNK = 65536

# Errors of the network, raised by ``Connection.exchange``.
FAULTS = (OSError, HTTPException)


class Response(NamedTuple):
    status: int
    content: bytes


class Address(NamedTuple):
    """The address of a server. ``prefix`` comes before every path."""

    secure: bool
    host: str
    port: int
    prefix: str

    @classmethod
    def of(cls, url: str) -> "Address":
        """The parts of http://host[:port][/prefix]; raises BenchmarkError."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BenchmarkError(f"--host {url!r} is not an address: write it like http://127.0.0.1:8000")
        secure = parts.scheme == "https"
        return cls(secure, parts.hostname, port or (443 if secure else 80), parts.path.rstrip("/"))

    def message(
        self, method: str, path: str, body: bytes = b"", kind: str = "application/json", headers: str = ""
    ) -> bytes:
        """The bytes of one request; ``headers`` are more of them, each with the end of its line."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        head = (
            f"{method} {self.prefix}{path} HTTP/1.1\r\nHost: {name}:{self.port}\r\n"
            f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
        )
        return head.encode("ascii") + body


class _Parser(HTTPResponseParser):
    """llhttp without headers: nothing here needs them, and each costs two calls."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = False
        self.complete = False
        self.parts: list[bytes] = []

    def _skip(self, *_: object) -> None:
        pass

    _on_status = _on_header_field = _on_header_value = _on_headers_complete = _skip

    def _on_message_begin(self) -> None:
        self.begun = True

    def _on_body(self, part: bytes) -> None:
        self.parts.append(part)

    def _on_message_complete(self) -> None:
        # An interim 100 Continue is not the answer.
        self.complete = self.get_code() >= 200


class Connection:
    """A connection that opens on demand, and again after the server closed it."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._socket: Any = None

    def open(self) -> None:
        """Connect; raises OSError."""
        address = self.address
        plain = gevent.socket.create_connection((address.host, address.port), PATIENCE)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = _secured(plain, address.host) if address.secure else plain

    def close(self) -> None:
        """Close the socket, if one is open."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def exchange(self, message: bytes) -> Response:
        """The answer to one request; raises one of FAULTS.

        A connection that the server closed while it was idle is opened once more, as every client with
        keep-alive does; the time for that is part of the latency.
        """
        parser, reused = _Parser(), self._socket is not None
        try:
            return self._attempt(message, parser)
        except ConnectionError:
            self.close()
            if not reused or parser.begun:
                raise
        except BaseException:
            # The rest of this answer would be read as the next one.
            self.close()
            raise
        return self._attempt(message, _Parser())

    def _attempt(self, message: bytes, parser: _Parser) -> Response:
        if self._socket is None:
            self.open()
        self._socket.sendall(message)
        while not parser.complete:
            data = self._socket.recv(CHUNK)
            # The end of the connection is the end of an answer without a length.
            if data or parser.begun:
                parser.feed(data)
            if not data and not parser.complete:
                raise ConnectionResetError("the server closed the connection without an answer")
        if not parser.should_keep_alive():
            self.close()
        return Response(parser.get_code(), b"".join(parser.parts))


def _secured(plain: Any, host: str) -> Any:
    context: ssl.SSLContext = gevent.ssl.create_default_context()
    return context.wrap_socket(plain, server_hostname=host)
