"""The versions that have answered, in memory that all workers read: an unloaded one still has its classes.

Each place of a worker has a region, to which entries are appended: the length of an entry, then a msgpack of
the version and of the part of its manifest that describes its answers. A row names its version by the offset
of the entry.
"""

import struct
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from unpickled.server.artifact.manifest import Golden, Manifest, Training
from unpickled.server.lifecycle.versions import DIGEST, Served
from unpickled.server.model.kinds import outputs_of
from unpickled.server.model.outputs import Outputs

# Bytes of one region: some hundred versions of a few classes.
SIZE = 256 * 1024
# How often the region was emptied, and bytes of it that are used.
_HEAD = struct.Struct("=qq")
_LENGTH = struct.Struct("=i")
# Versions that a process remembers to have read.
_MOST = 1000


class Version(NamedTuple):
    """A version that has answered.

    digest: the first characters of the sha256 of its file: its number may come to stand for another file.
    labels: the labels of its answers by their place; 0 alone for a regressor.
    width: the number of scores of a row.
    """

    model: str
    version: int
    digest: str
    outputs: Outputs
    labels: tuple[Any, ...]
    width: int

    @classmethod
    def of(cls, model: str, version: int, sha256: str, manifest: Manifest) -> "Version":
        outputs = outputs_of(manifest)
        return cls(model, version, sha256[:DIGEST], outputs, tuple(outputs.places(0)), len(outputs.names))

    @property
    def key(self) -> tuple[str, str, str]:
        """The key of the version while it is served: that of Served."""
        return self.model, str(self.version), self.digest


class _Entry(msgspec.Struct, array_like=True):
    """An entry of a region; a name may hold what is not UTF-8."""

    model: bytes
    version: int
    sha256: str
    manifest: Manifest


class Versions:
    """The versions of one place; a single thread may add some, any process reads them."""

    def __init__(self, region: memoryview) -> None:
        self._region = region
        self._read: dict[tuple[int, int], Version] = {}
        # Offsets of the versions by what tells them apart; for the thread that adds some.
        self._offsets: dict[tuple[str, int, str], int] = {}
        self._emptied = -1

    def find(self, served: Served) -> int | None:
        """The offset of a version, None where there is none yet."""
        emptied, used = _HEAD.unpack_from(self._region)
        if emptied != self._emptied:
            # The process that had the place before has left entries.
            self._offsets = {
                (entry.model.decode("utf-8", "surrogatepass"), entry.version, entry.sha256): offset
                for offset, entry in _entries(self._region, used or _HEAD.size)
            }
            self._emptied = emptied
        return self._offsets.get((served.name, served.version, served.sha256))

    def add(self, served: Served) -> int | None:
        """The offset of a version that is appended; None where the region is full."""
        emptied, used = _HEAD.unpack_from(self._region)
        offset = used or _HEAD.size
        name = served.name.encode("utf-8", "surrogatepass")
        entry = _Entry(name, served.version, served.sha256, _answers(served.model.manifest))
        content = msgspec.msgpack.encode(entry)
        end = offset + _LENGTH.size + len(content)
        if end > len(self._region):
            return None
        _LENGTH.pack_into(self._region, offset, len(content))
        self._region[offset + _LENGTH.size : end] = content
        _HEAD.pack_into(self._region, 0, emptied, end)
        self._offsets[served.name, served.version, served.sha256] = offset
        return offset

    def clear(self) -> None:
        """Forget all versions; the rows that name one are to be forgotten before."""
        emptied, _ = _HEAD.unpack_from(self._region)
        _HEAD.pack_into(self._region, 0, emptied + 1, 0)

    def read(self, offset: int) -> Version:
        """The version at an offset that a row names, if that row is still there afterwards."""
        key = _HEAD.unpack_from(self._region)[0], offset
        version = self._read.get(key)
        if version is None:
            entry = _entry(self._region, offset)
            name = entry.model.decode("utf-8", "surrogatepass")
            version = Version.of(name, entry.version, entry.sha256, entry.manifest)
            if len(self._read) >= _MOST:
                self._read.clear()
            self._read[key] = version
        return version


def _answers(manifest: Manifest) -> Manifest:
    """The part of a manifest that describes the answers."""
    golden, training = Golden(rows=(), scores=()), Training(pipeline=())
    return replace(manifest, features=(), inputs=(), golden=golden, training=training, unused=())


def _entry(region: memoryview, offset: int) -> _Entry:
    (length,) = _LENGTH.unpack_from(region, offset)
    start = offset + _LENGTH.size
    return msgspec.msgpack.decode(region[start : start + length], type=_Entry)


def _entries(region: memoryview, end: int) -> list[tuple[int, _Entry]]:
    entries, offset = [], _HEAD.size
    while offset < end:
        entries.append((offset, _entry(region, offset)))
        offset += _LENGTH.size + _LENGTH.unpack_from(region, offset)[0]
    return entries
