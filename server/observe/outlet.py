"""A descriptor that logs are written to: it never makes a request wait for whoever reads it."""

import errno
import os
import select
import socket
import stat
import weakref
from collections.abc import Callable
from contextlib import suppress

from unpickled.server.system import fcntl

# Writes bytes, and returns how many; BlockingIOError where none are taken now.
_Write = Callable[[bytes], int]


class Outlet:
    """Writes lines to a descriptor of this process; any thread may.

    A pipe or terminal is opened a second time, as to let a write fail in place of waiting is a property that
    all users of one opening share. A file's writes wait for nobody. A descriptor that is closed now stays
    closed: its number may become that of a client's connection.
    """

    def __init__(self, descriptor: int) -> None:
        self._write: _Write = self._writer(descriptor)
        self._cut = False

    def write(self, line: bytes) -> None:
        """Write a line; up to 4,096 bytes are written as a whole or not at all, to pipes and files.

        Raises:
            BlockingIOError: The reader does not keep up.
            OSError: The descriptor is closed, its reader gone, or the disk full.
        """
        data = b"\n" + line if self._cut else line
        written = self._write(data)
        # The next line does not go on where this one is cut off.
        self._cut = written < len(data)
        while written < len(data):
            written += self._write(data[written:])
        self._cut = False

    def _writer(self, descriptor: int) -> _Write:
        try:
            mode = os.fstat(descriptor).st_mode
        except OSError:
            return _refuse
        if stat.S_ISSOCK(mode):
            return self._to_socket(descriptor)
        if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
            return self._reopened(descriptor) or _Polled(descriptor)
        return lambda data: os.write(descriptor, data)

    def _reopened(self, descriptor: int) -> _Write | None:
        own = reopened(descriptor)
        if own is None:
            return None
        weakref.finalize(self, os.close, own).atexit = False
        return lambda data: os.write(own, data)

    def _to_socket(self, descriptor: int) -> _Write:
        # Such as that of systemd's journal. The duplicate may be closed with this object.
        connection = socket.socket(fileno=os.dup(descriptor))
        weakref.finalize(self, connection.close).atexit = False
        return lambda data: connection.send(data, socket.MSG_DONTWAIT)


class _Polled:
    """Writes to a pipe that cannot be opened again, if it has room: when ready, for 4,096 bytes."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __call__(self, data: bytes) -> int:
        # A poll object per call: one that two threads use at once raises RuntimeError.
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        if not poll.poll(0):
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return os.write(self._descriptor, data[: select.PIPE_BUF])


def reopened(descriptor: int) -> int | None:
    """Another opening of a pipe or terminal, whose writes never wait; None where the system has none."""
    flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    with suppress(OSError):
        opened = os.open(f"/proc/self/fd/{descriptor}", flags)
        # Never 0-2: if stdout was closed, prints would go here.
        own = fcntl.fcntl(opened, fcntl.F_DUPFD_CLOEXEC, 3)
        os.close(opened)
        return own
    return None


def _refuse(_: bytes) -> int:
    raise OSError(errno.EBADF, os.strerror(errno.EBADF))
