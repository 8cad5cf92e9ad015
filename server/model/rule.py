"""The rules for the values of one feature: as a type of msgspec, and in Python, which names the fault."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from unpickled.server.artifact.manifest import Feature
from unpickled.server.errors import InvalidInput
from unpickled.server.model import dates
from unpickled.server.model.feeds import Value
from unpickled.server.quote import listed, quoted

# Largest number of each dtype. From 2**53 on, a double may stand for several integers.
_LARGEST = {
    "float32": float(np.finfo(np.float32).max),
    "float64": float(np.finfo(np.float64).max),
    "int64": 2.0**53 - 1,
}
# A range that holds no number, a type of no value at all: Python reads dates, which are text, and lists of
# floats, which msgspec does not know.
_NO_NUMBER: Any = Annotated[float, msgspec.Meta(ge=1.0, le=0.0)]


class Rule:
    """The values that one feature takes.

    ``type`` is the msgspec type of a value; ``check`` is the same rule in Python: it raises the error for a
    value that the type refuses. Only ``check`` reads dates, the texts that stand for a missing number, and
    numbers of a list that are no integers: the type refuses them. ``read_type`` and ``check_read`` are the
    rule for a value that is read already, in which a date is a number.

    Args:
        feature: The feature, out of the manifest.
        dtype: The element type of its tensor.
    """

    def __init__(self, feature: Feature, dtype: str) -> None:
        largest = _LARGEST.get(dtype, math.inf)
        self.feature = feature
        self.lowest = -largest if feature.lowest is None else max(feature.lowest, -largest)
        self.highest = largest if feature.highest is None else min(feature.highest, largest)
        self.read_type = self._type()
        self.type = (_NO_NUMBER | None if feature.missing else _NO_NUMBER) if feature.date else self.read_type
        self._values = frozenset(feature.values)
        self._words = frozenset(feature.missing_words)

    @property
    def is_list(self) -> bool:
        """Whether it takes the numbers of a list and no others."""
        return self.feature.closed and self.feature.kind == "number"

    def check(self, value: object, row: int) -> Value:
        """The value, None for a missing one; InvalidInput names the row and the feature."""
        if value is None or (isinstance(value, float) and math.isnan(value)):
            self._check_absent("is missing (null or NaN)", row)
            return None
        if self.is_missing(value):
            self._check_absent(f"is {quoted(value)}, which stands for a missing value", row)
            return None
        if self.feature.kind == "category":
            return self._category(value, row)
        return self._date(value, row) if self.feature.date else self._number(value, row)

    def check_read(self, value: object, row: int) -> Value:
        """The same for a value that is read already: a date may be its seconds since 1970."""
        if self.feature.date and isinstance(value, float) and not math.isnan(value):
            return self._number(value, row)
        return self.check(value, row)

    def is_missing(self, value: object) -> bool:
        """Whether a value is a text that stands for a missing one; spaces around it do not count.

        A category is none, even if it is such a word with spaces around it.
        """
        is_word = isinstance(value, str) and value.strip() in self._words
        return is_word and value not in self.feature.categories

    def fault(self, fault: str, row: int) -> InvalidInput:
        """The error for a value of this feature."""
        return fault_of(self.feature.name, row, fault)

    def _type(self) -> Any:
        feature = self.feature
        kinds: Any = self._text_type() if feature.kind == "category" else self._number_type()
        if feature.boolean:
            kinds |= bool
        return kinds | None if feature.missing else kinds

    def _text_type(self) -> Any:
        return Literal[self.feature.categories] if self.feature.closed else str

    def _number_type(self) -> Any:
        if not self.is_list:
            return Annotated[float, msgspec.Meta(ge=self.lowest, le=self.highest)]
        whole = all(value.is_integer() and abs(value) < 2**53 for value in self.feature.values)
        return Literal[tuple(map(int, self.feature.values))] if whole else _NO_NUMBER

    def _check_absent(self, state: str, row: int) -> None:
        if not self.feature.missing:
            raise self.fault(f"{state}, and the model cannot do without it", row)

    def _category(self, value: object, row: int) -> str:
        feature = self.feature
        if not isinstance(value, str):
            raise self.fault(f"is {kind(value)}, but a category (text) belongs there", row)
        if feature.closed and value not in feature.categories:
            known = listed(feature.categories, write=quoted)
            raise self.fault(
                f"is {quoted(value)}, which the model was not fitted with: it knows {known}", row
            )
        return value

    def _date(self, value: object, row: int) -> float:
        notation = self.feature.notation
        assert notation is not None
        if not isinstance(value, str):
            examples = dates.examples(notation)
            raise self.fault(f"is {kind(value)}, but a date belongs there, as text, such as {examples}", row)
        try:
            seconds = dates.seconds(value, notation)
        except ValueError:
            raise self.fault(dates.fault(value, notation), row) from None
        return self._number(seconds, row)

    def _number(self, value: object, row: int) -> float:
        if isinstance(value, bool) and self.feature.boolean:
            value = float(value)
        if not isinstance(value, float):
            noun = "true or false" if self.feature.boolean else "a number"
            raise self.fault(f"is {kind(value)}, but {noun} belongs there{self._remedy(value)}", row)
        if self.is_list and value not in self._values:
            known = listed([figure(number) for number in self.feature.values])
            raise self.fault(
                f"is {figure(value)}, which the model was not fitted with: it knows {known}", row
            )
        if not self.lowest <= value <= self.highest:
            limits = f"{self._figure(self.lowest)} to {self._figure(self.highest)}"
            fault = f"is {self._figure(value)}, outside what the model can compute with ({limits})"
            raise self.fault(fault, row)
        return value

    def _remedy(self, value: object) -> str:
        """A clause that says how to send a number in place of this value; empty where that is plain."""
        if isinstance(value, bool):
            return f": send {int(value)}"
        if self.feature.boolean and isinstance(value, str) and value.strip().lower() in {"true", "false"}:
            return ": leave out the quotes"
        notation = self.feature.notation
        if not isinstance(value, str) or notation is None or notation.decimal == ".":
            return ""
        # CSV and the other forms have no common way, and all of them end here.
        return f": CSV has it as in training, such as 1{notation.group}234,5, and JSON as 1234.5"

    def _figure(self, value: float) -> str:
        notation = self.feature.date
        is_date = notation is not None and dates.FIRST <= value <= dates.LAST
        return dates.written(value, notation) if notation and is_date else figure(value)


def fault_of(feature: str, row: int, fault: str) -> InvalidInput:
    """The error for a value of the feature with this name."""
    return InvalidInput(f"feature {quoted(feature)} of row {row} {fault}", row=row, feature=feature[:200])


def kind(value: object) -> str:
    """A clause that says what kind of JSON value this is."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"text ({quoted(value)})"
    if isinstance(value, float):
        return f"a number ({figure(value)})"
    return "an object" if isinstance(value, Mapping) else "an array"


def figure(value: float) -> str:
    """A number as a person would write it: 5 for 5.0."""
    return repr(value).removesuffix(".0")
