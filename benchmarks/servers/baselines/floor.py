"""The floor: a WSGI application that does nothing, on the HTTP server that Unpickled uses.

granian --interface wsgi --blocking-threads 64 --no-ws --working-dir benchmarks/servers/baselines floor:app
"""

from collections.abc import Callable
from typing import Any


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", "2")])
    return [b"{}"]
