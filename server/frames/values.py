"""Values of Python programs -> the values that a request in JSON has: numbers, text, truth values, null.

Scalars of NumPy, decimals, enumerations of text, dates, and the marks of pandas for a missing value have one.
"""

from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal
from math import inf
from typing import Any

import numpy as np

from unpickled.server.artifact.manifest import Feature
from unpickled.server.model.rule import fault_of

# The types whose values mean the same in JSON.
PLAIN = frozenset({float, str, bool, type(None)})
# The names of the types by which pandas and NumPy mark a missing value: no library need be imported.
_MISSING = frozenset({"NAType", "NaTType", "MaskedConstant"})
_REMEDY = "give a number, text, true or false, a date, or None"


def plain(value: Any, feature: Feature, row: int) -> Any:
    """A value of a feature as JSON has it; InvalidInput where it has no such meaning.

    A date becomes text in ISO 8601, to the second, for a feature of dates alone: text has many spellings.

    Example:
        >>> from unpickled.server.artifact.manifest import Feature
        >>> plain(np.int64(5), Feature(name="age", kind="number", missing=True), 0)
        5.0
    """
    kind = type(value)
    if kind in PLAIN:
        return value
    if kind is np.ndarray and value.ndim == 0:
        return plain(value[()], feature, row)
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, str):
        # str() of an enumeration would be the name of its member.
        return str.__str__(value)
    if isinstance(value, int | np.integer | float | np.floating | Decimal):
        return _number(value)
    if kind.__name__ in _MISSING:
        return None
    if isinstance(value, date | np.datetime64):
        return _date(value, feature, row)
    raise fault_of(feature.name, row, f"is of the type {kind.__name__}, which is not read: {_REMEDY}")


def plain_column(values: Iterable[Any], feature: Feature, first: int) -> list[Any]:
    """The values of one feature, one per row; ``first`` is the number of the first row."""
    return [plain(value, feature, row) for row, value in enumerate(values, first)]


def refuse_date(kind: str, feature: Feature, row: int) -> None:
    """InvalidInput unless the feature is one of dates."""
    if feature.date is None:
        noun = "a category (text)" if feature.kind == "category" else "a number"
        remedy = "give it as in the training table"
        raise fault_of(feature.name, row, f"is of the type {kind}, but {noun} belongs there: {remedy}")


def _number(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        # Decimals and integers of hundreds of digits, as JSON reads them.
        return inf if value > 0 else -inf
    except ValueError:  # the one decimal that no arithmetic takes, a signalling NaN
        return float("nan")


def _date(value: Any, feature: Feature, row: int) -> str | None:
    if isinstance(value, np.datetime64):
        if np.isnat(value):
            return None
        refuse_date("datetime64", feature, row)
        return str(np.datetime_as_string(value.astype("M8[s]")))
    refuse_date(type(value).__name__, feature, row)
    if not isinstance(value, datetime):
        return value.isoformat()  # type: ignore[no-any-return]
    return value.isoformat(timespec="seconds")
