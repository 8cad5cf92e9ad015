"""Frees a worker whose every thread waits for a request body that does not come.

The HTTP server gives a body no deadline, and a thread that waits for one cannot be woken. When
such hold every thread, connections that fell silent in the middle of a request are shut for
reading, which ends the wait (Linux, TCP). Clients that trickle on, and other systems, are left:
then the worker ends and is replaced. Watching from outside costs a request nothing. A worker that
outlives the main process, which would replace it, ends too. While it is at it, it publishes how many
requests are in flight.
"""

import logging
import os
import socket
import stat
import struct
import sys
import threading
import time
from contextlib import suppress
from types import FrameType

from server import body
from server.config import Config
from server.endpoint import in_flight
from server.metrics import tally
from server.metrics.counters import Block

logger = logging.getLogger("unpickled")

# Seconds between looks, and from shutting connections to ending the worker.
_PERIOD = 0.25
_GRACE = 2.0
# struct tcp_info of <linux/tcp.h>: milliseconds since data was last sent and received, bytes
# acknowledged and received.
_TCP_INFO = struct.Struct("=44xI4xI64xQQ")


def start(config: Config, block: Block) -> None:
    """Watch this process from a thread of its own."""
    threading.Thread(target=_watch, args=(config, block), name="watchdog", daemon=True).start()


def _watch(config: Config, block: Block) -> None:
    parent = os.getppid()
    since: dict[FrameType, float] = {}
    while True:
        time.sleep(_PERIOD)
        if os.getppid() != parent:
            logger.error("the server's main process is gone: worker %d ends", os.getpid())
            os._exit(1)
        tally.set_in_flight(block, in_flight())
        now = time.monotonic()
        # Holding the frames keeps their identity: a frame seen twice is one and the same read.
        since = {frame: since.get(frame, now) for frame in _reading()}
        _relieve([now - start for start in since.values()], config)


def _relieve(waits: list[float], config: Config) -> None:
    """Act on how long each thread has waited for a body, in seconds."""
    # With a thread free, stalled bodies harm nobody. With none, no thread computes: what is silent
    # is either waited for or, if it came after the last thread was taken, waits for a thread.
    overdue = sum(wait >= config.body_timeout for wait in waits)
    if not overdue or len(waits) < config.threads:
        return
    _shut_silent(overdue, max(config.body_timeout, min(waits)))
    if min(waits) >= config.body_timeout + _GRACE:
        _end_worker(config)


def _reading() -> list[FrameType]:
    return [frame for frame in sys._current_frames().values() if frame.f_code in body.READING]


def _shut_silent(count: int, seconds: float) -> None:
    """Shut the ``count`` connections that are silent longest, ``seconds`` at least."""
    ages = {descriptor: _silence(descriptor) for descriptor in _sockets()}
    silent = sorted((found for found, age in ages.items() if age >= seconds), key=ages.__getitem__)
    for descriptor in silent[-count:]:
        with suppress(OSError), _duplicate(descriptor) as connection:
            connection.shutdown(socket.SHUT_RD)
    if silent:
        logger.warning("closed connections that were silent for %.0f s in the middle of a request", seconds)


def _sockets() -> list[int]:
    """Descriptors of this process that are sockets, where the system tells how silent they are."""
    if not hasattr(socket, "TCP_INFO"):
        return []
    found = []
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                found.append(int(name))
    return found


def _duplicate(descriptor: int) -> socket.socket:
    # Closing the duplicate leaves the server's own descriptor open.
    return socket.socket(fileno=os.dup(descriptor))


def _silence(descriptor: int) -> float:
    """Seconds since anything came, where a request has begun and no answer has; else 0."""
    try:
        with _duplicate(descriptor) as connection:
            connection.getpeername()
            info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
        sent, received, bytes_sent, bytes_received = _TCP_INFO.unpack(info)
    except (OSError, struct.error):
        return 0.0
    # The kernel acknowledges the handshake as one byte.
    unanswered = bytes_sent <= 1 or sent > received
    return received / 1000 if bytes_received and unanswered else 0.0


def _end_worker(config: Config) -> None:
    logger.error(
        "all %d threads of worker %d have waited %d s for request bodies: it ends and is replaced",
        config.threads,
        os.getpid(),
        config.body_timeout,
    )
    # Not sys.exit: the threads cannot be joined.
    os._exit(1)
