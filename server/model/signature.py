"""The features of one model, compiled: the rules for rows, and the tensors of rows that keep them."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from unpickled.server.artifact.manifest import MISSING_CATEGORY, Input, Manifest
from unpickled.server.errors import InvalidInput
from unpickled.server.message.strict import Members
from unpickled.server.model import feeds
from unpickled.server.model.feeds import Column, Feeds, Row, Value
from unpickled.server.model.range import Range
from unpickled.server.model.ranges import Ranges
from unpickled.server.model.rule import Rule, fault_of, kind
from unpickled.server.quote import counted, hint, listed, quoted


class Signature:
    """The rules for the rows of one model.

    ``row`` and ``record`` are msgspec types of one row, as an array and as an object; they contain every
    rule, and msgspec checks them while it parses the JSON. ``record`` is None where the name of a feature
    cannot be a msgspec field. ``check_row`` and ``check_record`` are the same rules in Python: they raise
    the error for a row that the types refuse. ``read_row`` and ``check_read`` are for rows that are read
    already, in which dates are numbers.

    A name that is no feature is ignored if it is a column of the training table that the graph does not
    read, or if ``extra`` is "ignore"; otherwise it is an error.
    """

    def __init__(self, manifest: Manifest, extra: Literal["ignore", "refuse"] = "refuse") -> None:
        self.features = manifest.features
        self.names = tuple(feature.name for feature in manifest.features)
        self.inputs = manifest.inputs
        self._unused = frozenset(manifest.unused)
        self._extra = extra
        self._index = {name: index for index, name in enumerate(self.names)}
        self._columns = {
            tensor.name: [self._index[name] for name in tensor.features] for tensor in self.inputs
        }
        dtypes = {name: tensor.dtype for tensor in manifest.inputs for name in tensor.features}
        self._rules = [Rule(feature, dtypes[feature.name]) for feature in self.features]
        self._limits = {
            tensor.name: self._limits_of(tensor) for tensor in self.inputs if tensor.dtype != "string"
        }
        types = [rule.type for rule in self._rules]
        self.row: Any = tuple[tuple(types)]  # type: ignore[misc]
        self.record = _record_type(self.names, types)
        self.read_row: Any = tuple[tuple(rule.read_type for rule in self._rules)]  # type: ignore[misc]

    def within(self, ranges: Ranges) -> tuple[Any, Any]:
        """The types ``row`` and ``record`` for rows of which every value lies inside these ranges.

        They refuse dates, as ``row`` does.
        """
        types = [
            rule.type if each is None or not each.compiled or rule.feature.date else _optional(rule, each)
            for rule, each in ((rule, ranges.of(place)) for place, rule in enumerate(self._rules))
        ]
        return tuple[tuple(types)], _record_type(self.names, types)  # type: ignore[misc]

    def feeds(self, rows: Sequence[Row], first: int = 0) -> Feeds:
        """Rows that passed the checks, as one array (rows, features) per tensor of the graph.

        ``first`` is the number of the first row, by which errors count, here and below.
        """
        return {tensor.name: self._array(tensor, rows, first) for tensor in self.inputs}

    def matrix(self, values: npt.NDArray[Any], first: int = 0) -> Feeds:
        """Feeds from numbers (rows, features) of any numeric dtype, by the rules of ``check_row``.

        Only for models without categories. Nothing is copied if dtype and memory fit the graph.
        """
        whole = len(self.inputs) == 1 and self.inputs[0].features == self.names
        return {
            tensor.name: self._block(
                tensor, values if whole else values[:, self._columns[tensor.name]], first
            )
            for tensor in self.inputs
        }

    def table(self, columns: Mapping[str, Column], first: int = 0) -> Feeds:
        """Feeds from one column (rows,) per feature, in any order, by the rules of ``check_record``.

        Columns are numeric arrays, or lists and object arrays of float, str and None.
        """
        self._check_columns(columns)
        tensors: Feeds = {}
        for tensor in self.inputs:
            chosen = [
                (self._rules[index], columns[self.names[index]]) for index in self._columns[tensor.name]
            ]
            if tensor.dtype == "string":
                checked = [_check_column(rule, column, first) for rule, column in chosen]
                tensors[tensor.name] = self._texts(tensor, list(zip(*checked, strict=True)), first)
            else:
                numbers = [_number_column(rule, column, first) for rule, column in chosen]
                tensors[tensor.name] = self._block(tensor, np.stack(numbers, axis=1), first)
        return tensors

    def check_row(self, values: object, row: int) -> Row:
        """One row given as an array; InvalidInput names the row and the feature."""
        count = len(self.names)
        if not isinstance(values, list):
            raise InvalidInput(
                f"row {row} is {kind(values)}, but an array of {counted(count, 'value')} belongs there",
                row=row,
            )
        self._check_width(values, row)
        return [rule.check(value, row) for rule, value in zip(self._rules, values, strict=True)]

    def check_record(self, members: Members, row: int) -> Row:
        """One row given as an object; InvalidInput names the row and the feature."""
        for name in members.repeated:
            raise fault_of(name, row, "is given twice")
        self.check_names(members, row)
        return [rule.check(members[rule.feature.name], row) for rule in self._rules]

    def check_read(self, values: Row, row: int) -> Row:
        """One row of values that another version has read; InvalidInput as ``check_row``."""
        self._check_width(values, row)
        return [rule.check_read(value, row) for rule, value in zip(self._rules, values, strict=True)]

    def ignores(self, name: str) -> bool:
        """Whether a column with this name, which is no feature, may be given and is not read."""
        return self._extra == "ignore" or name in self._unused

    def ignored(self, names: Collection[str]) -> list[str]:
        """Those of these names, which passed ``check_names``, that are not read."""
        if len(names) == len(self.names):
            return []
        return [name for name in names if name not in self._index]

    def check_names(self, names: Collection[str], row: int | None = None) -> None:
        """Raise InvalidInput unless these are the names of all features, and of nothing but ignored columns.

        The error names everything that is wrong, and ``row``, the row in which the names stand.
        """
        given = set(names)
        unknown = [name for name in names if name not in self._index and not self.ignores(name)]
        lacking = [name for name in self.names if name not in given]
        if not unknown and not lacking:
            return
        error = InvalidInput(self._misfit(unknown, lacking, row), feature=(unknown or lacking)[0][:200])
        if row is not None:
            error.details["row"] = row
        raise error

    def _check_width(self, values: Row, row: int) -> None:
        count = len(self.names)
        if len(values) != count:
            raise InvalidInput(
                f"row {row} has {counted(len(values), 'value')}, but the model takes {count}: "
                f"{listed(self.names)}",
                row=row,
                expected=count,
                received=len(values),
            )

    def _misfit(self, unknown: list[str], lacking: list[str], row: int | None) -> str:
        place = "" if row is None else f" of row {row}"
        clauses = []
        if unknown:
            suggestion = hint(unknown[0], lacking or self.names)
            clauses.append(
                f"{_listed_features(unknown, place)} unknown to the model: {suggestion}it takes "
                f"{listed(self.names)}"
            )
        if lacking:
            optional = self.features[self._index[lacking[0]]].missing
            remedy = ": send null where it is missing" if optional else ""
            clauses.append(f"{_listed_features(lacking, place)} not given{remedy}")
        return "; ".join(clauses)

    def _limits_of(self, tensor: Input) -> "_Limits":
        rules = [self._rules[index] for index in self._columns[tensor.name]]
        lowest, highest = np.array([(rule.lowest, rule.highest) for rule in rules]).T
        lists = [(place, np.array(rule.feature.values)) for place, rule in enumerate(rules) if rule.is_list]
        # No block lies within these two where a column has a list of numbers, so that the list is looked at.
        tightest = (np.inf, -np.inf) if lists else (float(lowest.max()), float(highest.min()))
        return _Limits(*tightest, lowest, highest, np.array([rule.feature.missing for rule in rules]), lists)

    def _block(self, tensor: Input, values: npt.NDArray[Any], first: int) -> npt.NDArray[Any]:
        """Numbers (rows, features of a tensor), checked and in the tensor's dtype."""
        self._check_block(tensor, values, first)
        if tensor.dtype == "int64":
            return self._integers(tensor, values.astype(np.float64), first)
        return feeds.block(values, tensor.dtype)  # type: ignore[arg-type]

    def _check_block(self, tensor: Input, values: npt.NDArray[Any], first: int) -> None:
        lowest, highest, lows, highs, missing, lists = self._limits[tensor.name]
        # Fast path: compare the block's minimum and maximum with the tightest limits, 10 times cheaper than
        # per column. NaN always falls through. Calls the ufuncs, as min() and max() wrap them in Python.
        if not values.size or (
            lowest <= np.minimum.reduce(values, axis=None).item()
            and np.maximum.reduce(values, axis=None).item() <= highest
        ):
            return
        sound = (lows <= values) & (values <= highs)
        for place, known in lists:
            sound[:, place] &= np.isin(values[:, place], known)
        sound |= np.isnan(values) & missing
        for row, column in np.argwhere(~sound)[:1].tolist():
            rule = self._rules[self._columns[tensor.name][column]]
            rule.check_read(float(values[row, column]), first + row)

    def _check_columns(self, columns: Mapping[str, Column]) -> None:
        self.check_names(columns)
        count = max(len(columns[name]) for name in self.names)
        for name in self.names:
            if len(columns[name]) != count:
                values = counted(len(columns[name]), "value")
                sentence = f"feature {quoted(name)} has {values} where another has {count}"
                raise InvalidInput(f"{sentence}: send one per row of each", feature=name[:200])

    def _array(self, tensor: Input, rows: Sequence[Row], first: int) -> npt.NDArray[Any]:
        if tensor.features != self.names:
            columns = self._columns[tensor.name]
            rows = [[row[column] for column in columns] for row in rows]
        if tensor.dtype == "string":
            return self._texts(tensor, rows, first)
        if tensor.dtype == "int64":
            return self._integers(tensor, np.array(rows, dtype=np.float64), first)
        return feeds.numbers(rows, len(tensor.features), tensor.dtype)

    def _texts(self, tensor: Input, rows: Sequence[Row], first: int) -> npt.NDArray[Any]:
        for index, row in enumerate(rows, first):
            if MISSING_CATEGORY in row:
                name = tensor.features[row.index(MISSING_CATEGORY)]
                raise fault_of(name, index, "is U+FDD0, which is no character: send null for a missing value")
        rules = [self._rules[index] for index in self._columns[tensor.name]]
        if any(rule.feature.missing_words for rule in rules):
            rows = [_without_words(rules, row, index) for index, row in enumerate(rows, first)]
        return feeds.texts(rows)

    def _integers(self, tensor: Input, values: npt.NDArray[np.float64], first: int) -> npt.NDArray[np.int64]:
        for row, column in np.argwhere(values != np.floor(values)):
            fault = f"is {values[row, column]:g}, but a whole number belongs there"
            raise fault_of(tensor.features[column], first + int(row), fault)
        return values.astype(np.int64)


class _Limits(NamedTuple):
    """The limits of one tensor: those that fit all of its columns, those of each, and lists of numbers."""

    lowest: float
    highest: float
    lows: npt.NDArray[np.float64]
    highs: npt.NDArray[np.float64]
    missing: npt.NDArray[np.bool_]
    lists: list[tuple[int, npt.NDArray[np.float64]]]


def _record_type(names: Sequence[str], types: Sequence[Any]) -> type[msgspec.Struct] | None:
    fields = [(f"f{index}", kind) for index, kind in enumerate(types)]
    rename = {f"f{index}": name for index, name in enumerate(names)}
    try:
        return msgspec.defstruct("Record", fields, rename=rename, forbid_unknown_fields=True, gc=False)
    except ValueError:
        return None


def _optional(rule: Rule, each: Range) -> Any:
    """The type of a value of this range, or of a missing one where there may be one."""
    kind = each.type(rule.lowest, rule.highest)
    return kind | None if rule.feature.missing else kind


def _check_column(rule: Rule, column: Column, first: int) -> list[Value]:
    if isinstance(column, np.ndarray) and column.dtype != np.object_:
        column = column.astype(np.float64)
    values = column.tolist() if isinstance(column, np.ndarray) else column
    return [rule.check(value, row) for row, value in enumerate(values, first)]


def _number_column(rule: Rule, column: Column, first: int) -> npt.NDArray[np.float64]:
    """A column as numbers. A numeric array is not checked here, but with the rest of its tensor."""
    if not isinstance(column, np.ndarray) or column.dtype == np.object_:
        column = _check_column(rule, column, first)
    return np.array(column, dtype=np.float64)


def _without_words(rules: Sequence[Rule], row: Row, index: int) -> Row:
    """The row with None for each text that stands for a missing value."""
    pairs = zip(rules, row, strict=True)
    return [rule.check(value, index) if rule.is_missing(value) else value for rule, value in pairs]


def _listed_features(names: Sequence[str], place: str) -> str:
    """The subject of a clause about these features of a row."""
    if len(names) == 1:
        return f"feature {quoted(names[0])}{place} is"
    return f"features {listed(names, 10, quoted)}{place} are"
