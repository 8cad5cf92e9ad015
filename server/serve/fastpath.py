"""WSGI middleware that answers predictions before Flask builds a request.

The same endpoints are Flask views too (app.py): both ways give the same answer, byte for byte.
"""

from collections.abc import Callable, Container, Iterable
from typing import Any

from unpickled.server.message.environ import COUNTS
from unpickled.server.observe.keyed import PLACES
from unpickled.server.serve.routes import Routes

Environ = dict[str, Any]
StartResponse = Callable[[str, list[tuple[str, str]]], Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]


class FastPath:
    """Answers POST requests to the exact path of a target; passes all others on to the application.

    A request whose Host header is not among the ``hosts`` that were found right goes on too: the application
    checks it.
    """

    def __init__(self, application: Application, routes: Routes, hosts: Container[str]) -> None:
        self._application = application
        self._routes = routes
        self._hosts = hosts

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        target = self._routes.targets.get(environ["PATH_INFO"])
        if (
            target is None
            or environ["REQUEST_METHOD"] != "POST"
            or environ.get("HTTP_HOST") not in self._hosts
        ):
            return self._application(environ, start_response)
        status, headers, content = target(environ)
        counts = environ.get(COUNTS)
        if counts is not None:
            counts[PLACES[status[0]]] += 1.0
        if not isinstance(content, bytes):
            start_response(status, list(headers))
            return content
        start_response(status, [*headers, ("Content-Length", str(len(content)))])
        # granian takes its one-write path only for a real list.
        return [content]
