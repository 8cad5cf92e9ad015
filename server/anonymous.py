"""Memory that processes share: a file without a name, which disappears with the last of them."""

import os
import tempfile

from unpickled.server.system import fcntl


def anonymous_file(size: int, label: str) -> int:
    """Descriptor of a new file without a name, ``size`` zeros long; /proc/<process>/fd shows its label."""
    if hasattr(os, "memfd_create"):
        file = os.memfd_create(label)
    else:
        with tempfile.TemporaryFile() as temporary:
            file = os.dup(temporary.fileno())
    # Never use descriptors 0-2: if stdout was closed we would get its number, and prints would overwrite
    # the memory.
    descriptor = fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(file)
    os.truncate(descriptor, size)
    return descriptor
