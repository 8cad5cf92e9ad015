"""Files of the models folder, opened so that neither a pipe nor a device can block a scan."""

import errno
import io
import os
import stat
from pathlib import Path

from unpickled.server.artifact import onnxfile
from unpickled.server.system import OPENING

# Inode, size and times of a file: another stamp means that the content may be another.
Stamp = tuple[int, ...]
# The stamp of a file that does not exist or cannot be opened.
MISSING: Stamp = ()

_FLAGS = os.O_RDONLY | OPENING


def opened(path: Path) -> io.BufferedReader:
    """A regular file, open for reading.

    Raises:
        OSError: The file cannot be opened, or is a pipe or a device, which might never end.
    """
    descriptor = os.open(path, _FLAGS)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    code = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
    raise OSError(code, "it is a directory" if stat.S_ISDIR(mode) else "it is not a file", str(path))


def is_read_only(folder: str) -> bool:
    """Whether nobody can write to a folder, since its file system is mounted like that."""
    try:
        return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def content(stream: io.BufferedReader) -> tuple[bytes, Stamp]:
    """The bytes of an open model file, and its stamp before they were read.

    Raises:
        ArtifactError: It is too long for one, and is not read.
        OSError: It cannot be read.
    """
    status = os.fstat(stream.fileno())
    onnxfile.check_size(status.st_size)
    return stream.read(status.st_size), stamp_of(status)


def stamp(path: str) -> Stamp:
    """The stamp of a regular file; MISSING where none can be opened.

    The file is opened first: network file systems ask the server for its attributes only then.
    """
    try:
        descriptor = os.open(path, _FLAGS)
    except OSError:
        return MISSING
    try:
        return stamp_of(os.fstat(descriptor))
    except OSError:
        return MISSING
    finally:
        os.close(descriptor)


def stamp_of(status: os.stat_result) -> Stamp:
    """The stamp of an open file; MISSING where it is no regular file."""
    if not stat.S_ISREG(status.st_mode):
        return MISSING
    return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def folders(root: str) -> list[str]:
    """Names of the folders in a folder, sorted, without the hidden ones.

    Raises:
        OSError: The folder cannot be read.
    """
    with os.scandir(root) as entries:
        names = [entry.name for entry in entries if entry.name[0] != "." and is_folder(entry)]
    return sorted(filter(_is_text, names))


def is_folder(entry: "os.DirEntry[str]") -> bool:
    """Whether an entry is a folder, or a link to one. Only a link costs another look at the disk."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_text(name: str) -> bool:
    # A name that is not UTF-8 can stand neither in a path nor in an answer.
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
