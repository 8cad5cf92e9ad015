"""The files that all machines of a cluster have to see, by the same paths.

A machine that does not see a table or a model finds out when it opens it. A payload log it would begin for
itself, and the rows there would be missing from the log of the job. So a job keeps a file in the folder of
its log, and each process looks for it before it scores anything.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unpickled.server.batch.task import Logged
from unpickled.server.errors import ServingError

SHARED = "every node must see the same files: keep them on a shared file system or in an object store"
# Seconds: a network file system shows the files of another machine late.
_LATE = 90.0


def exists(path: str) -> bool:
    """Whether a file or folder is there; addresses of an object store are left to its client."""
    return "://" in path or Path(path).exists()


def appears(path: str, late: float = _LATE) -> bool:
    """Whether a file is there, or comes within the seconds that a network file system takes."""
    deadline = time.monotonic() + late
    while not exists(path):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)
    return True


@contextmanager
def shown(logged: Logged | None) -> Iterator[None]:
    """Within the block, the folder of the payload log has the file that ``check_log`` looks for."""
    if logged is None:
        yield
        return
    mark = _mark(logged)
    try:
        mark.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        mark.touch(0o600)
    except OSError as error:
        raise ServingError(f"{mark.parent} cannot be written to: {error.strerror}") from error
    try:
        yield
    finally:
        mark.unlink(missing_ok=True)


def check_log(logged: Logged | None, late: float = _LATE) -> None:
    """ServingError where this machine does not see the folder of the payload log as the driver does."""
    if logged is not None and not appears(str(_mark(logged)), late):
        raise ServingError(f"{logged.log.log_folder} is not the payload log of the job here: {SHARED}")


def _mark(logged: Logged) -> Path:
    return Path(logged.log.log_folder) / f".job-{logged.token}"
