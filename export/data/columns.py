"""The kind of a column in a file: numbers, text, or useless for learning."""

import re

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types

from unpickled.export.errors import DataError

MAX_CATEGORIES = 1000

_DATE = re.compile(r"\d{4}-\d{1,2}-\d{1,2}([T ].*)?|\d{1,2}[./-]\d{1,2}[./-]\d{4}([T ].*)?")
# 1,234.50 and 12,5 and $5 and 12.5% are numbers to people, and text to pandas.
_DISGUISED = re.compile(r"[-+]?[$€£]? ?(\d{1,3}([,']\d{3})+|\d+)([.,]\d+)? ?[%$€£]?")
_DATES = ("date", "datetime", "datetime64", "time", "timedelta", "timedelta64", "period")
_NUMBERS = ("boolean", "decimal", "integer", "floating", "mixed-integer-float")


def typed(column: pd.Series) -> pd.Series:
    """A column as float64, or as text in dtype object; missing values as NaN. Raises DataError."""
    column = _plain(column)
    if holds_numbers(column):
        return _numbers(column)
    kind = types.infer_dtype(column, skipna=True)
    if kind not in ("string", "empty"):
        raise DataError(f"Column {column.name!r} holds {kind} values: make it all numbers or all text.")
    # pandas' own string types compare missing values as NA, which scikit-learn does not expect.
    return column.astype(object).where(column.notna(), np.nan)


def useless(column: pd.Series) -> str | None:
    """The reason why nothing can be learned from a column, or None. Raises DataError for mixed content."""
    column = _plain(column.dropna())
    if column.empty:
        return "it is empty"
    if re.fullmatch(r"Unnamed: \d+", str(column.name)):  # pandas' name for a column without one
        return "it has no name"
    if _is_date(column):
        return "it holds dates; turn them into numbers first, such as a year, a month or days since"
    if isinstance(column.iloc[0], (list, dict, bytes, np.ndarray)):
        return "its cells hold lists, records or bytes, not numbers or text"
    distinct = column.nunique()
    if distinct == 1:
        return f"it holds nothing but {column.iloc[0]!s:.40}"
    if holds_numbers(column):
        return "it numbers the rows" if _counts_rows(typed(column).to_numpy()) else None
    disguised = _disguised(column)
    if disguised is not None:
        return (
            f"its texts are numbers in disguise, such as {disguised!r}; write them as plain numbers, such as "
            "1234.5, without thousands separators, decimal commas, % or currency signs"
        )
    _check_text(column)
    return _too_many(distinct, len(column))


def holds_numbers(column: pd.Series) -> bool:
    """Whether a column holds numbers or truth values, whatever its dtype is."""
    kind: str = types.infer_dtype(column, skipna=True)
    return kind in _NUMBERS or (kind == "empty" and bool(types.is_numeric_dtype(column.dtype)))


def holds_truth(column: pd.Series) -> bool:
    """Whether a column holds nothing but true and false."""
    return bool(types.infer_dtype(_plain(column), skipna=True) == "boolean")


def _plain(column: pd.Series) -> pd.Series:
    """A categorical column in the type of its categories; any other column unchanged."""
    return column.astype(object).infer_objects() if isinstance(column.dtype, pd.CategoricalDtype) else column


def _numbers(column: pd.Series) -> pd.Series:
    numbers = pd.Series(
        column.to_numpy(dtype=np.float64, na_value=np.nan), index=column.index, name=column.name
    )
    infinite = int(np.isinf(numbers).sum())
    if infinite:
        raise DataError(
            f"Column {column.name!r} holds an infinite number in {infinite:,} of {len(numbers):,} rows: "
            "leave those cells empty (missing) or put a finite number."
        )
    return numbers


def _is_date(column: pd.Series) -> bool:
    kind = types.infer_dtype(column, skipna=True)
    return kind in _DATES or (
        kind == "string" and all(_DATE.fullmatch(text.strip()) for text in column.unique())
    )


def _counts_rows(numbers: npt.NDArray[np.float64]) -> bool:
    """Whether these are whole numbers, all different, with hardly a gap between them."""
    distinct_integers = np.array_equal(numbers, np.round(numbers)) and len(np.unique(numbers)) == len(numbers)
    return bool(len(numbers) >= 20 and distinct_integers and np.ptp(numbers) < 1.1 * len(numbers))


def _disguised(column: pd.Series) -> str | None:
    """The first text that only people read as a number, if every text is a number or such a text."""
    texts = pd.Series(column.unique(), dtype=object)
    if not all(isinstance(text, str) and _DISGUISED.fullmatch(text.strip()) for text in texts):
        return None
    not_numbers = texts[pd.to_numeric(texts, errors="coerce").isna()]
    return str(not_numbers.iloc[0]) if len(not_numbers) else None


def _check_text(column: pd.Series) -> None:
    """Raise DataError for numbers with a few texts among them (``?``, ``n/a``).

    Read as text, every number would be a category of its own.
    """
    texts = pd.Series(column.unique(), dtype=object)
    not_numbers = texts[pd.to_numeric(texts, errors="coerce").isna()]
    if 0 < len(not_numbers) <= len(texts) * 0.1 or (len(texts) > 20 and 0 < len(not_numbers) <= 3):
        raise DataError(
            f"Column {column.name!r} holds numbers, and also text such as {not_numbers.iloc[0]!r}: "
            "leave cells without a number empty."
        )


def _too_many(distinct: int, rows: int) -> str | None:
    if distinct > 20 and distinct * 2 > rows:
        return f"its texts hardly repeat ({distinct:,} different in {rows:,} rows), so it identifies rows"
    if distinct > MAX_CATEGORIES:
        return f"it has {distinct:,} different texts, more than {MAX_CATEGORIES:,}; group them first"
    return None
