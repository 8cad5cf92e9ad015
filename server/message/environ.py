"""Entries of the WSGI environment by which one layer of the server tells the next what it has learnt."""

from collections.abc import Mapping
from typing import Any

# The name of the key that the request came with.
KEY = "unpickled.key"
# The numbers in which the layer that answers counts its requests: see server/observe/keyed.py.
COUNTS = "unpickled.key_counts"
# The id of the request, as its client chose it or the server made it.
REQUEST_ID = "unpickled.request_id"
# The id of the trace of a request that is recorded.
TRACE = "unpickled.trace"
# Milliseconds that the request has waited for its turn, where it had to.
QUEUE_MS = "unpickled.queue_ms"
# The address at the other end of the connection, where REMOTE_ADDR has become that of the proxy's client.
PEER = "unpickled.peer"


def is_multiplexed(environ: Mapping[str, Any]) -> bool:
    """Whether other requests may be under way on the same connection, as over HTTP/2."""
    return environ.get("SERVER_PROTOCOL") == "HTTP/2"


def peer(environ: Mapping[str, Any]) -> str:
    """The address at the other end of a request's connection, a proxy's perhaps; "" on a Unix socket."""
    address: str | None = environ.get(PEER if PEER in environ else "REMOTE_ADDR")
    return address or ""
