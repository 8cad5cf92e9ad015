"""One retraining of a model at a time: the second one would train on the same rows for nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unpickled.export.errors import ExportError
from unpickled.server.system import fcntl

FILE = ".retrain.lock"


@contextmanager
def alone(home: Path) -> Iterator[None]:
    """Hold the lock of the folder of a model. It ends with the process, however that ends.

    Raises ExportError where another retraining holds it, or where the folder cannot be written to.
    """
    try:
        with (home / FILE).open("ab") as file:
            _lock(file.fileno(), home.name)
            yield
    except PermissionError as error:
        raise ExportError(f"{home} cannot be written to: change its permissions.") from error


def _lock(descriptor: int, name: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ExportError(
            f"Another retraining of {name} is under way: wait until it has ended, and retrain again if there "
            "is more truth by then."
        ) from None
    except OSError:
        # A file system without locks.
        return
