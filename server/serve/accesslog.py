"""One line of JSON on stdout for each request: WSGI middleware around the whole application."""

import logging
import os
import select
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from unpickled.server.message.answer import dumps
from unpickled.server.serve.fastpath import Application, Environ, StartResponse

logger = logging.getLogger("unpickled")

STDOUT = 1
# Longest path, in characters: lines stay below the 4,096 bytes that a pipe takes from a process in one piece.
LONGEST = 500


class AccessLog:
    """Writes one line per request, and passes the answer on unchanged.

    If the length of an answer is unknown, its line is written at its end, with its size and duration. The
    query is left out: it may carry secrets or personal data.
    """

    def __init__(self, application: Application, descriptor: int = STDOUT) -> None:
        self._application = application
        self._descriptor = descriptor
        self._poll = _Poll(descriptor)
        self._failed = False

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        arrived, started = datetime.now(UTC), time.perf_counter()
        status, headers = "500", {}

        def start(line: str, pairs: list[tuple[str, str]], *error: Any) -> Any:
            nonlocal status, headers
            status, headers = line, dict(pairs)
            return start_response(line, pairs, *error)

        def write(size: int) -> None:
            # Whatever fails here, the client gets the application's answer.
            try:
                elapsed = time.perf_counter() - started
                self._write(_line(environ, status, headers, size, arrived, elapsed))
            except Exception as error:
                self._complain((isinstance(error, OSError) and error.strerror) or str(error))

        answer: Iterable[bytes] = ()
        try:
            answer = self._application(environ, start)
        except BaseException:
            write(0)
            raise
        size = _length(environ, headers, answer)
        if size is None:
            return _followed(answer, write)
        write(size)
        return answer

    def _write(self, line: dict[str, Any]) -> None:
        if self._poll.has_room():
            os.write(self._descriptor, dumps(line) + b"\n")
        else:
            self._complain("its reader does not keep up")

    def _complain(self, reason: str) -> None:
        if not self._failed:
            self._failed = True
            logger.warning("the access log cannot be written (%s): requests go on without", reason)


class _Poll(threading.local):
    """Each thread's own poll object: one that two threads use at once raises RuntimeError."""

    def __init__(self, descriptor: int) -> None:
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)

    def has_room(self) -> bool:
        """Whether a line can be written without waiting: a pipe is ready only if it takes 4,096 bytes."""
        return bool(self._poll.poll(0))


def _followed(answer: Iterable[bytes], write: Callable[[int], None]) -> Iterator[bytes]:
    """The answer, in the same parts; its size goes to ``write`` at its end, or when it is broken off."""
    parts = _counted(answer, write)
    # Start the generator now, so that its `finally` writes the line however the response ends.
    next(parts)
    return parts


def _counted(answer: Iterable[bytes], write: Callable[[int], None]) -> Iterator[bytes]:
    size = 0
    try:
        yield b""
        for part in answer:
            size += len(part)
            yield part
    finally:
        write(size)
        if hasattr(answer, "close"):
            answer.close()


def _line(
    environ: Environ,
    status: str,
    headers: dict[str, str],
    size: int,
    arrived: datetime,
    elapsed: float,
) -> dict[str, Any]:
    line = {
        "time": arrived,
        "method": environ["REQUEST_METHOD"][:20],
        "path": _path(environ),
        "status": int(status[:3]),
        "duration_ms": int(1e6 * elapsed) / 1000,
        "bytes": size,
        "worker": os.getpid(),
    }
    if "Model-Name" in headers:
        line["model"] = headers["Model-Name"]
        line["version"] = int(headers["Model-Version"])
    if environ.get("REMOTE_ADDR"):
        line["remote"] = environ["REMOTE_ADDR"]
    return line


def _path(environ: Environ) -> str:
    """The path as text: WSGI hands out its bytes as if they were latin-1 text."""
    path: str = environ.get("PATH_INFO", "")[:LONGEST]
    return path if path.isascii() else path.encode("latin-1", "replace").decode("utf-8", "replace")


def _length(environ: Environ, headers: dict[str, str], answer: Iterable[bytes]) -> int | None:
    if environ["REQUEST_METHOD"] == "HEAD":
        return 0
    if isinstance(answer, list | tuple):
        return sum(map(len, answer))
    announced = headers.get("Content-Length", "")
    return int(announced) if announced.isdigit() else None
