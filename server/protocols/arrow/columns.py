"""The columns of an Arrow stream: from its bytes to arrays of numbers, and lists of texts and truth values.

Nothing that the bytes say is believed: each offset and length is compared with what is there. The texts of
all cells together are bounded, since a stream may hold one text and point to it from every row.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from unpickled.server.errors import BodyTooLarge, InvalidInput
from unpickled.server.model.feeds import Column
from unpickled.server.protocols.arrow.metadata import (
    DICTIONARY,
    FLOATS,
    Batch,
    Field,
    Message,
    damaged,
)
from unpickled.server.quote import quoted

INTEGERS = tuple(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
NUMBERS = frozenset((*INTEGERS, *FLOATS))
_OFFSETS = {"utf8": "<i4", "large utf8": "<i8"}
_VIEWS = frozenset({"utf8 view", "binary view"})
# Type -> its number of buffers. Types that are not listed have columns within, and are not read.
_BUFFERS = dict.fromkeys(NUMBERS, 2) | {"null": 0, "bool": 2, "utf8": 3, "large utf8": 3, "binary": 3}
_BUFFERS |= {"large binary": 3, "utf8 view": 2, "binary view": 2, "fixed-size binary": 2, "decimal": 2}
# Dates -> their integers, what these count from 1970 on, and the end of their text in ISO 8601.
DATES = {"date32[day]": ("int32", "D", ""), "date64[ms]": ("int64", "ms", "")}
DATES |= {f"timestamp[{unit}]": ("int64", unit, "") for unit in ("s", "ms", "us", "ns")}
DATES |= {f"timestamp[{unit}, with time zone]": ("int64", unit, "Z") for unit in ("s", "ms", "us", "ns")}
_BUFFERS |= dict.fromkeys((*DATES, "time", "interval", "duration"), 2)
READ = NUMBERS | {"null", "bool", "utf8", "large utf8", "utf8 view"}
_REMEDIES = {"decimal": "cast it to float64", "duration": "cast it to a number"}
_REMEDIES |= dict.fromkeys((*DATES, "time"), "send it as text, as the training table has it")
_REMEDIES |= {"run-end encoded": "decode it (pyarrow.compute.run_end_decode)"}
_REMEDIES |= dict.fromkeys(("binary", "large binary", "binary view", "fixed-size binary"), "cast it to text")
_OTHERWISE = "give a number or a text per row, as the training table has it"
# A view: length, and the text of up to 12 bytes; or its first 4, the number of its buffer, and its place.
_SHORT = 12
_VIEW = np.dtype([("length", "<i4"), ("start", "V4"), ("buffer", "<i4"), ("offset", "<i4")])
# Bytes of text that any body may stand for: ONNX Runtime copies the text of each cell.
_TEXT = 1 << 26
# Values of all dictionaries: each takes up to 32 times its bytes.
_ENTRIES = 1 << 22


class Part(NamedTuple):
    """The part of a column that one message holds: where values are null (None: nowhere), and its buffers."""

    name: str
    length: int
    nulls: npt.NDArray[np.bool_] | None
    buffers: Sequence[memoryview]


def parts(
    fields: Sequence[Field], names: Collection[str], batch: Batch, body: memoryview
) -> Iterator[tuple[Field, Part]]:
    """Those columns of a batch that have these names; InvalidInput where the batch does not have them."""
    nodes, buffers, views = iter(batch.nodes), iter(batch.buffers), iter(batch.views)
    for field in fields:
        kind = field.type if field.dictionary is None else field.dictionary.places
        if kind not in _BUFFERS:
            # Columns of features have types with buffers, or are refused before.
            raise unread(field, "leave it out")
        length, nulls = next(nodes, (-1, 0))
        if length != batch.rows:
            raise damaged(f"column {quoted(field.name)} has another number of rows than its batch")
        count = _BUFFERS[kind] + (_count(next(views, -1)) if kind in _VIEWS else 0)
        slices = [_slice(body, next(buffers, (-1, 0)), field.name) for _ in range(count)]
        if field.name in names:
            yield field, Part(field.name, length, _nulls(field.name, slices, length, nulls), slices[1:])


def unread(field: Field, remedy: str = "") -> InvalidInput:
    """The error for a column of a type that is not read, with what to do instead: a feature needs a cast."""
    remedy = remedy or _REMEDIES.get(field.type, _OTHERWISE)
    sentence = f"column {quoted(field.name)} is of the Arrow type {field.type}, which is not read: {remedy}"
    return InvalidInput(sentence, feature=field.name[:200])


class Decoder:
    """Reads the columns of one stream, whose dictionaries it keeps.

    Args:
        fields: All columns of the stream.
        names: The names of those that are read.
        size: The length of the stream, in bytes.
    """

    def __init__(self, fields: Sequence[Field], names: Collection[str], size: int) -> None:
        self._fields, self._names = fields, names
        self._limit = self._room = max(size, _TEXT)
        self._entries = 0
        self._dictionaries: dict[int, list[Any]] = {}
        # id -> the column of its values.
        self._encoded = {
            field.dictionary.id: field._replace(dictionary=None)
            for field in fields
            if field.dictionary is not None and field.name in names
        }

    def read(self, message: Message, body: memoryview) -> Iterator[tuple[str, Column]]:
        """The name and the values of each column in a message; none of a dictionary, which is kept."""
        batch = message.batch
        if batch is not None and message.kind == DICTIONARY:
            self._keep(message, batch, body)
        elif batch is not None and batch.rows:
            for field, part in parts(self._fields, self._names, batch, body):
                yield field.name, self._column(field, part)

    def _keep(self, message: Message, batch: Batch, body: memoryview) -> None:
        field = self._encoded.get(message.id)
        if field is None:
            return
        if field.type == "null":
            raise damaged(f"the dictionary of column {quoted(field.name)} holds nothing")
        self._entries += batch.rows
        if self._entries > _ENTRIES:
            sentence = f"the dictionaries have more than {_ENTRIES} values: send fewer rows"
            raise BodyTooLarge(sentence, limit=_ENTRIES)
        [(_, part)] = parts([field], [field.name], batch, body)
        # A list grows in no more time than its new values take, however often a stream adds some.
        values = self._dictionaries.setdefault(message.id, [])
        if not message.delta:
            values.clear()
        values.extend(np.asarray(self._values(field.type, part), dtype=np.object_).tolist())

    def _column(self, field: Field, part: Part) -> Column:
        if field.dictionary is None:
            return self._values(field.type, part)
        values = self._dictionaries.get(field.dictionary.id, [])
        chosen = _chosen(part, _fixed(part, field.dictionary.places), values)
        self._spend(sum(len(value) for value in chosen if isinstance(value, str)))
        return chosen

    def _values(self, kind: str, part: Part) -> Column:
        if kind in NUMBERS:
            return _numbers(part, kind)
        if kind == "bool":
            return _without(part, _bits(part.name, part.buffers[0], part.length).tolist())
        if kind == "null":
            return [None] * part.length
        if kind in DATES:
            return _without(part, _dates(part, *DATES[kind]))
        return self._texts(part, _views(part) if kind in _VIEWS else _runs(part, _OFFSETS[kind]))

    def _texts(self, part: Part, cells: Iterator[memoryview | None]) -> list[Any]:
        """Each cell as text; None where it is null."""
        texts: list[str | None] = []
        for cell in cells:
            if cell is None:
                texts.append(None)
                continue
            self._spend(len(cell))
            try:
                texts.append(str(cell, "utf-8"))
            except UnicodeDecodeError:
                raise damaged(f"a text of column {quoted(part.name)} is not UTF-8") from None
        return texts

    def _spend(self, length: int) -> None:
        self._room -= length
        if self._room < 0:
            sentence = f"the texts of all rows are longer than {self._limit} bytes: send fewer rows"
            raise BodyTooLarge(sentence, limit=self._limit)


def joined(columns: Sequence[Column]) -> Column:
    """The parts of one column, one behind the other."""
    if len(columns) == 1:
        return columns[0]
    if all(isinstance(column, np.ndarray) for column in columns):
        return np.concatenate(columns)
    return [value for column in columns for value in column]


def _count(count: int) -> int:
    if not 0 <= count < 1 << 20:
        raise damaged("a column of views has no number of buffers")
    return count


def _slice(body: memoryview, place: Sequence[int], name: str) -> memoryview:
    offset, length = place
    if offset < 0 or length < 0 or offset + length > len(body):
        raise damaged(f"a buffer of column {quoted(name)} lies outside its message")
    return body[offset : offset + length]


def _nulls(name: str, slices: Sequence[memoryview], length: int, count: int) -> npt.NDArray[np.bool_] | None:
    if not count or not slices:
        return None
    if len(slices[0]):
        return ~_bits(name, slices[0], length)
    if count > 0:
        raise damaged(f"column {quoted(name)} has nulls, and does not say where")
    return None


def _bits(name: str, buffer: memoryview, length: int) -> npt.NDArray[np.bool_]:
    octets = np.frombuffer(_first(name, buffer, (length + 7) // 8), np.uint8)
    return np.unpackbits(octets, count=length, bitorder="little").astype(np.bool_)


def _fixed(part: Part, kind: str) -> npt.NDArray[Any]:
    dtype = np.dtype(kind).newbyteorder("<")
    return np.frombuffer(_first(part.name, part.buffers[0], part.length * dtype.itemsize), dtype)


def _first(name: str, buffer: memoryview, length: int) -> memoryview:
    if len(buffer) < length:
        raise damaged(f"a buffer of column {quoted(name)} is too short for its rows")
    return buffer[:length]


def _numbers(part: Part, kind: str) -> npt.NDArray[np.float64]:
    values = _fixed(part, kind).astype(np.float64)
    if part.nulls is not None:
        values[part.nulls] = np.nan
    return values


def _dates(part: Part, integers: str, unit: str, end: str) -> list[str]:
    """The dates in ISO 8601, to the second at most: what is finer is dropped, as from text."""
    coarse = "D" if integers == "int32" else "s"
    moments = _fixed(part, integers).astype(np.int64).astype(f"M8[{unit}]").astype(f"M8[{coarse}]")
    return [f"{moment}{end}" for moment in np.datetime_as_string(moments).tolist()]


def _without(part: Part, values: list[Any]) -> list[Any]:
    if part.nulls is None:
        return values
    return [None if null else value for value, null in zip(values, part.nulls.tolist(), strict=True)]


def _chosen(part: Part, places: npt.NDArray[Any], values: list[Any]) -> list[Any]:
    """The values of a dictionary at these places."""
    valid = places if part.nulls is None else places[~part.nulls]
    if valid.size and not 0 <= int(valid.min()) <= int(valid.max()) < len(values):
        raise damaged(f"column {quoted(part.name)} points beyond its dictionary")
    chosen = iter([values[place] for place in valid.tolist()])
    return (
        [*chosen] if part.nulls is None else [None if null else next(chosen) for null in part.nulls.tolist()]
    )


def _runs(part: Part, dtype: str) -> Iterator[memoryview | None]:
    """The bytes of each text, which lie one behind the other."""
    offsets, text = part.buffers
    if not part.length:
        return
    width = np.dtype(dtype).itemsize
    places = np.frombuffer(_first(part.name, offsets, (part.length + 1) * width), dtype)
    if places[0] < 0 or places[-1] > len(text) or (np.diff(places) < 0).any():
        raise damaged(f"the texts of column {quoted(part.name)} lie outside their buffer")
    ends = places.tolist()
    nulls = [False] * part.length if part.nulls is None else part.nulls.tolist()
    for start, end, null in zip(ends, ends[1:], nulls, strict=False):
        yield None if null else text[start:end]


def _views(part: Part) -> Iterator[memoryview | None]:
    """The bytes of each text, which lie in its view or in a buffer that the view names."""
    table, *buffers = part.buffers
    views = np.frombuffer(_first(part.name, table, part.length * _VIEW.itemsize), _VIEW)
    nulls = [False] * part.length if part.nulls is None else part.nulls.tolist()
    fields = (views[name].tolist() for name in ("length", "buffer", "offset"))
    for row, (length, buffer, offset, null) in enumerate(zip(*fields, nulls, strict=True)):
        if null:
            yield None
        elif 0 <= length <= _SHORT:
            yield table[row * _VIEW.itemsize + 4 :][:length]
        elif length < 0 or not 0 <= buffer < len(buffers) or not 0 <= offset <= len(buffers[buffer]) - length:
            raise damaged(f"the texts of column {quoted(part.name)} lie outside their buffers")
        else:
            yield buffers[buffer][offset : offset + length]
