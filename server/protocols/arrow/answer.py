"""Answers as an Arrow stream: the columns that the answer in CSV has, typed."""

import struct
from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np
from flatbuffers.builder import Builder

from unpickled.server.message import media
from unpickled.server.model.outputs import Labels, Member, Outputs, Scores
from unpickled.server.protocols.arrow import metadata

HEADERS = (("Content-Type", media.ARROW),)
_TYPES = {"integer": "int64", "text": "utf8", "number": "float64"}
_MARK = 0xFFFFFFFF
_END = struct.pack("<II", _MARK, 0)


class Writer:
    """Writes the answers of one model."""

    def __init__(self, outputs: Outputs) -> None:
        self._outputs = outputs

    @cached_property
    def _schema(self) -> bytes:
        # Written for the first stream: with very many classes it takes longer than a new version may.
        types = [_TYPES[member.type] for member in self._outputs.members for _ in member.entries or [member]]
        return _message(_schema(list(zip(self._outputs.columns, types, strict=True))))

    def write(self, labels: Labels, scores: Scores) -> bytes:
        """A stream with one row for each label."""
        arrays = self._outputs.arrays(labels, scores)
        buffers = [part for member in self._outputs.members for part in _buffers(member, arrays[member.name])]
        # Each begins at a multiple of 8 bytes.
        starts = list(accumulate((len(buffer) + -len(buffer) % 8 for buffer in buffers), initial=0))
        places = [(start, len(buffer)) for start, buffer in zip(starts, buffers, strict=False)]
        rows = _message(_records(len(labels), places, len(self._outputs.columns), starts[-1]))
        return b"".join((self._schema, rows, *map(_padded, buffers), _END))


def _buffers(member: Member, values: Any) -> list[bytes]:
    """The buffers of a member's columns: which values are null (none is), and what its type has."""
    if member.type == "text":
        texts = [text.encode() for text in values]
        offsets = np.fromiter(accumulate(map(len, texts), initial=0), "<i4", len(texts) + 1)
        return [b"", offsets.tobytes(), b"".join(texts)]
    columns = np.asarray(values, "<i8" if member.type == "integer" else "<f8")
    columns = columns.reshape(len(columns), -1)
    return [part for column in columns.T for part in (b"", column.tobytes())]


def _message(content: bytes) -> bytes:
    content = _padded(content)
    return struct.pack("<II", _MARK, len(content)) + content


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 8)


def _schema(columns: Sequence[tuple[str, str]]) -> bytes:
    """The metadata of a table with these (name, type) columns: int64, float64 or utf8, never null."""
    builder = Builder()
    fields = [_write_field(builder, name, kind) for name, kind in columns]
    vector = _parts(builder, fields)
    builder.StartObject(4)
    builder.PrependUOffsetTRelativeSlot(1, vector, 0)
    return _written(builder, metadata.SCHEMA, builder.EndObject(), 0)


def _records(rows: int, buffers: Sequence[tuple[int, int]], columns: int, length: int) -> bytes:
    """The metadata of rows, whose buffers have these (offset, length) in ``length`` bytes."""
    builder = Builder()
    places = _pairs(builder, buffers)
    nodes = _pairs(builder, [(rows, 0)] * columns)
    builder.StartObject(5)
    builder.PrependInt64Slot(0, rows, 0)
    builder.PrependUOffsetTRelativeSlot(1, nodes, 0)
    builder.PrependUOffsetTRelativeSlot(2, places, 0)
    return _written(builder, metadata.RECORDS, builder.EndObject(), length)


def _write_field(builder: Builder, name: str, kind: str) -> int:
    text = builder.CreateString(name)
    children = _parts(builder, ())
    number, part = _write_type(builder, kind)
    builder.StartObject(7)
    builder.PrependUOffsetTRelativeSlot(0, text, 0)
    builder.PrependUint8Slot(2, number, 0)
    builder.PrependUOffsetTRelativeSlot(3, part, 0)
    builder.PrependUOffsetTRelativeSlot(5, children, 0)
    return int(builder.EndObject())


def _write_type(builder: Builder, kind: str) -> tuple[int, int]:
    builder.StartObject(2)
    if kind == "int64":
        builder.PrependInt32Slot(0, 64, 0)
        builder.PrependBoolSlot(1, True, False)
    elif kind == "float64":
        builder.PrependInt16Slot(0, metadata.FLOATS.index(kind), 0)
    name = {"int64": "int", "float64": "float"}.get(kind, kind)
    return metadata.TYPES.index(name), builder.EndObject()


def _parts(builder: Builder, parts: Sequence[int]) -> int:
    """A vector of parts that are written already."""
    builder.StartVector(4, len(parts), 4)
    # A FlatBuffer is written from its end to its beginning.
    for part in reversed(parts):
        builder.PrependUOffsetTRelative(part)
    return int(builder.EndVector())


def _pairs(builder: Builder, pairs: Sequence[tuple[int, int]]) -> int:
    """A vector of structs of two integers, written as integers; its count is that of the structs."""
    vector = int(builder.CreateNumpyVector(np.array(pairs, "<i8").ravel()))
    struct.pack_into("<I", builder.Bytes, builder.Head(), len(pairs))
    return vector


def _written(builder: Builder, kind: int, header: int, length: int) -> bytes:
    builder.StartObject(5)
    builder.PrependInt64Slot(3, length, 0)
    builder.PrependUOffsetTRelativeSlot(2, header, 0)
    builder.PrependUint8Slot(1, kind, 0)
    builder.PrependInt16Slot(0, metadata.VERSION, 0)
    builder.Finish(builder.EndObject())
    return bytes(builder.Output())
