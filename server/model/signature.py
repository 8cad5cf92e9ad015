"""The features of one model, compiled: the rules for rows, and the tensors of rows that keep them."""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from unpickled.server.artifact.manifest import MISSING_CATEGORY, Feature, Input, Manifest
from unpickled.server.errors import InvalidInput
from unpickled.server.message.strict import Members
from unpickled.server.model import feeds
from unpickled.server.model.feeds import Column, Feeds, Row, Value
from unpickled.server.quote import listed, quoted

# Largest number of each dtype. From 2**53 on, a double may stand for several integers.
_LARGEST = {
    "float32": float(np.finfo(np.float32).max),
    "float64": float(np.finfo(np.float64).max),
    "int64": 2.0**53 - 1,
}


class Signature:
    """The rules for the rows of one model.

    ``row`` and ``record`` are msgspec types of one row, as an array and as an object; they contain every
    rule, and msgspec checks them while it parses the JSON. ``record`` is None where the name of a feature
    cannot be a msgspec field. ``check_row`` and ``check_record`` are the same rules in Python: they raise
    the error for a row that the types refuse.
    """

    def __init__(self, manifest: Manifest) -> None:
        self.features = manifest.features
        self.names = tuple(feature.name for feature in manifest.features)
        self.inputs = manifest.inputs
        self._dtype = {name: tensor.dtype for tensor in manifest.inputs for name in tensor.features}
        self._index = {name: index for index, name in enumerate(self.names)}
        self._columns = {
            tensor.name: [self._index[name] for name in tensor.features] for tensor in self.inputs
        }
        self._limits = {
            tensor.name: self._limits_of(tensor) for tensor in self.inputs if tensor.dtype != "string"
        }
        types = [self._type(feature) for feature in self.features]
        self.row: Any = tuple[tuple(types)]  # type: ignore[misc]
        self.record = _record_type(self.names, types)

    def feeds(self, rows: Sequence[Row]) -> Feeds:
        """Rows that passed the checks, as one array (rows, features) per tensor of the graph."""
        return {tensor.name: self._array(tensor, rows) for tensor in self.inputs}

    def matrix(self, values: npt.NDArray[Any]) -> Feeds:
        """Feeds from numbers (rows, features) of any numeric dtype, by the rules of ``check_row``.

        Only for models without categories. Nothing is copied if dtype and memory fit the graph.
        """
        whole = len(self.inputs) == 1 and self.inputs[0].features == self.names
        return {
            tensor.name: self._block(tensor, values if whole else values[:, self._columns[tensor.name]])
            for tensor in self.inputs
        }

    def table(self, columns: Mapping[str, Column]) -> Feeds:
        """Feeds from one column (rows,) per feature, in any order, by the rules of ``check_record``.

        Columns are numeric arrays, or lists and object arrays of float, str and None.
        """
        self._check_names(columns)
        tensors: Feeds = {}
        for tensor in self.inputs:
            chosen = [
                (self.features[index], columns[self.names[index]]) for index in self._columns[tensor.name]
            ]
            if tensor.dtype == "string":
                checked = [self._check_column(feature, column) for feature, column in chosen]
                tensors[tensor.name] = self._texts(tensor, list(zip(*checked, strict=True)))
            else:
                numbers = [self._number_column(feature, column) for feature, column in chosen]
                tensors[tensor.name] = self._block(tensor, np.stack(numbers, axis=1))
        return tensors

    def check_row(self, values: object, row: int) -> Row:
        """One row given as an array; InvalidInput names the row and the feature."""
        count = len(self.names)
        if not isinstance(values, list):
            raise InvalidInput(
                f"row {row} is {_kind(values)}, but an array of {count} values belongs there", row=row
            )
        if len(values) != count:
            raise InvalidInput(
                f"row {row} has {len(values)} values, but the model takes {count}: {listed(self.names)}",
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
                raise _fault(name, row, f"is unknown to the model: it takes {listed(self.names)}")
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

    def _limits_of(self, tensor: Input) -> "_Limits":
        features = [self.features[index] for index in self._columns[tensor.name]]
        lowest, highest = np.array([self._range(feature) for feature in features]).T
        missing = np.array([feature.missing for feature in features])
        return _Limits(float(lowest.max()), float(highest.min()), lowest, highest, missing)

    def _block(self, tensor: Input, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Numbers (rows, features of a tensor), checked and in the tensor's dtype."""
        self._check_block(tensor, values)
        if tensor.dtype == "int64":
            return self._integers(tensor, values.astype(np.float64))
        return feeds.block(values, tensor.dtype)  # type: ignore[arg-type]

    def _check_block(self, tensor: Input, values: npt.NDArray[Any]) -> None:
        lowest, highest, lows, highs, missing = self._limits[tensor.name]
        # Fast path: compare the block's minimum and maximum with the tightest limits, 10 times cheaper than
        # per column. NaN always falls through. Calls the ufuncs, as min() and max() wrap them in Python.
        if not values.size or (
            lowest <= np.minimum.reduce(values, axis=None).item()
            and np.maximum.reduce(values, axis=None).item() <= highest
        ):
            return
        sound = (lows <= values) & (values <= highs) | np.isnan(values) & missing
        for row, column in np.argwhere(~sound)[:1].tolist():
            feature = self.features[self._columns[tensor.name][column]]
            self._check(feature, float(values[row, column]), row)

    def _check_names(self, columns: Mapping[str, Column]) -> None:
        for name in columns:
            if name not in self._index:
                sentence = f"feature {quoted(name)} is unknown to the model: it takes {listed(self.names)}"
                raise InvalidInput(sentence, feature=name[:200])
        count = max(map(len, columns.values()), default=0)
        for name in self.names:
            if name not in columns:
                raise InvalidInput(f"feature {quoted(name)} is not given", feature=name[:200])
            if len(columns[name]) != count:
                sentence = f"feature {quoted(name)} has {len(columns[name])} values where another has {count}"
                raise InvalidInput(f"{sentence}: send one per row of each", feature=name[:200])

    def _check_column(self, feature: Feature, column: Column) -> list[Value]:
        if isinstance(column, np.ndarray) and column.dtype != np.object_:
            column = column.astype(np.float64)
        values = column.tolist() if isinstance(column, np.ndarray) else column
        return [self._check(feature, value, row) for row, value in enumerate(values)]

    def _number_column(self, feature: Feature, column: Column) -> npt.NDArray[np.float64]:
        """A column as numbers. A numeric array is not checked here, but with the rest of its tensor."""
        if not isinstance(column, np.ndarray) or column.dtype == np.object_:
            column = self._check_column(feature, column)
        return np.array(column, dtype=np.float64)

    def _array(self, tensor: Input, rows: Sequence[Row]) -> npt.NDArray[Any]:
        if tensor.features != self.names:
            columns = self._columns[tensor.name]
            rows = [[row[column] for column in columns] for row in rows]
        if tensor.dtype == "string":
            return self._texts(tensor, rows)
        if tensor.dtype == "int64":
            return self._integers(tensor, np.array(rows, dtype=np.float64))
        return feeds.numbers(rows, len(tensor.features), tensor.dtype)

    def _texts(self, tensor: Input, rows: Sequence[Row]) -> npt.NDArray[Any]:
        for index, row in enumerate(rows):
            if MISSING_CATEGORY in row:
                name = tensor.features[row.index(MISSING_CATEGORY)]
                raise _fault(name, index, "is U+FDD0, which is no character: send null for a missing value")
        return feeds.texts(rows)

    def _integers(self, tensor: Input, values: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        for row, column in np.argwhere(values != np.floor(values)):
            fault = f"is {values[row, column]:g}, but a whole number belongs there"
            raise _fault(tensor.features[column], int(row), fault)
        return values.astype(np.int64)


class _Limits(NamedTuple):
    """The limits of one tensor: those that fit all of its columns, then those of each column."""

    lowest: float
    highest: float
    lows: npt.NDArray[np.float64]
    highs: npt.NDArray[np.float64]
    missing: npt.NDArray[np.bool_]


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
        categories = listed(feature.categories)
        raise _fault(
            feature.name,
            row,
            f"is {quoted(value)}, which the model was not fitted with: it knows {categories}",
        )
    return value


def _fault(feature: str, row: int, fault: str) -> InvalidInput:
    return InvalidInput(f"feature {quoted(feature)} of row {row} {fault}", row=row, feature=feature[:200])


def _kind(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"text ({quoted(value)})"
    if isinstance(value, float):
        return f"a number ({_figure(value)})"
    return "an object" if isinstance(value, Mapping) else "an array"


def _figure(value: float) -> str:
    return repr(value).removesuffix(".0")
