"""Errors of files, disks and object stores as sentences that name the part they are about."""

import csv
import errno
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from unpickled.server.batch.task import Part
from unpickled.server.errors import RequestError, ServingError

# Errors of damaged files, of disks and of object stores, and of a library that is not installed.
FAILURES = (OSError, ValueError, EOFError, zlib.error, csv.Error, ImportError, NotImplementedError)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def named(part: Part) -> Iterator[None]:
    """Errors name the part that they are about."""
    try:
        yield
    except (RequestError, *FAILURES) as error:
        place = part.target if is_full(error) else part.source
        raise ServingError(f"{place}: {shown(error)}") from error


def is_full(error: Exception) -> bool:
    """Whether an error is that of the disk that is written to, rather than of what is read."""
    return isinstance(error, OSError) and error.errno in _FULL


def shown(error: Exception) -> str:
    """The sentence of an error that is not always a sentence of ours."""
    if isinstance(error, ImportError):
        return f"this needs {error.name}: pip install 'unpickled[batch]'"
    if isinstance(error, OSError) and error.strerror:
        name = f" ({error.filename})" if error.filename else ""
        return f"{error.strerror}{name}"
    return str(error) or type(error).__name__
