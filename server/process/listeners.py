"""The sockets of this process that take new connections."""

import os
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_DESCRIPTORS = Path("/proc/self/fd")
# The number in struct tcp_info, <linux/tcp.h>, that a listening socket has of connections not yet taken.
_TCP_INFO = struct.Struct("=24xI")


def close_all(patience: float) -> None:
    """Take no new TCP connections from now on; those that were taken go on.

    Those that wait in the kernel for the HTTP server have ``patience`` seconds, as a socket that closes
    resets them: a worker that has as many connections as it may hold takes none. The kernel then gives new
    ones to the other processes that listen at the port. The HTTP server goes on waiting at another socket,
    where nobody connects: it would try again and again on a closed one. A Unix socket stays, as all workers
    share it.
    """
    for descriptor, family in list(_listening()):
        if family == socket.AF_UNIX:
            continue
        with suppress(OSError), socket.create_server(("127.0.0.1", 0)) as idle:
            idle.setblocking(False)
            with suppress(OSError, struct.error):  # other protocols than TCP do not tell
                _wait(descriptor, patience)
            os.dup2(idle.fileno(), descriptor, inheritable=False)


def _wait(descriptor: int, patience: float) -> None:
    """Wait until the HTTP server has taken all connections of a socket, for a bounded time."""
    deadline = time.monotonic() + patience
    with socket.socket(fileno=os.dup(descriptor)) as duplicate:
        while time.monotonic() < deadline:
            info = duplicate.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
            if _TCP_INFO.unpack(info) == (0,):
                return
            time.sleep(0.001)


def listens() -> bool:
    """Whether this process has a socket that listens; True where the system does not tell its descriptors."""
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
