"""The files of a batch job in an object store: listed by a pattern, read by ranges, written whole.

A file that is changed while it is read ends the job: each range is asked for with the tag of the first one.
One that is written appears when its block ends without an error, and not at all otherwise: an upload in
several pieces is given up. A process that is killed leaves such an upload behind, which nobody sees; a rule
of the bucket for unfinished uploads removes it.
"""

import functools
import io
import re
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, BinaryIO

from unpickled.server import objects
from unpickled.server.batch.places import wildcards
from unpickled.server.batch.places.lease import Lease
from unpickled.server.batch.places.place import Entry
from unpickled.server.batch.places.ranges import Ranges
from unpickled.server.batch.places.upload import Upload, finished

# Bytes of a piece of an upload, and pieces that are under way at once. A store takes 10,000 pieces.
_PIECE, _PIECES = 16 * 1024 * 1024, 3
# Bytes from which on more lines go to another object.
_SEGMENT = 128 * 1024


@functools.cache
def bucket_at(root: str) -> "Bucket":
    """A bucket, one for each process. Raises ServingError where there can be none."""
    return Bucket(root)


class Bucket:
    """The files of one bucket or container, by their addresses. See ``Place`` in places/place.py.

    Its errors are ServingError, with a sentence that names the address.

    Args:
        root: Its address: s3://bucket, or file:///.

    Example:
        >>> from pathlib import Path
        >>> address = Path("models/iris/1/model.onnx").absolute().as_uri()
        >>> [entry.name for entry in Bucket("file:///").list(address)]
        ['model.onnx']
    """

    def __init__(self, root: str) -> None:
        self._library = objects.library()
        self._lock = threading.Lock()
        # Lines that are appended: the name of their file -> the number and the content of the last object.
        self._segments: dict[str, tuple[int, bytes]] = {}
        with objects.naming(root, "opened"):
            self._store = objects.opened(root)

    def list(self, pattern: str) -> list[Entry]:
        """The objects that an address, a folder or a pattern stands for, sorted by address."""
        address = objects.address_of(pattern)
        with objects.naming(pattern, "listed"):
            described = self._described(address.key)
            if described is not None:
                folder = address.key.rpartition("/")[0]
                return [_entry(address, folder, described)]
            return sorted(self._matching(address))

    def open(self, path: str) -> BinaryIO:
        """An object, as a file that reads ranges of it; reading raises ServingError, too."""
        with objects.naming(path, "read"):
            key = objects.address_of(path).key
            described = self._library.head(self._store, key)
        raw = Ranges(self._library, self._store, path, key, described)
        return io.BufferedReader(raw, 64 * 1024)

    def check(self, file: BinaryIO) -> None:
        """Nothing: each range was asked for with the tag of the first one."""

    @contextmanager
    def write(self, path: str) -> Iterator[BinaryIO]:
        """A file that becomes the object once the block ends without an error."""
        key = objects.address_of(path).key
        with objects.naming(path, "written"):
            upload = self._library.open_writer(self._store, key, buffer_size=_PIECE, max_concurrency=_PIECES)
        with finished(upload, path):
            yield Upload(upload, path)  # type: ignore[misc]

    def append(self, path: str, content: bytes) -> None:
        """Add lines to the end of a file, which is several objects: a store adds nothing to one."""
        with self._lock, objects.naming(path, "written"):
            key = objects.address_of(path).key
            number, before = self._segments.get(key) or self._last(key)
            if len(before) >= _SEGMENT:
                number, before = number + 1, b""
            self._library.put(self._store, f"{key}.{number:06d}", before + content)
            self._segments[key] = number, before + content

    def read(self, path: str) -> bytes | None:
        """The content of a file, lines that were appended among them; None where there is none."""
        with objects.naming(path, "read"):
            key = objects.address_of(path).key
            if names := self._names(key):
                return b"".join(map(self._whole, names))
            return None if self._described(key) is None else self._whole(key)

    def remove(self, path: str) -> None:
        """Remove a file, if it is there."""
        with self._lock, objects.naming(path, "removed"):
            key = objects.address_of(path).key
            self._segments.pop(key, None)
            for name in (*self._names(key), key):
                try:
                    self._library.delete(self._store, name)
                except FileNotFoundError:
                    continue

    def sweep(self, folder: str) -> None:
        """Nothing: no object is there half."""

    def locked(self, folder: str) -> AbstractContextManager[None]:
        """No other job has this folder within the block. Raises ServingError where one has."""
        key = objects.address_of(folder).key
        return Lease(self._library, self._store, f"{key}/_lock".lstrip("/"), folder).held()

    def _whole(self, key: str) -> bytes:
        return bytes(self._library.get(self._store, key).bytes())

    def _described(self, key: str) -> dict[str, Any] | None:
        """The description of an object; None where there is none."""
        if not key:
            return None
        try:
            described: dict[str, Any] = self._library.head(self._store, key)
        except FileNotFoundError as error:
            if objects.is_bucket_missing(error):
                raise
            return None
        return described

    def _last(self, key: str) -> tuple[int, bytes]:
        """The number and the content of the last object of a file that lines are appended to."""
        names = self._names(key)
        return (len(names) - 1, self._whole(names[-1])) if names else (0, b"")

    def _names(self, key: str) -> tuple[str, ...]:
        """The objects of a file that lines were appended to, in order."""
        numbered = re.compile(re.escape(key) + r"\.\d{6}")
        found = self._library.list_with_delimiter(self._store, key.rpartition("/")[0] or None)["objects"]
        return tuple(sorted(each["path"] for each in found if numbered.fullmatch(each["path"])))

    def _matching(self, address: objects.Address) -> Iterator[Entry]:
        """The objects in a folder, or those that a pattern stands for, without hidden ones."""
        folder, expression = wildcards.read(address.key)
        last = address.key.rpartition("/")[0]
        # The folders below may hold millions of other objects.
        is_flat = expression is not None and folder == last and "**" not in address.key
        for described in self._found(folder, is_flat):
            if expression is None or expression.fullmatch(described["path"]):
                entry = _entry(address, folder, described)
                if not any(part.startswith((".", "_")) for part in entry.name.split("/")):
                    yield entry

    def _found(self, folder: str, is_flat: bool) -> Iterator[dict[str, Any]]:
        if is_flat:
            yield from self._library.list_with_delimiter(self._store, folder or None)["objects"]
            return
        for some in self._library.list(self._store, folder or None, chunk_size=1000):
            yield from some


def _entry(address: objects.Address, folder: str, described: dict[str, Any]) -> Entry:
    changed = described["e_tag"] or described["last_modified"].isoformat()
    name = described["path"].removeprefix(f"{folder}/" if folder else "")
    return Entry(address.at(described["path"]), name, described["size"], changed)
