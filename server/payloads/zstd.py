"""Files packed in zstd, where this Python can: by its own module since 3.14, or by the package zstandard."""

import importlib
import io
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

_CHUNK = 1 << 16


def library() -> Any:
    """The module; None without one."""
    for name in ("compression.zstd", "zstandard"):
        with suppress(ImportError):
            return importlib.import_module(name)
    return None


def created(path: Path) -> IO[bytes]:
    """A new file to write. Raises OSError."""
    file: IO[bytes] = library().open(path, "wb")
    return file


def opened(path: Path) -> IO[bytes]:
    """A file to read. Raises OSError, and EOFError at an end that is not that of a frame."""
    return io.BufferedReader(_Frame(path))


class _Frame(io.RawIOBase):
    """The content of a file. zstandard's own reader takes the half of a frame for the whole."""

    def __init__(self, path: Path) -> None:
        found = library()
        if found is None:
            raise OSError("it is packed in zstd, which this Python reads with the package zstandard")
        self._file = path.open("rb")
        self._errors: Any = getattr(found, "ZstdError", OSError)
        unpacker = found.ZstdDecompressor()
        self._unpacker = unpacker.decompressobj() if hasattr(unpacker, "decompressobj") else unpacker
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer)
        while not self._rest and not self._unpacker.eof:
            packed = self._file.read(_CHUNK)
            if not packed:
                raise EOFError("it ends too early")
            try:
                self._rest = self._unpacker.decompress(packed)
            except self._errors as error:
                raise OSError(str(error)) from None
        part, self._rest = self._rest[: len(view)], self._rest[len(view) :]
        view[: len(part)] = part
        return len(part)

    def close(self) -> None:
        self._file.close()
        super().close()
