"""Leave for pages of other origins to read the answers in a browser: WSGI middleware, where it is configured.

https://fetch.spec.whatwg.org/#http-cors-protocol
"""

from collections.abc import Collection, Iterable
from typing import Any

from unpickled.server.serve.fastpath import Application, Environ, StartResponse

# Headers of answers that a page may read, beside those that it always may.
_EXPOSED = (
    "Ignored-Columns, Inference-Header-Content-Length, Model-Name, Model-Version, Outside-Training, "
    "Prediction-Id, Retry-After, Server-Timing, X-Request-Id, traceresponse"
)
_METHODS = "GET, HEAD, POST"
# Seconds for which a browser remembers the answer to a preflight request.
_MAX_AGE = "7200"


class Cors:
    """Adds the headers for the origins that are allowed to every answer, and answers preflight requests."""

    def __init__(self, application: Application, origins: Collection[str]) -> None:
        self._application = application
        self._origins = frozenset(origins)
        self._any = "*" in self._origins

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        allowed = self._allowed(environ.get("HTTP_ORIGIN", ""))
        if _is_preflight(environ) and len(allowed) > 1:
            asked = environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS")
            start_response("204 No Content", [*allowed, *_preflight(asked)])
            return []

        def start(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
            return start_response(status, _with(headers, allowed), *error)

        return self._application(environ, start)

    def _allowed(self, origin: str) -> list[tuple[str, str]]:
        """The headers of an answer to an origin. One that depends on it says so, or caches would mix them."""
        if self._any:
            return [("Access-Control-Allow-Origin", "*"), ("Access-Control-Expose-Headers", _EXPOSED)]
        if origin not in self._origins:
            return [("Vary", "Origin")]
        return [
            ("Access-Control-Allow-Origin", origin),
            ("Access-Control-Expose-Headers", _EXPOSED),
            ("Vary", "Origin"),
        ]


def _is_preflight(environ: Environ) -> bool:
    return environ["REQUEST_METHOD"] == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ


def _preflight(asked: str | None) -> list[tuple[str, str]]:
    headers = [("Access-Control-Allow-Methods", _METHODS), ("Access-Control-Max-Age", _MAX_AGE)]
    return [*headers, ("Access-Control-Allow-Headers", asked)] if asked else headers


def _with(headers: list[tuple[str, str]], more: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Both, with one Vary."""
    vary = ", ".join(value for name, value in [*headers, *more] if name == "Vary")
    others = [pair for pair in [*headers, *more] if pair[0] != "Vary"]
    return [*others, ("Vary", vary)] if vary else others
