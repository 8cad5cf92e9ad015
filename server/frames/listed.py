"""Rows as lists and records of Python's values, by the rules of those in JSON."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from unpickled.server.errors import InvalidInput
from unpickled.server.frames.kinds import is_pandas_column
from unpickled.server.frames.values import PLAIN, plain
from unpickled.server.message.strict import Members
from unpickled.server.model.feeds import Row
from unpickled.server.model.signature import Signature
from unpickled.server.quote import quoted

# Exceptions of msgspec for rows that it refuses; the rules in Python then find the error. ValueError is that
# of the one decimal without a float, a signalling NaN.
REFUSALS = (msgspec.MsgspecError, RecursionError, ValueError)


def converter(kind: Any) -> Callable[[Any], Any]:
    """Return a function that reads a value of this type; it raises REFUSALS.

    msgspec keeps a compiled Struct, but would compile another type in each call, for 2 to 10 us.
    """
    envelope = msgspec.defstruct("Envelope", [("value", kind)], array_like=True, gc=False)
    convert = msgspec.convert
    return lambda value: convert((value,), envelope).value  # type: ignore[attr-defined]


class Listed:
    """Reads rows of Python's values for one model."""

    def __init__(self, signature: Signature) -> None:
        self._signature = signature
        self._features = {feature.name: feature for feature in signature.features}
        row, record = signature.row, signature.record
        either = row if record is None else row | record
        self._convert = converter(list[either])  # type: ignore[valid-type]

    def read(self, items: Sequence[Any], first: int = 0) -> Sequence[Row]:
        """The values of each row in feature order; InvalidInput names row and feature.

        Args:
            items: Lists, tuples, arrays (features,), mappings by the names of features, or Series of pandas.
            first: The number of the first row.
        """
        rows = self._compiled(items)
        return [self.row(item, row) for row, item in enumerate(items, first)] if rows is None else rows

    def row(self, item: Any, row: int) -> Row:
        """The values of one row in feature order; InvalidInput as ``read``."""
        if is_pandas_column(item) and hasattr(item, "to_dict"):
            item = _record_of(item, row)
        if isinstance(item, Mapping):
            return self._record(item, row)
        if not isinstance(item, list | tuple) and not (isinstance(item, np.ndarray) and item.ndim == 1):
            remedy = "give a list of its values, or a record with their names"
            raise InvalidInput(f"row {row} is of the type {type(item).__name__}: {remedy}", row=row)
        values = [*item]
        if len(values) == len(self._features):
            pairs = zip(values, self._features.values(), strict=True)
            values = [plain(value, feature, row) for value, feature in pairs]
        return self._signature.check_row(values, row)

    def _compiled(self, items: Sequence[Any]) -> list[Row] | None:
        """The rows as msgspec reads them; None where it refuses one, or reads it otherwise than JSON."""
        try:
            mixed: list[Any] = self._convert(items)
        except REFUSALS:
            return None
        rows = [msgspec.structs.astuple(row) if isinstance(row, msgspec.Struct) else row for row in mixed]
        # It leaves a subclass of text, such as an enumeration, as it is.
        return rows if all(PLAIN.issuperset(map(type, row)) for row in rows) else None

    def _record(self, item: Mapping[Any, Any], row: int) -> Row:
        for name in item:
            if not isinstance(name, str):
                sentence = f"row {row} has the name {name!r:.200}, which is no text: name its features"
                raise InvalidInput(sentence, row=row)
        members = Members(item)
        for name, feature in self._features.items():
            if name in members:
                members[name] = plain(members[name], feature, row)
        return self._signature.check_record(members, row)


def _record_of(series: Any, row: int) -> Mapping[Any, Any]:
    """A Series of pandas as a record; InvalidInput where it has a name twice, of which a dict keeps one."""
    if not series.index.is_unique:
        name = str(series.index[series.index.duplicated()][0])
        raise InvalidInput(f"row {row} has the name {quoted(name)} twice: give each feature once", row=row)
    record: Mapping[Any, Any] = series.to_dict()
    return record
