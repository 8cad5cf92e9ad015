"""Files of the models folder, opened so that none of them can hold up whoever looks at it."""

import errno
import io
import os
import stat
from pathlib import Path


def opened(path: Path) -> io.BufferedReader:
    """A file, to be read; OSError also for what is none: a pipe keeps waiting, a device never ends."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    code = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
    raise OSError(code, "it is a directory" if stat.S_ISDIR(mode) else "it is not a file", str(path))


def is_folder(path: Path) -> bool:
    """Whether it is one that can be looked into, whatever else it may be."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except OSError:
        return False


def folders(root: Path) -> list[Path]:
    """The folders in a folder, hidden ones aside; OSError where it cannot be read."""
    found = [path for path in root.iterdir() if not path.name.startswith(".") and _is_text(path.name)]
    return sorted(path for path in found if is_folder(path))


def _is_text(name: str) -> bool:
    # What is not can be in no answer and in no path.
    return not any("\ud800" <= letter <= "\udfff" for letter in name)
