"""The limit of open descriptors, which bounds the connections of a worker."""

import logging
from contextlib import suppress

from unpickled.server.config import Listening
from unpickled.server.errors import ConfigError
from unpickled.server.system import resource

logger = logging.getLogger("unpickled")

# Descriptors that connections leave to models, logs, threads and shared memory.
_RESERVED = 200
# Without so many, and so many for each worker, half of them would not do for all else than connections.
_LEAST, _EACH = 100, 4


def raise_limit(workers: int) -> None:
    """Raise the soft limit of descriptors to the hard one, for this process and its workers.

    Raises:
        ConfigError: So few are allowed that connections would take those that so many workers need.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # macOS refuses some values that it reports as the hard limit.
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    least = _LEAST + _EACH * workers
    if allowed != resource.RLIM_INFINITY and allowed < least:
        raise ConfigError(
            f"this system lets a process open {allowed} files, and {least} are needed: raise the limit "
            "(ulimit -Hn, LimitNOFILE in systemd), or use fewer workers"
        )


def connections(wanted: int) -> int:
    """The connections that a worker may hold: ``wanted``, or what the limit of descriptors allows.

    Were connections to take the last descriptor, the HTTP server would try again and again to take the next
    one, with all of a processor.
    """
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY:
        return wanted
    return min(wanted, max(1, allowed - min(_RESERVED, allowed // 2)))


def tell(wanted: int) -> None:
    """Log where the limit of descriptors lowers the ``wanted`` number of connections, if anybody set it."""
    most = connections(wanted)
    if most < wanted != Listening().max_connections:
        logger.warning(
            "each worker takes %d connections, not the %d of max_connections: this system lets a process "
            "open %d files (ulimit -Hn, LimitNOFILE in systemd)",
            most,
            wanted,
            resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        )
