"""One line of JSON on stdout for each request: WSGI middleware around the whole application."""

import logging
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from unpickled.server.message import path, traceparent
from unpickled.server.message.answer import dumps
from unpickled.server.message.environ import KEY, QUEUE_MS, REQUEST_ID, TRACE
from unpickled.server.observe.counters import Block
from unpickled.server.observe.log import LOST
from unpickled.server.observe.outlet import Outlet
from unpickled.server.serve.fastpath import Application, Environ, StartResponse
from unpickled.server.serve.followed import followed

logger = logging.getLogger("unpickled")

STDOUT = 1
# Members of a line -> the entries of the WSGI environment in which other layers note them.
_NOTED = (("request_id", REQUEST_ID), ("key", KEY), ("trace_id", TRACE), ("queue_ms", QUEUE_MS))
# Longest line, in bytes: a pipe takes it in one piece. For it, a path of control characters is cut.
_LONGEST, _SHORT = 4096, 100


class AccessLog:
    """Writes one line per request, and passes the answer on unchanged.

    If the length of an answer is unknown, its line is written at its end, with its size and duration. The
    query is left out: it may carry secrets or personal data. Lines that cannot be written are counted in
    ``block``.
    """

    def __init__(self, application: Application, block: Block, descriptor: int = STDOUT) -> None:
        self._application = application
        self._outlet = Outlet(descriptor)
        self._lost = block.series((LOST, "access"), 1)
        self._failed = False

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        arrived, started = datetime.now(UTC), time.perf_counter()
        status, headers = "500", {}
        # A layer below may take an outer path away.
        shown = path.shown(environ)

        def start(line: str, pairs: list[tuple[str, str]], *error: Any) -> Any:
            nonlocal status, headers
            status, headers = line, dict(pairs)
            return start_response(line, pairs, *error)

        def write(size: int) -> None:
            # Whatever fails here, the client gets the application's answer.
            try:
                elapsed = time.perf_counter() - started
                entry = _entry(environ, shown, status, headers, size, arrived, elapsed)
                self._outlet.write(_line(entry))
            except Exception as error:
                self._complain(error)

        answer: Iterable[bytes] = ()
        try:
            answer = self._application(environ, start)
        except BaseException:
            write(0)
            raise
        size = _length(environ, headers, answer)
        if size is None:
            return followed(answer, write)
        write(size)
        return answer

    def _complain(self, error: Exception) -> None:
        self._lost[0] += 1.0
        if self._failed:
            return
        self._failed = True
        reason = "its reader does not keep up" if isinstance(error, BlockingIOError) else _reason(error)
        with suppress(Exception):
            logger.warning("the access log cannot be written (%s): requests go on without", reason)


def _reason(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)


def _entry(
    environ: Environ,
    shown: str,
    status: str,
    headers: dict[str, str],
    size: int,
    arrived: datetime,
    elapsed: float,
) -> dict[str, Any]:
    entry = {
        "time": arrived,
        "method": environ["REQUEST_METHOD"][:20],
        "path": shown,
        "status": int(status[:3]),
        "duration_ms": int(1e6 * elapsed) / 1000,
        "bytes": size,
        "worker": os.getpid(),
    }
    if "Model-Name" in headers:
        entry["model"] = headers["Model-Name"]
        entry["version"] = int(headers["Model-Version"])
    if environ.get("REMOTE_ADDR"):
        entry["remote"] = environ["REMOTE_ADDR"]
    for key, variable in _NOTED:
        if variable in environ:
            entry[key] = environ[variable]
    if TRACE not in environ and traceparent.VARIABLE in environ:
        _add_trace(entry, environ)
    return entry


def _add_trace(entry: dict[str, Any], environ: Environ) -> None:
    """Add the trace of a caller that records its requests, where this server sends no spans."""
    caller = traceparent.read(environ[traceparent.VARIABLE])
    if caller is not None and caller.sampled:
        entry["trace_id"] = caller.trace


def _line(entry: dict[str, Any]) -> bytes:
    line = dumps(entry) + b"\n"
    if len(line) > _LONGEST:
        entry["path"] = entry["path"][:_SHORT]
        line = dumps(entry) + b"\n"
    return line


def _length(environ: Environ, headers: dict[str, str], answer: Iterable[bytes]) -> int | None:
    if environ["REQUEST_METHOD"] == "HEAD":
        return 0
    if isinstance(answer, list | tuple):
        return sum(map(len, answer))
    announced = headers.get("Content-Length", "")
    return int(announced) if announced.isdigit() else None
