"""Rows as a worker puts them into its ring and as journals hold them, and the cells that become of them.

A payload is msgpack: the beginning of ids, the route, the version that answered the client, the shadow that
answered instead or nil, and the rows:

    [number, seconds since 1970, label, scores, the features that are kept]

A worker encodes some hundred of them in one call. Cells, which take longer, are made by the writer.
"""

from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any

import msgspec

from unpickled.server.payloads.schema import Cell, Cells, Schema, encoder

# number, time, label, scores, features
Raw = tuple[int, float, Any, Sequence[float], Sequence[Any]]
_MICROSECONDS = 1_000_000


def _plain(value: Any) -> Any:
    """A Python value for one of NumPy."""
    return value.item()


_ENCODE = msgspec.msgpack.Encoder(enc_hook=_plain).encode
_DECODE = msgspec.msgpack.Decoder(tuple[str, str, int, int | None, list[Any]]).decode


class Packer:
    """Packs the rows that one version has answered on one route."""

    def __init__(
        self, schema: Schema, width: int, prefix: str, route: str, version: int, shadow: int | None
    ) -> None:
        """
        Args:
            schema: The columns.
            width: How many features a predicted row has.
            prefix: The ids of the worker up to their number (ids.prefix).
            route: The pattern of the route.
            version: The version that answered the client.
            shadow: The version that answered out of sight; None for what the client got.
        """
        self._head = prefix, route, version, shadow
        self.kept = _kept([column.place for column in schema.features], width)

    def pack(self, rows: Sequence[Raw]) -> bytes:
        """The payload of some rows.

        Raises TypeError, ValueError or UnicodeError where a value cannot be encoded.
        """
        if self.kept is not None:
            kept = self.kept
            rows = [(number, time, label, scores, kept(row)) for number, time, label, scores, row in rows]
        return _ENCODE((*self._head, rows))


def _kept(places: Sequence[int], width: int) -> Callable[[Sequence[Any]], Sequence[Any]] | None:
    """Takes the features that are kept out of a row; None where they are the row."""
    if list(places) == list(range(width)):
        return None
    if len(places) < 2:
        return lambda row: [row[place] for place in places]
    return itemgetter(*places)


class Hasher:
    """Puts keyed hashes in place of the features that are to be hashed."""

    def __init__(self, schema: Schema, key: bytes) -> None:
        self._hashes = [
            (place, encoder(column, key)) for place, column in enumerate(schema.features) if column.hashed
        ]

    def hashed(self, payload: bytes) -> bytes:
        """The same payload with hashes."""
        *head, rows = _DECODE(payload)
        for row in rows:
            for place, encode in self._hashes:
                assert encode is not None
                row[4][place] = encode(row[4][place])
        return _ENCODE((*head, rows))


class Unpacker:
    """Makes the cells of rows; what is to be hashed, is already."""

    def __init__(self, schema: Schema) -> None:
        self._model = schema.model
        self._has_label = bool(schema.all("label"))
        self._encoders = [
            (place, encode)
            for place, column in enumerate(schema.features)
            if not column.hashed and (encode := encoder(column)) is not None
        ]

    def cells(self, payload: bytes) -> Iterator[Cells]:
        """The cells of each row of a payload."""
        prefix, route, version, shadow, rows = _DECODE(payload)
        model = self._model
        for number, time, label, scores, features in rows:
            for place, encode in self._encoders:
                features[place] = encode(features[place])
            answer: Sequence[Cell] = (label, *scores) if self._has_label else scores
            moment = int(time * _MICROSECONDS)
            yield moment, f"{prefix}{number}", model, version, route, shadow, *features, *answer
