"""The sockets of this process that take new connections."""

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_DESCRIPTORS = Path("/proc/self/fd")


def close_all() -> None:
    """Take no new TCP connections from now on; those that were taken go on.

    The kernel then gives new ones to the other processes that listen at the port. The HTTP server goes on
    waiting at another socket, where nobody connects: it would try again and again on a closed one. A Unix
    socket stays, as all workers share it.
    """
    for descriptor, family in list(_listening()):
        if family == socket.AF_UNIX:
            continue
        with suppress(OSError), socket.create_server(("127.0.0.1", 0)) as idle:
            idle.setblocking(False)
            os.dup2(idle.fileno(), descriptor, inheritable=False)


def listens() -> bool:
    """Whether this process takes connections; True where the system does not tell its descriptors."""
    return not _DESCRIPTORS.is_dir() or next(_listening(), None) is not None


def _listening() -> Iterator[tuple[int, int]]:
    """The descriptors that listen, and their families."""
    for link in list(_DESCRIPTORS.iterdir()) if _DESCRIPTORS.is_dir() else []:
        with suppress(OSError):
            if not os.readlink(link).startswith("socket:"):
                continue
            with socket.socket(fileno=os.dup(int(link.name))) as duplicate:
                if duplicate.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    yield int(link.name), duplicate.family
