"""Frees a worker whose every thread waits for a request body that does not come.

The HTTP server gives a body no deadline, and a thread that waits for one cannot be woken. Fewer
stalled clients than threads do no harm; when they hold all of them, the worker ends and is
replaced. Looking at the threads from outside costs a request nothing.
"""

import logging
import os
import sys
import threading
import time
from types import CodeType, FrameType

from server import body
from server.config import Config

logger = logging.getLogger("unpickled")

_PERIOD = 1.0
_READING = (body.read.__code__, body._read_unannounced.__code__)


def start(config: Config) -> None:
    """Watch this process from a thread of its own."""
    threading.Thread(target=_watch, args=(config,), name="watchdog", daemon=True).start()


def _watch(config: Config) -> None:
    since: dict[FrameType, float] = {}
    while True:
        time.sleep(_PERIOD)
        now = time.monotonic()
        # Holding the frames keeps their identity: a frame seen twice is one and the same read.
        since = {frame: since.get(frame, now) for frame in _reading()}
        stalled = sum(now - start >= config.body_timeout for start in since.values())
        if stalled >= config.threads:
            _end_worker(config)


def _reading() -> list[FrameType]:
    return [frame for frame in sys._current_frames().values() if _is_reading(frame.f_code)]


def _is_reading(code: CodeType) -> bool:
    return code in _READING


def _end_worker(config: Config) -> None:
    logger.error(
        "all %d threads of worker %d have waited %d s for request bodies: it ends and is replaced",
        config.threads,
        os.getpid(),
        config.body_timeout,
    )
    # Not sys.exit: the threads cannot be joined.
    os._exit(1)
