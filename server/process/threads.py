"""As many threads as the system lets this server have.

The HTTP server starts them when requests need them, and ends its whole process if the system refuses one: by
a limit of the container (pids), or of the user (ulimit -u). So the server asks for no more than it can get.
"""

import _thread
import logging
import threading
from time import monotonic, sleep

from msgspec.structs import replace

from unpickled.server.config import Listening
from unpickled.server.errors import ConfigError

logger = logging.getLogger("unpickled")

# Threads of a worker beside those that answer requests, and threads of the main process.
_BESIDE, _MAIN = 12, 6
# More threads than these are not tried, as that would take a while: whoever asks for them knows the limits.
_MOST = 4000
# Bytes of stack of a thread that is tried: the least that all systems take.
_STACK = 256 * 1024
# Seconds that they may take to end.
_PATIENCE = 5.0


def affordable(listening: Listening) -> Listening:
    """The same settings, with fewer threads, and a warning, if the system has not as many.

    Raises:
        ConfigError: The system has not even one for each worker.
    """
    workers = listening.workers
    wanted = _MAIN + workers * (_BESIDE + listening.threads)
    if wanted > _MOST or (count := _startable(wanted)) == wanted:
        return listening
    threads = (count - _MAIN) // workers - _BESIDE
    limit = f"the system allows {count} more threads, and {wanted} are needed"
    remedy = "raise its limit (pids of the container, or ulimit -u)"
    if threads < 1:
        raise ConfigError(f"{limit}: {remedy}, or use fewer workers")
    logger.warning("%s: each worker answers %d requests at once; %s to have more", limit, threads, remedy)
    return replace(listening, threads=threads)


def _startable(wanted: int) -> int:
    """How many of so many threads start; all of them have ended afterwards."""
    closed, before, count = threading.Lock(), _thread._count(), 0
    usual = threading.stack_size(_STACK)
    try:
        with closed:
            while count < wanted:
                # No Thread, whose start would wait for one that has no memory to run.
                _thread.start_new_thread(_pass, (closed,))
                count += 1
    except RuntimeError:
        # "can't start new thread"
        pass
    finally:
        threading.stack_size(usual)
    deadline = monotonic() + _PATIENCE
    while _thread._count() > before and monotonic() < deadline:
        sleep(0.001)
    return count


def _pass(closed: threading.Lock) -> None:
    with closed:
        pass
