"""A small HTTP server inside the loop of the main process: one thread, and no client can hold it up.

Requests have no body and answers are short, so each connection gets one answer and ends. Clients that are
slow lose their connections once others need the place.
"""

import logging
import selectors
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from unpickled.server.errors import BadRequest, MethodNotAllowed, UnknownPath
from unpickled.server.message.answer import Whole, failure
from unpickled.server.quote import shortened

logger = logging.getLogger("unpickled")

# Method, path and Accept header -> the answer.
Answers = Callable[[str, str, str | None], Whole]

_MOST_CONNECTIONS = 128
# Seconds that a connection may take from its first byte to its last.
_MOST_SECONDS = 10.0
# Longest head of a request, in bytes.
_LONGEST_HEAD = 16 * 1024
_METHODS = ("GET", "HEAD")
# Longest path in an error, in characters.
_LONGEST_PATH = 200
_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class AdminPort:
    """Answers the connections of a listener.

    Args:
        listener: Takes the connections.
        selector: Tells when one is ready: the data of its keys is to be called.
        answers: Answers a request; an exception becomes the answer for that error.
    """

    def __init__(self, listener: socket.socket, selector: selectors.BaseSelector, answers: Answers) -> None:
        self._listener = listener
        self._selector = selector
        self._answers = answers
        # In the order in which they came.
        self._connections: dict[_Connection, None] = {}
        listener.setblocking(False)
        selector.register(listener, _READ, self._accept)

    def _accept(self, _: int) -> None:
        try:
            client, _address = self._listener.accept()
        except BlockingIOError:
            return
        except OSError as error:
            # Without a free descriptor the listener would stay ready, and the loop would never rest.
            logger.error("the admin port cannot take a connection: %s", error.strerror)
            self._make_room(0)
            time.sleep(0.05)
            return
        client.setblocking(False)
        self._make_room(_MOST_CONNECTIONS - 1)
        connection = _Connection(client, self._selector, self._answers, self._connections.pop)
        self._connections[connection] = None

    def _make_room(self, most: int) -> None:
        """Close the connections that are overdue, then the oldest, until there are ``most``."""
        now = time.monotonic()
        for connection in list(self._connections):
            if now > connection.deadline or len(self._connections) > most:
                connection.close()


class _Connection:
    """One client: its request is read, answered, and the connection ended."""

    def __init__(
        self,
        client: socket.socket,
        selector: selectors.BaseSelector,
        answers: Answers,
        on_close: Callable[["_Connection", None], object],
    ) -> None:
        self.deadline = time.monotonic() + _MOST_SECONDS
        self._client = client
        self._selector = selector
        self._answers = answers
        self._on_close = on_close
        self._head = b""
        self._left = memoryview(b"")
        selector.register(client, _READ, self._receive)

    def close(self) -> None:
        """End the connection."""
        with suppress(KeyError, ValueError):
            self._selector.unregister(self._client)
        self._client.close()
        self._on_close(self, None)

    def _receive(self, _: int) -> None:
        try:
            received = self._client.recv(_LONGEST_HEAD)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        self._head += received
        if not received:
            self.close()
        elif b"\r\n\r\n" in self._head or len(self._head) > _LONGEST_HEAD:
            self._left = memoryview(respond(self._head, self._answers))
            self._selector.modify(self._client, _WRITE, self._send)
            self._send(_WRITE)

    def _send(self, _: int) -> None:
        try:
            self._left = self._left[self._client.send(self._left) :]
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if not self._left:
            # Were unread bytes there at the close, the client would lose the answer.
            with suppress(OSError):
                self._client.shutdown(socket.SHUT_WR)
            self._selector.modify(self._client, _READ, self._discard)

    def _discard(self, _: int) -> None:
        try:
            if self._client.recv(_LONGEST_HEAD):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self.close()


def chosen(answers: Mapping[str, Callable[[], Whole]], method: str, path: str) -> Whole:
    """The answer that a path has.

    Raises:
        UnknownPath: There is nothing under this path.
        MethodNotAllowed: The method is neither GET nor HEAD.
    """
    if path not in answers:
        shown = shortened(path, _LONGEST_PATH)
        raise UnknownPath(f"there is nothing under {shown!r}: the admin port has {', '.join(answers)}")
    if method not in _METHODS:
        raise MethodNotAllowed(
            f"{path} does not take {shortened(method, 20)}: it takes {', '.join(_METHODS)}",
            headers={"Allow": ", ".join(_METHODS)},
            allowed=list(_METHODS),
        )
    return answers[path]()


def respond(head: bytes, answers: Answers) -> bytes:
    """The whole response to the head of a request."""
    method = ""
    try:
        method, path, accept = _parsed(head)
        status, headers, content = answers(method, path, accept)
    except Exception as error:
        status, headers, content = failure(error)
    lines = [
        f"HTTP/1.1 {status}",
        *(f"{name}: {value}" for name, value in headers),
        f"Content-Length: {len(content)}",
        "Cache-Control: no-store",
        "Connection: close",
    ]
    text = "".join(f"{line}\r\n" for line in lines).encode("latin-1", "replace")
    return text + b"\r\n" + (b"" if method == "HEAD" else content)


def _parsed(head: bytes) -> tuple[str, str, str | None]:
    """Method, path and Accept header of a request; BadRequest where it is none."""
    head, end, _ = head.partition(b"\r\n\r\n")
    if not end or len(head) > _LONGEST_HEAD:
        raise BadRequest(f"the head of the request is longer than {_LONGEST_HEAD} bytes", status=431)
    first, *lines = head.decode("latin-1").split("\r\n")
    method, _, rest = first.partition(" ")
    target, _, version = rest.partition(" ")
    if not method.isalpha() or not target.startswith("/") or version not in {"HTTP/1.1", "HTTP/1.0"}:
        raise BadRequest(
            "the request is not one of HTTP/1.1: it begins with GET /readyz HTTP/1.1", status=400
        )
    pairs = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    return method, target.partition("?")[0], headers.get("accept")
