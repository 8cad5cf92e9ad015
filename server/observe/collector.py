"""The collector of OpenTelemetry that gets the spans: OTLP over HTTP, as JSON.

https://opentelemetry.io/docs/specs/otlp/#otlphttp
"""

from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from unpickled.server.errors import ConfigError, RequestError
from unpickled.server.message import strict
from unpickled.server.message.answer import JSON
from unpickled.server.quote import quoted

# Answers after which the same spans may be sent again.
_AGAIN = frozenset({429, 502, 503, 504})
# Seconds that a connection, or a collector that takes spans, may be silent.
_PATIENCE = 5.0
# Most seconds that a collector may ask to wait, and most bytes that are read of its answer.
_LONGEST_WAIT = 10.0
_MOST_BYTES = 64 * 1024


class Reply(NamedTuple):
    """The answer of a collector.

    ``reason`` is "" where it took the spans, all but ``rejected`` of them. Otherwise ``again`` tells whether
    to send them once more, after ``wait`` seconds where the collector says so.
    """

    reason: str = ""
    again: bool = False
    wait: float | None = None
    rejected: int = 0


class Collector:
    """Sends documents to one collector, over one connection; for one thread.

    Args:
        endpoint: Its address, such as http://localhost:4318.

    Raises:
        ConfigError: The address is none.
    """

    def __init__(self, endpoint: str) -> None:
        try:
            parts = urlsplit(endpoint)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise ConfigError(f"otlp_endpoint is {quoted(endpoint)}: {error}") from None
        if not host:
            raise ConfigError(f"otlp_endpoint is {quoted(endpoint)}: it names no host")
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self.address = f"{parts.scheme}://{host}" + (f":{port}" if port else "")
        self._path = f"{parts.path.rstrip('/')}/v1/traces"
        self._connection = kind(host, port, timeout=_PATIENCE)

    def send(self, document: bytes) -> Reply:
        """Send a document; raises nothing."""
        try:
            self._connection.request("POST", self._path, document, dict([JSON]))
            return _reply(self._connection.getresponse())
        except (OSError, HTTPException) as error:
            # A connection that was idle may be shut just now: the next attempt opens another.
            self._connection.close()
            return Reply(str(error) or type(error).__name__, again=True)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _reply(response: HTTPResponse) -> Reply:
    with response:
        content = response.read(_MOST_BYTES)
    if 200 <= response.status < 300:
        return Reply(rejected=_rejected(content))
    wait = response.headers.get("Retry-After", "")
    return Reply(
        f"status {response.status}",
        again=response.status in _AGAIN,
        wait=min(float(wait), _LONGEST_WAIT) if wait.isascii() and wait.isdigit() else None,
    )


def _rejected(content: bytes) -> int:
    """The number of spans that a collector which answers 200 did not take."""
    try:
        partial: Any = strict.parse(content).get("partialSuccess") or {}
        return int(partial.get("rejectedSpans") or 0)
    except (RequestError, AttributeError, TypeError, ValueError):
        return 0
