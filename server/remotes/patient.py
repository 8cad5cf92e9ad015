"""Connections that wait for the head of an answer for a while only, however often a part of it comes."""

import http.client
import socket
import threading
import urllib.request
from contextlib import suppress
from typing import Any

from unpickled.server.errors import RemoteError

# Seconds until the head of an answer is there. The timeout of a socket begins anew with each byte.
_PATIENCE = 60.0


class _Plain(http.client.HTTPConnection):
    def getresponse(self) -> http.client.HTTPResponse:
        late = threading.Event()
        timer = threading.Timer(_PATIENCE, _end, (self.sock, late))
        timer.daemon = True
        timer.start()
        try:
            return super().getresponse()
        finally:
            timer.cancel()
            # A head that ends in the middle of a line is read like a whole one, and an end of TLS in the
            # middle of a read has errors of many kinds.
            _check(late)


class _Secure(_Plain, http.client.HTTPSConnection):
    pass


class Plain(urllib.request.HTTPHandler):
    """Opens plain addresses."""

    def http_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(_Plain, req)


class Secure(urllib.request.HTTPSHandler):
    """Opens addresses over TLS."""

    def https_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(_Secure, req)


def _end(sock: socket.socket, late: threading.Event) -> None:
    late.set()
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _check(late: threading.Event) -> None:
    if late.is_set():
        raise RemoteError("the head of the answer comes too slowly")
