"""The features of one model, compiled: what a request may hold and the tensors it becomes."""

import math
import struct
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from server.artifact import MISSING_CATEGORY, Feature, Input, Manifest
from server.body import Members
from server.errors import InvalidInput

Value = float | str | None
Row = Sequence[Value]
Feeds = dict[str, npt.NDArray[Any]]

DTYPES = {"float32": np.float32, "float64": np.float64, "int64": np.int64, "string": np.object_}
# The same in the struct module.
PACKING = {"float32": "f", "float64": "d"}
# From 2**53 on, a double may stand for several integers.
_LARGEST = {
    "float32": float(np.finfo(np.float32).max),
    "float64": float(np.finfo(np.float64).max),
    "int64": 2.0**53 - 1,
}


class Signature:
    """What one model takes.

    ``row`` and ``record`` are msgspec types of one row, as an array and as an object; they hold
    every rule below and are checked while the JSON is parsed. ``record`` is None where a feature's
    name cannot be a msgspec field. ``check_row`` and ``check_record`` are the same rules in Python,
    for the sentence that is owed when those types refuse.
    """

    def __init__(self, manifest: Manifest) -> None:
        self.features = manifest.features
        self.names = tuple(feature.name for feature in manifest.features)
        self.inputs = manifest.inputs
        self._dtype = {name: tensor.dtype for tensor in manifest.inputs for name in tensor.features}
        self._index = {name: index for index, name in enumerate(self.names)}
        types = [self._type(feature) for feature in self.features]
        self.row: Any = tuple[tuple(types)]  # type: ignore[misc]
        self.record = _record_type(self.names, types)

    def feeds(self, rows: Sequence[Row]) -> Feeds:
        """Rows that passed the checks, as one array (rows, features) per tensor of the graph."""
        return {tensor.name: self._array(tensor, rows) for tensor in self.inputs}

    def check_row(self, values: object, row: int) -> Row:
        """One row given as an array; InvalidInput names the row and the feature."""
        count = len(self.names)
        if not isinstance(values, list):
            raise InvalidInput(
                f"row {row} is {_kind(values)}, but an array of {count} values belongs there", row=row
            )
        if len(values) != count:
            raise InvalidInput(
                f"row {row} has {len(values)} values, but the model takes {count}: {_listing(self.names)}",
                row=row,
                expected=count,
                received=len(values),
            )
        return [
            self._check(feature, value, row) for feature, value in zip(self.features, values, strict=True)
        ]

    def check_record(self, members: Members, row: int) -> Row:
        """One row given as an object; InvalidInput names the row and the feature."""
        for name in members.repeated:
            raise _fault(name, row, "is given twice")
        for name in members:
            if name not in self._index:
                raise _fault(name, row, f"is unknown to the model: it takes {_listing(self.names)}")
        for name in self.names:
            if name not in members:
                raise _fault(name, row, "is not given")
        return [self._check(feature, members[feature.name], row) for feature in self.features]

    def _type(self, feature: Feature) -> Any:
        if feature.kind == "category":
            base: Any = Literal[feature.categories] if feature.closed else str
        else:
            lowest, highest = self._range(feature)
            base = Annotated[float, msgspec.Meta(ge=lowest, le=highest)]
        return base | None if feature.missing else base

    def _range(self, feature: Feature) -> tuple[float, float]:
        largest = _LARGEST[self._dtype[feature.name]]
        lowest = -largest if feature.lowest is None else max(feature.lowest, -largest)
        highest = largest if feature.highest is None else min(feature.highest, largest)
        return lowest, highest

    def _check(self, feature: Feature, value: object, row: int) -> Value:
        if value is None or (isinstance(value, float) and math.isnan(value)):
            if not feature.missing:
                raise _fault(
                    feature.name, row, "is missing (null or NaN), and the model cannot do without it"
                )
            return None
        if feature.kind == "category":
            return _check_category(feature, value, row)
        if not isinstance(value, float):
            remedy = f": send {int(value)}" if isinstance(value, bool) else ""
            raise _fault(feature.name, row, f"is {_kind(value)}, but a number belongs there{remedy}")
        lowest, highest = self._range(feature)
        if not lowest <= value <= highest:
            limits = f"{_figure(lowest)} to {_figure(highest)}"
            raise _fault(
                feature.name, row, f"is {_figure(value)}, outside what the model can compute with ({limits})"
            )
        return value

    def _array(self, tensor: Input, rows: Sequence[Row]) -> npt.NDArray[Any]:
        if tensor.features != self.names:
            columns = [self._index[name] for name in tensor.features]
            rows = [[row[column] for column in columns] for row in rows]
        if tensor.dtype == "string":
            return self._texts(tensor, rows)
        if tensor.dtype == "int64":
            return self._integers(tensor, np.array(rows, dtype=np.float64))
        return _numbers(rows, len(tensor.features), tensor.dtype)

    def _texts(self, tensor: Input, rows: Sequence[Row]) -> npt.NDArray[Any]:
        for index, row in enumerate(rows):
            if MISSING_CATEGORY in row:
                name = tensor.features[row.index(MISSING_CATEGORY)]
                raise _fault(name, index, "is U+FDD0, which is no character: send null for a missing value")
        filled = [[MISSING_CATEGORY if value is None else value for value in row] for row in rows]
        return np.array(filled, dtype=np.object_)

    def _integers(self, tensor: Input, values: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        for row, column in np.argwhere(values != np.floor(values)):
            found = f"is {values[row, column]:g}, but a whole number belongs there"
            raise _fault(tensor.features[column], int(row), found)
        return values.astype(np.int64)


def _numbers(rows: Sequence[Row], width: int, dtype: Literal["float32", "float64"]) -> npt.NDArray[Any]:
    pack = struct.Struct(f"{width}{PACKING[dtype]}").pack
    try:
        # A third of the time of np.array on the same tuples.
        packed = b"".join([pack(*row) for row in rows])
    except struct.error:
        return np.array(rows, dtype=DTYPES[dtype])  # None becomes NaN
    return np.frombuffer(packed, DTYPES[dtype]).reshape(len(rows), width)


def _record_type(names: Sequence[str], types: Sequence[Any]) -> type[msgspec.Struct] | None:
    fields = [(f"f{index}", kind) for index, kind in enumerate(types)]
    rename = {f"f{index}": name for index, name in enumerate(names)}
    try:
        return msgspec.defstruct("Record", fields, rename=rename, forbid_unknown_fields=True, gc=False)
    except ValueError:
        return None


def _check_category(feature: Feature, value: object, row: int) -> str:
    if not isinstance(value, str):
        raise _fault(feature.name, row, f"is {_kind(value)}, but a category (text) belongs there")
    if feature.closed and value not in feature.categories:
        known = _listing(feature.categories)
        raise _fault(
            feature.name, row, f"is {_quoted(value)}, which the model was not fitted with: it knows {known}"
        )
    return value


def _fault(feature: str, row: int, what: str) -> InvalidInput:
    return InvalidInput(f"feature {_quoted(feature)} of row {row} {what}", row=row, feature=feature[:200])


def _kind(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"text ({_quoted(value)})"
    if isinstance(value, float):
        return f"a number ({_figure(value)})"
    return "an object" if isinstance(value, Mapping) else "an array"


def _figure(value: float) -> str:
    return repr(value).removesuffix(".0")


def _quoted(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:60]}...")


def _listing(names: Sequence[str]) -> str:
    shown = ", ".join(name if len(name) <= 60 else f"{name[:60]}..." for name in names[:30])
    return shown if len(names) <= 30 else f"{shown} and {len(names) - 30} more"
