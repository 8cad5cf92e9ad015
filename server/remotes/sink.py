"""The place that takes the bytes of a file from a remote: counted, hashed, never more than a model has."""

import hashlib
import io
from pathlib import Path

from unpickled.server.artifact.onnxfile import LONGEST
from unpickled.server.errors import RemoteError


class Sink:
    """A new file under way.

    Attributes:
        size: Its bytes so far.
    """

    def __init__(self, file: io.BufferedWriter) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.size = 0

    @property
    def sha256(self) -> str:
        """That of the bytes so far, in hex."""
        return self._digest.hexdigest()

    def restart(self) -> None:
        """Forget all bytes: the remote sends them once more."""
        self._file.seek(0)
        self._file.truncate()
        self._digest = hashlib.sha256()
        self.size = 0

    def write(self, part: bytes) -> None:
        """Take further bytes.

        Raises:
            RemoteError: They are more than a model file can have, or the disk does not take them.
        """
        self.size += len(part)
        check_size(self.size)
        self._digest.update(part)
        try:
            self._file.write(part)
        except OSError as error:
            raise RemoteError(f"{Path(self._file.name)} cannot be written: {error.strerror}") from None


def check_size(size: int | None) -> None:
    """RemoteError where a remote has more bytes than a model file can have; None is a size not known."""
    if size is not None and size > LONGEST:
        raise RemoteError(f"it has {size:,} bytes, and a model file has less than 2 GiB: it is not fetched")
