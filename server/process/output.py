"""The descriptors that every process has: stdin, stdout and stderr."""

import os
import stat

from unpickled.server.observe.outlet import reopened

_STANDARD = (0, 1, 2)


def settle() -> None:
    """Make the standard descriptors safe to write to, before anything else is opened.

    One that is closed becomes /dev/null: a client's connection would get its number otherwise, and what is
    printed. A pipe is opened again, so that nobody waits for its reader, libraries that print included; what
    the reader has no room for is lost.
    """
    for descriptor in _STANDARD:
        try:
            mode = os.fstat(descriptor).st_mode
        except OSError:
            _replace(descriptor, os.open(os.devnull, os.O_RDWR))
            continue
        if descriptor and stat.S_ISFIFO(mode) and (own := reopened(descriptor)) is not None:
            _replace(descriptor, own)


def _replace(descriptor: int, own: int) -> None:
    if own != descriptor:
        os.dup2(own, descriptor)
        os.close(own)
    else:
        os.set_inheritable(descriptor, True)
