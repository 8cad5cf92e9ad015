"""The metadata of an Arrow stream: FlatBuffers that say what the bytes beside them are.

https://github.com/apache/arrow/blob/main/format/Message.fbs and Schema.fbs beside it define the tables that
are read here. Their members are numbered in the order of those files.
"""

import struct
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from flatbuffers import number_types as types
from flatbuffers.table import Table

from unpickled.server.errors import InvalidInput

SCHEMA, DICTIONARY, RECORDS = 1, 2, 3
# The version that streams have had since 2020, and the last one before it: they differ in unions alone.
VERSION = 4
_VERSIONS = (3, VERSION)
# Types by their number in Schema.fbs. Numbers are named by NumPy.
TYPES = (
    "none", "null", "int", "float", "binary", "utf8", "bool", "decimal", "date", "time", "timestamp",
    "interval", "list", "struct", "union", "fixed-size binary", "fixed-size list", "map", "duration",
    "large binary", "large utf8", "large list", "run-end encoded", "binary view", "utf8 view", "list view",
    "large list view",
)  # fmt: skip
FLOATS = ("float16", "float32", "float64")
_UNITS = ("s", "ms", "us", "ns")
# More columns than tables have: each costs time to read, and may take no more than a few bytes of the body.
_MOST_COLUMNS = 16_384
# The longest schema that is kept, in bytes.
_LONGEST = 1 << 17
_FAULTS = (struct.error, TypeError, ValueError, IndexError, OverflowError)


class Dictionary(NamedTuple):
    """A column of numbers that point into a list of values: the number of the list, and their type."""

    id: int
    places: str


class Field(NamedTuple):
    """A column: its name, and the type of its values, which a dictionary may hold."""

    name: str
    type: str
    dictionary: Dictionary | None = None


class Batch(NamedTuple):
    """Rows, and for each column its number of values and of nulls, and where its buffers begin and end.

    ``views``: how many buffers of text each column of views has.
    """

    rows: int
    nodes: Sequence[Sequence[int]]
    buffers: Sequence[Sequence[int]]
    views: Sequence[int]


class Message(NamedTuple):
    """One part of a stream: its kind, the length of the bytes that follow, and what the kind needs.

    ``id`` is the number of a dictionary, whose values are the one column of ``batch``; ``delta``: they are
    added to those before.
    """

    kind: int
    length: int
    fields: Sequence[Field] = ()
    batch: Batch | None = None
    id: int = 0
    delta: bool = False


def damaged(reason: str) -> InvalidInput:
    """The error for a body that does not keep the format."""
    return InvalidInput(f"the body is not an Arrow stream: {reason}")


def read(metadata: bytes) -> Message:
    """The message that these bytes describe; InvalidInput where they contradict the format or themselves."""
    try:
        return _message(metadata)
    except _FAULTS:
        raise damaged("the metadata of one of its messages is damaged") from None


class _Part:
    """One table of a FlatBuffer, its members by their number."""

    def __init__(self, table: Table) -> None:
        self._table = table

    @classmethod
    def root(cls, metadata: bytes) -> "_Part":
        [place] = struct.unpack_from("<I", metadata)
        return cls(Table(metadata, place))

    def number(self, member: int, flags: Any, default: int = 0) -> int:
        place = self._place(member)
        return int(self._table.Get(flags, place)) if place else default

    def text(self, member: int) -> str:
        place = self._place(member)
        return self._table.String(place).decode() if place else ""

    def part(self, member: int) -> "_Part | None":
        place = self._place(member)
        return _Part(Table(self._table.Bytes, self._table.Indirect(place))) if place else None

    def parts(self, member: int) -> "Iterator[_Part]":
        start, count = self._vector(member)
        if count > _MOST_COLUMNS:
            raise damaged(f"it has more than {_MOST_COLUMNS} columns")
        for place in range(start, start + 4 * count, 4):
            yield _Part(Table(self._table.Bytes, self._table.Indirect(place)))

    def integers(self, member: int, width: int) -> list[Any]:
        """The rows of a vector of structs of so many 64-bit integers, or its integers."""
        start, count = self._vector(member)
        numbers = (
            np.frombuffer(self._table.Bytes, "<i8", count * width, start) if count else np.zeros(0, "<i8")
        )
        rows: list[Any] = (numbers.reshape(count, width) if width > 1 else numbers).tolist()
        return rows

    def _place(self, member: int) -> int:
        offset = self._table.Offset(4 + 2 * member)
        return self._table.Pos + offset if offset else 0

    def _vector(self, member: int) -> tuple[int, int]:
        offset = self._table.Offset(4 + 2 * member)
        return (self._table.Vector(offset), self._table.VectorLen(offset)) if offset else (0, 0)


def _message(metadata: bytes) -> Message:
    root = _Part.root(metadata)
    if root.number(0, types.Int16Flags) not in _VERSIONS:
        raise damaged("it is of a version before Arrow 0.8, or of one to come")
    kind, length, header = root.number(1, types.Uint8Flags), root.number(3, types.Int64Flags), root.part(2)
    if header is None or length < 0:
        raise ValueError
    if kind == SCHEMA:
        return Message(kind, length, fields=(_seen if len(metadata) <= _LONGEST else _fields)(metadata))
    if kind == RECORDS:
        return Message(kind, length, batch=_batch(header))
    if kind == DICTIONARY:
        values, delta = header.part(1), bool(header.number(2, types.Uint8Flags))
        if values is None:
            raise ValueError
        return Message(kind, length, batch=_batch(values), id=header.number(0, types.Int64Flags), delta=delta)
    raise damaged("one of its messages is neither a schema nor rows nor a dictionary")


def _fields(metadata: bytes) -> tuple[Field, ...]:
    schema = _Part.root(metadata).part(2)
    if schema is None:
        raise ValueError
    if schema.number(0, types.Int16Flags):
        raise damaged("its numbers are big-endian: write it on a little-endian machine")
    fields: dict[str, Field] = {}
    for part in schema.parts(1):
        field = _field(part)
        # Found here, as a body may repeat one column without end.
        if field.name in fields:
            raise InvalidInput(
                f"column {field.name[:200]!r} stands twice in the table", feature=field.name[:200]
            )
        fields[field.name] = field
    return tuple(fields.values())


# Clients send one schema again and again, and to read it takes longer than its rows.
_seen = lru_cache(maxsize=16)(_fields)


def _field(part: _Part) -> Field:
    encoding = part.part(4)
    dictionary = None
    if encoding is not None:
        index = encoding.part(1)
        width = "int32" if index is None else _integer(index)
        dictionary = Dictionary(encoding.number(0, types.Int64Flags), width)
    return Field(part.text(0), _type(part.number(2, types.Uint8Flags), part.part(3)), dictionary)


def _type(number: int, part: _Part | None) -> str:
    name = TYPES[number]
    if part is not None and name == "int":
        return _integer(part)
    if part is not None and name == "float":
        return FLOATS[part.number(0, types.Int16Flags)]
    if part is not None and name == "date":
        return ("date32[day]", "date64[ms]")[part.number(0, types.Int16Flags, default=1)]
    if part is not None and name == "timestamp":
        zone = ", with time zone" if part.text(1) else ""
        return f"timestamp[{_UNITS[part.number(0, types.Int16Flags)]}{zone}]"
    return name


def _integer(part: _Part) -> str:
    bits, signed = part.number(0, types.Int32Flags), part.number(1, types.Uint8Flags)
    if bits not in (8, 16, 32, 64):
        raise ValueError
    return f"{'' if signed else 'u'}int{bits}"


def _batch(part: _Part) -> Batch:
    if part.part(3) is not None:
        remedy = "write it uncompressed, or compress all of it (Content-Encoding: gzip)"
        raise InvalidInput(f"the buffers of the Arrow stream are compressed, which is not read: {remedy}")
    rows = part.number(0, types.Int64Flags)
    if rows < 0:
        raise ValueError
    return Batch(rows, part.integers(1, 2), part.integers(2, 2), part.integers(4, 1))
