"""The parts of Linux and macOS that Windows lacks: there, files are as on a file system without locks."""

import errno
import os
from collections.abc import Callable
from typing import Any, NoReturn

try:
    import fcntl
    import resource
except ModuleNotFoundError:

    class _Lacking:
        """A module that is not there. Whatever is asked of it fails, as a system call would."""

        def __getattr__(self, name: str) -> NoReturn:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    lacking: Any = _Lacking()
    fcntl = resource = lacking

__all__ = ["NEEDS_POSIX", "OPENING", "POSIX", "at_fork", "fcntl", "resource"]

# Whether processes can be forked: servers, and all that shares memory with them, need it.
POSIX = hasattr(os, "fork")
# The end of a sentence about whatever cannot do without.
NEEDS_POSIX = "needs forks and locks of files, which Windows lacks: run it in WSL 2 or in a container"
# Flags of each opening: a pipe in place of a file is not waited for, other programs do not inherit the file,
# and its bytes stay as they are.
OPENING = sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))


def at_fork(**hooks: Callable[[], Any]) -> None:
    """Have functions called around each fork, as by os.register_at_fork."""
    if POSIX:
        os.register_at_fork(**hooks)
