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
    for descriptor in list(_listening()):
        with suppress(OSError), socket.create_server(("127.0.0.1", 0)) as idle:
            idle.setblocking(False)
            os.dup2(idle.fileno(), descriptor, inheritable=False)


def _listening() -> Iterator[int]:
    """The descriptors that listen for TCP."""
    names = [entry.name for entry in _DESCRIPTORS.iterdir()] if _DESCRIPTORS.is_dir() else []
    for name in names:
        with suppress(OSError), socket.socket(fileno=os.dup(int(name))) as duplicate:
            listens = duplicate.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            if listens and duplicate.family != socket.AF_UNIX:
                yield int(name)
