"""Reading rows from JSON: compiled decoders read valid bodies, rules in Python find the error in others."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import msgspec
import numpy as np

from unpickled.server.artifact.manifest import repeated
from unpickled.server.errors import InvalidInput
from unpickled.server.inference.predictor import Predictor
from unpickled.server.inference.turn import alone, breathe, paced
from unpickled.server.message import strict
from unpickled.server.message.strict import Members
from unpickled.server.model.feeds import Inside, Matrix, Row, Table
from unpickled.server.model.feeds import numbers as numbers_of
from unpickled.server.model.rule import fault_of
from unpickled.server.protocols.slices import HEAVY, slices
from unpickled.server.quote import counted, quoted

# Exceptions of msgspec for a body that it refuses; strict.parse then finds the error.
REFUSALS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

# Bytes of the longest body of which all rows are first taken to be inside the training range.
_SHORT = 1024


class Reader:
    """Reads rows for one model; raises RequestError.

    msgspec keeps the last of duplicate names silently. Every name needs a colon, so a body with as many
    colons as names has no duplicate.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._signature = predictor.signature
        self.width = len(self._signature.names)
        ranges = predictor.ranges
        record, row = self._signature.record, self._signature.row
        close_row, close_record = (row, record) if ranges is None else self._signature.within(ranges)
        either, close = (
            a_row if a_record is None else a_row | a_record
            for a_row, a_record in ((row, record), (close_row, close_record))
        )
        # {"features": row}, {"features": [row, ...]} and a record: first those inside the training range.
        self.decode_row = _decoder("features", close_row)
        self.decode_record = msgspec.json.Decoder(close_record or _Nothing).decode
        self._decode_row = _decoder("features", row)
        self._decode_record = msgspec.json.Decoder(record or _Nothing).decode
        self._decode_rows = _decoder("features", list[row])  # type: ignore[valid-type]
        self._decode_instances = _decoder("instances", list[either])  # type: ignore[valid-type]
        # The same of rows inside; None where decoders do not tell that.
        sure = ranges is not None and ranges.compiled
        self._decode_close_rows = _decoder("features", list[close_row]) if sure else None  # type: ignore[valid-type]
        self._decode_close_instances = _decoder("instances", list[close]) if sure else None  # type: ignore[valid-type]
        self._decode_slice = msgspec.json.Decoder(list[row]).decode  # type: ignore[valid-type]
        self._decode_either = msgspec.json.Decoder(list[either]).decode  # type: ignore[valid-type]
        self._numeric = all(feature.kind == "number" for feature in self._signature.features)

    def long(self, request: bytes, name: str) -> Sequence[Row] | None:
        """The rows of a valid {name: [...]} of many rows, read in slices; None for any other body.

        ``name`` is "features" or "instances". Rows of numbers become an array at once, so that they take a
        fraction of the memory of Python's numbers. Raises TooManyRows before the rest is read.
        """
        parts = slices(request, name)
        if parts is None:
            return None
        rows: list[Row] = []
        numbers, count = bytearray(), 0
        try:
            for part in paced(parts, 1):
                decoded = self._decoded(part, name)
                if not decoded:
                    return None
                count += len(decoded)
                self._predictor.check_bounded(count)
                if self._numeric:
                    numbers += numbers_of(decoded, self.width, "float64").data.cast("B")
                else:
                    rows += decoded
        except REFUSALS:
            return None
        return Matrix(np.frombuffer(numbers).reshape(count, self.width)) if self._numeric else rows

    def _decoded(self, part: bytes, name: str) -> Sequence[Row] | None:
        """The rows in a slice; None if a name may be a duplicate. Raises REFUSALS."""
        if name == "features":
            rows: list[Row] = self._decode_slice(part)
            return rows if b":" not in part else None
        mixed = self._decode_either(part)
        records = sum(isinstance(row, msgspec.Struct) for row in mixed)
        if part.count(b":") != records * self.width:
            return None
        return [msgspec.structs.astuple(row) if isinstance(row, msgspec.Struct) else row for row in mixed]

    def row(self, request: bytes) -> Row | None:
        """The row of a valid {"features": row}, inside the training range or not; None for any other body."""
        if request.count(b"[") != 1:
            return None
        try:
            row: Row = self._decode_row(request).features
        except REFUSALS:
            return None
        return row

    def compiled_record(self, request: bytes) -> Row | None:
        """The row of a valid record with as many colons as names, inside the training range or not."""
        try:
            return msgspec.structs.astuple(self._decode_record(request))
        except REFUSALS:
            return None

    def features(self, request: bytes) -> Sequence[Row] | None:
        """The rows of a valid {"features": [row, ...]}; None for any other body."""
        if request.count(b":") != 1:
            return None
        inside = self._inside(request, self._decode_close_rows)
        try:
            rows: list[Row] = (inside or self._decode_rows(request)).features
        except REFUSALS:
            return None
        self._predictor.check_count(len(rows))
        return rows if inside is None else Inside(rows)

    def instances(self, request: bytes) -> Sequence[Row] | None:
        """The rows of a valid {"instances": [row or record, ...]}; None for any other body."""
        inside = self._inside(request, self._decode_close_instances)
        try:
            mixed: list[Any] = (inside or self._decode_instances(request)).instances
        except REFUSALS:
            return None
        records = sum(isinstance(row, msgspec.Struct) for row in mixed)
        if request.count(b":") != 1 + records * self.width:
            return None
        self._predictor.check_count(len(mixed))
        rows = [msgspec.structs.astuple(row) if isinstance(row, msgspec.Struct) else row for row in mixed]
        return rows if inside is None else Inside(rows)

    @staticmethod
    def _inside(request: bytes, decode: Any) -> Any:
        """The envelope of a short body of which all rows are inside; None for any other body.

        Longer ones are compared as arrays: often a row is outside, and all would be decoded twice.
        """
        if decode is None or len(request) > _SHORT:
            return None
        try:
            return decode(request)
        except REFUSALS:
            return None

    def document(self, request: bytes, example: str) -> Members:
        """The body as a JSON object; an error about any other body suggests to send ``example``."""
        if len(request) > HEAVY:
            alone()
        members = strict.parse(request, breathe)
        if not isinstance(members, Members):
            raise InvalidInput(f"the body is not an object: send {example}")
        return members

    def listed(self, values: object, place: str) -> Sequence[Row]:
        """The rows of a parsed list of rows and records; ``place`` is its place in the body, for errors."""
        if not isinstance(values, list):
            raise InvalidInput(f"{place} is not an array: send a list of rows")
        self._predictor.check_count(len(values))
        rows = Table(self._check(row, index) for index, row in paced(enumerate(values)))
        records = (self._signature.ignored(row) for row in values if isinstance(row, Members))
        rows.ignored = list(dict.fromkeys(chain.from_iterable(records)))
        return rows

    def record(self, members: Members) -> Table:
        """The one row of a parsed object."""
        row = Table([self._signature.check_record(members, 0)])
        row.ignored = self._signature.ignored(members)
        return row

    def columns(self, members: Members) -> Sequence[Row]:
        """The rows of a parsed {feature: [value, ...], ...}."""
        for name in members.repeated:
            raise fault_of(name, 0, "is given twice")
        # Before the values are read: a body may hold very many names.
        self._signature.check_names(members, 0)
        ignored = self._signature.ignored(members)
        for name, values in members.items():
            if not isinstance(values, list):
                raise InvalidInput(
                    f"feature {quoted(name)} is not an array: send its values, one per row",
                    feature=name[:200],
                )
        lengths = {name: len(values) for name, values in members.items()}
        count = max(lengths.values(), default=0)
        for name, length in lengths.items():
            if length != count:
                raise InvalidInput(
                    f"feature {quoted(name)} has {counted(length, 'value')} where another has {count}: "
                    "send one per row of each",
                    feature=name[:200],
                )
        self._predictor.check_count(count)
        columns = zip(*(members[name] for name in self._signature.names), strict=True)
        rows = Table(
            self._signature.check_row(list(values), index) for index, values in paced(enumerate(columns))
        )
        rows.ignored = ignored
        return rows

    def table(self, names: object, data: object) -> Sequence[Row]:
        """The rows of parsed arrays, whose values are in the order of ``names``."""
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise InvalidInput("'columns' is not an array of feature names")
        if not isinstance(data, list):
            raise InvalidInput("'data' is not an array: send a list of rows")
        self._predictor.check_count(len(data))
        if (name := repeated(names)) is not None:
            raise fault_of(name, 0, "is given twice")
        self._signature.check_names(names, 0)
        place_of = {name: place for place, name in enumerate(names)}
        places = [place_of[name] for name in self._signature.names]
        rows = Table()
        for index, values in paced(enumerate(data)):
            if not isinstance(values, list) or len(values) != len(names):
                raise InvalidInput(
                    f"row {index} is not an array of {counted(len(names), 'value')}, "
                    "one for each of 'columns'",
                    row=index,
                )
            rows.append(self._signature.check_row([values[place] for place in places], index))
        rows.ignored = self._signature.ignored(names)
        return rows

    def _check(self, row: Any, index: int) -> Row:
        if isinstance(row, Members):
            return self._signature.check_record(row, index)
        return self._signature.check_row(row, index)


class _Nothing(msgspec.Struct, forbid_unknown_fields=True):
    """Refuses every record: models whose records msgspec cannot decode have them read in Python."""


def _decoder(name: str, kind: Any) -> Any:
    envelope = msgspec.defstruct("Envelope", [(name, kind)], forbid_unknown_fields=True, gc=False)
    return msgspec.json.Decoder(envelope).decode
