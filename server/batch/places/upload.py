"""A file that becomes an object, whole or not at all."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from unpickled.server import objects


class Upload(io.RawIOBase):
    """Takes what becomes an object; closing it decides nothing."""

    def __init__(self, upload: Any, path: str) -> None:
        self._upload, self._path = upload, path
        self._position = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def write(self, buffer: Any, /) -> int:
        with objects.naming(self._path, "written"):
            # A copy: the buffer is the caller's again, and pieces are sent later.
            self._upload.write(bytes(buffer))
        length = memoryview(buffer).nbytes
        self._position += length
        return length


@contextmanager
def finished(upload: Any, path: str) -> Iterator[None]:
    """End an upload with its block: whole, or given up after an error in it."""
    upload.__enter__()
    try:
        yield
    except BaseException as error:
        # The error of the block is the one to report.
        upload.__exit__(type(error), error, error.__traceback__)
        raise
    with objects.naming(path, "written"):
        upload.__exit__(None, None, None)
