"""The start of an engine: its processes write much to stderr, which is read only where the start fails."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO

from unpickled.server.batch.engines.engine import first_line
from unpickled.server.errors import ServingError


@contextmanager
def quiet(engine: str, reason: Callable[[Exception], str] = first_line) -> Iterator[None]:
    """Hide what is written to stderr in the block; processes that are started there stay silent to their end.

    Args:
        engine: The engine's name, for the sentence.
        reason: Chooses the line of an error that says most.

    Raises:
        ServingError: The block has raised an error: its reason, and the last line that was written.
    """
    with tempfile.TemporaryFile() as log:
        try:
            with _stderr(log):
                yield
        except Exception as error:
            raise ServingError(f"{engine} does not start: {reason(error)}{_last_line(log)}") from error


@contextmanager
def _stderr(file: IO[bytes]) -> Iterator[None]:
    sys.stderr.flush()
    own = os.dup(2)
    os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(own, 2)
        os.close(own)


def _last_line(log: IO[bytes]) -> str:
    log.seek(0)
    lines = [line.strip() for line in log.read().decode(errors="replace").splitlines()]
    last = next(filter(None, reversed(lines)), "")
    return f" ({first_line(Exception(last))})" if last else ""
