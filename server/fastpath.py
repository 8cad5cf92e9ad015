"""WSGI middleware that answers predictions before Flask builds a request.

The same endpoints are Flask views (app.py), and both answer byte for byte the same.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from server import body
from server.answer import Answer, failure
from server.protocols.native import Native
from server.repository import Served

Environ = dict[str, Any]
StartResponse = Callable[[str, list[tuple[str, str]]], Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]


class Endpoint:
    """``POST .../predict`` of one served model."""

    def __init__(self, served: Served, max_rows: int, max_body_bytes: int) -> None:
        self.predict = Native(served.model, max_rows).predict
        self.limit = max_body_bytes
        self.headers = (
            ("Content-Type", "application/json"),
            ("Model-Name", served.name),
            ("Model-Version", str(served.version)),
        )

    def __call__(self, environ: Mapping[str, Any]) -> Answer:
        """The answer to a POST, errors included."""
        try:
            return "200 OK", self.headers, self.predict(body.read(environ, self.limit))
        except Exception as error:
            return failure(error)


class FastPath:
    """Answers POST requests whose exact path is in ``endpoints``; all others are the application's."""

    def __init__(self, application: Application, endpoints: Mapping[str, Endpoint]) -> None:
        self._application = application
        self._endpoints = endpoints

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        endpoint = self._endpoints.get(environ["PATH_INFO"])
        if endpoint is None or environ["REQUEST_METHOD"] != "POST":
            return self._application(environ, start_response)
        status, headers, content = endpoint(environ)
        start_response(status, [*headers, ("Content-Length", str(len(content)))])
        # granian takes its one-write path only for a real list.
        return [content]
