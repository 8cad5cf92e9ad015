"""The columns of a table: each taken for something, with its values as a pipeline is fitted on them."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from msgspec.structs import replace as replace_notation
from pandas.api import types

from unpickled.export.data import dates
from unpickled.export.data.notation import notation_of
from unpickled.export.data.texts import Texts
from unpickled.export.errors import DataError
from unpickled.server.artifact.manifest import Notation
from unpickled.server.model.cells import PLAIN, TRUTH, number
from unpickled.server.model.dates import written
from unpickled.server.quote import quoted

Kind = Literal["number", "boolean", "category", "date", "nothing", "nested"]

# Texts that stand for a missing value where they stand among numbers; in any spelling of their letters.
WORDS = frozenset(
    {"na", "n/a", "n.a.", "n.a", "#n/a", "#na", "<na>", "nan", "-nan", "null", "none", "nil", "nat"}
    | {"?", "-", "--", "---", ".", "..", "*", "missing", "unknown", "#null!", "#value!", "#div/0!", "#ref!"}
)

# A column of more texts than MANY has those of fewer rows than RARE as one category.
MANY, RARE = 100, 10

_DATES = ("date", "datetime", "datetime64", "time", "timedelta", "timedelta64", "period")
_UNREAD = "it holds dates; --dates expand makes year, month, weekday, hour and days since 1970 of them"
_NUMBERS = ("decimal", "integer", "floating", "mixed-integer-float")


@dataclass(frozen=True, slots=True)
class Reading:
    """The kind that a column was taken for, and what goes with it.

    Attributes:
        name: The column.
        kind: The kind of its cells.
        missing: How many cells hold nothing.
        words: The texts among them that stand for a missing value, and how many cells have each.
        missing_words: The texts that stand for a missing value in requests too, the empty one among them.
        notation: How its cells write numbers, where that is not as 1234.5.
        remark: A clause about it that a reader of the table may not expect.
        role: Its part in the training: "feature", "target", or why it is of no use, in one word.
        reason: Why nothing can be learned from it, where that is so.
    """

    name: str
    kind: Kind
    missing: int = 0
    words: Mapping[str, int] = field(default_factory=dict)
    notation: Notation | None = None
    remark: str = ""
    role: str = "feature"
    reason: str = ""
    missing_words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Choices:
    """The user's words, and a pipeline's, about the columns of a table.

    ``missing`` are texts that stand for a missing value in every column, ``text`` the columns that hold text
    whatever it looks like, ``kinds`` what columns hold of which that is known. ``categories`` are the texts
    that a column is known to have: none of them stands for a missing value. ``expand``: dates are read.
    """

    missing: frozenset[str] = frozenset()
    text: frozenset[str] = frozenset()
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    categories: Mapping[str, frozenset[str]] = field(default_factory=dict)
    expand: bool = False

    def reads_dates(self, name: str) -> bool:
        """Whether the dates of a column are read as numbers."""
        return self.expand or self.kinds.get(name) == "date"


@dataclass(frozen=True, slots=True)
class Column:
    """A column and what it was taken for.

    ``values`` (rows,) are float64 with NaN for a gap, bool where none is missing, or text in dtype object
    with NaN for a gap. Dates that are read are the seconds since 1970.
    """

    reading: Reading
    values: pd.Series


def column(name: str, cells: Texts | pd.Series, choices: Choices, comma: bool = False) -> Column:
    """A column of a file, as what it is taken for. Raises DataError for cells that cannot be one of it."""
    if isinstance(cells, Texts):
        return _of_texts(name, cells, choices, comma)
    return _of_series(cells.rename(name), choices)


def _of_texts(name: str, texts: Texts, choices: Choices, comma: bool) -> Column:
    known = choices.categories.get(name)
    gaps = {text for text in texts.distinct if not text.strip() or text.strip() in choices.missing}
    # A pipeline may know even a blank text as a category, unless the user says that it is missing.
    gaps -= {text for text in known or () if text.strip() not in choices.missing}
    filled = [text for text in texts.distinct if text not in gaps]
    words = {text: None for text in filled if text.strip().lower() in WORDS}
    others = [text for text in filled if text not in words]
    kind, notation, remark = _kind(name, others, choices, comma)
    if not filled:
        kind = choices.kinds.get(name, "nothing")
    if kind == "category":
        words = {} if known is None else {word: None for word in words if word not in known}
    blank = gaps.union(words)
    counts = texts.count(text for text in texts.distinct if text in blank)
    reading = Reading(
        name=name,
        kind=kind,
        missing=sum(counts.values()),
        words={text: count for text, count in counts.items() if text.strip()},
        notation=None if notation == PLAIN else notation,
        remark=remark,
        missing_words=tuple(dict.fromkeys(["", *(word.strip() for word in words), *sorted(choices.missing)])),
    )
    values = _values(reading, texts, blank)
    # With its dtype, or pandas would make a string type of its own of the texts.
    return Column(reading, pd.Series(values, dtype=values.dtype, name=name))


def _kind(
    name: str, texts: Sequence[str], choices: Choices, comma: bool
) -> tuple[Kind, Notation | None, str]:
    """The kind of these texts, the notation of their numbers, and a remark."""
    known = "category" if name in choices.text else choices.kinds.get(name)
    if not texts or known == "category":
        return "category", None, ""
    if all(text.strip() in TRUTH for text in texts):
        return "boolean", None, ""
    padded = next((text for text in texts if re.fullmatch(r"\s*0[0-9]+\s*", text)), None)
    if padded and known is None and all(text.strip().isdecimal() for text in texts):
        return "category", None, f"codes such as {padded.strip()} stay text"
    notation, remark = notation_of(texts, comma)
    if notation is not None:
        return "number", notation, remark
    if known not in (None, "date"):
        raise DataError(_not_numbers(name, texts))
    if known == "date" or dates.are_meant(texts):
        return _kind_of_dates(name, texts, choices)
    return "category", None, ""


def _kind_of_dates(name: str, texts: Sequence[str], choices: Choices) -> tuple[Kind, Notation | None, str]:
    """As ``_kind``, of texts that look like dates; if they cannot be read, the remark is the reason."""
    if not choices.reads_dates(name):
        return "date", None, ""
    notation, remark = dates.notation_of(texts)
    if notation is None and choices.kinds.get(name) == "date":
        raise DataError(f"The pipeline was fitted on dates in column {name!r}, but {remark}.")
    return "date", notation, remark


def _not_numbers(name: str, texts: Sequence[str]) -> str:
    text = next(text for text in texts if notation_of([text])[0] is None)
    return (
        f"Column {name!r} holds text such as {quoted(text)}, but the pipeline was fitted on numbers there: "
        f"correct the sample, or say --missing {quoted(text)} if it stands for a missing value."
    )


def _values(reading: Reading, texts: Texts, blank: set[str]) -> npt.NDArray[Any]:
    if reading.kind in ("number", "boolean") or reading.notation is not None:
        read: Callable[[str], float] = (
            (lambda text: TRUTH[text.strip()])
            if reading.kind == "boolean"
            else (lambda text: number(text, reading.notation))
        )
        numbers = [np.nan if text in blank else read(text) for text in texts.distinct]
        values = texts.mapped(np.array(numbers, dtype=np.float64))
        return values.astype(bool) if reading.kind == "boolean" and not reading.missing else values
    cells = [np.nan if text in blank else text for text in texts.distinct]
    return texts.mapped(np.array(cells, dtype=object))


def _of_series(series: pd.Series, choices: Choices) -> Column:
    plain = _plain(series)
    plain, words = _without(plain, choices.missing)
    kind = _kind_of_series(plain)
    name = str(series.name)
    is_text = name in choices.text or choices.kinds.get(name) == "category"
    if kind == "date" and is_text and types.infer_dtype(plain, skipna=True) == "string":
        kind = "category"
    if kind == "date" and choices.reads_dates(name):
        return _of_dates(name, plain, words, choices)
    if kind == "category" and choices.kinds.get(name) in ("number", "boolean"):
        raise DataError(_not_numbers(name, [str(text) for text in plain.dropna().unique()]))
    if kind in ("number", "boolean") and (choices.kinds.get(name) == "category" or name in choices.text):
        raise DataError(
            f"Column {name!r} holds numbers in the file's own type, but text belongs there: "
            f"save it as text, with the digits that the categories have."
        )
    missing_words = tuple(sorted(choices.missing)) if kind == "category" else ()
    reading = Reading(
        name=name, kind=kind, missing=int(plain.isna().sum()), words=words, missing_words=missing_words
    )
    return Column(reading, _typed(plain, kind))


def _of_dates(name: str, series: pd.Series, words: Mapping[str, int], choices: Choices) -> Column:
    """Dates of the file's own type, read as they are written in ISO 8601."""
    texts = dates.texts_of(series)
    if texts is None:
        remark = "it holds times of day, durations or periods, which are no dates"
        reading = Reading(name=name, kind="date", missing=int(series.isna().sum()), remark=remark)
        return Column(reading, _typed(series, "date"))
    column = _of_texts(name, texts, choices, False)
    return replace(column, reading=replace(column.reading, words={**words, **column.reading.words}))


def _kind_of_series(column: pd.Series) -> Kind:
    filled = column.dropna()
    if filled.empty:
        return "nothing"
    if isinstance(filled.iloc[0], (list, dict, bytes, np.ndarray)):
        return "nested"
    inferred = types.infer_dtype(column, skipna=True)
    if inferred == "boolean":
        return "boolean"
    if inferred in _NUMBERS:
        return "number"
    if inferred in _DATES:
        return "date"
    if inferred == "string":
        return "date" if dates.are_meant(filled.unique()) else "category"
    raise DataError(f"Column {column.name!r} holds {inferred} values: make it all numbers or all text.")


def _typed(column: pd.Series, kind: Kind) -> pd.Series:
    if kind == "boolean" and not column.isna().any():
        return column.astype(bool)
    if kind in ("number", "boolean"):
        numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
        return pd.Series(numbers, index=column.index, name=column.name)
    # pandas' own string types compare missing values as NA, which scikit-learn does not expect.
    return column.astype(object).where(column.notna(), np.nan)


def _without(column: pd.Series, missing: frozenset[str]) -> tuple[pd.Series, dict[str, int]]:
    """The column without the texts that stand for a missing value, and how many cells had each."""
    if not missing or types.is_numeric_dtype(column.dtype):
        return column, {}
    blank = column.map(lambda cell: isinstance(cell, str) and cell.strip() in missing).astype(bool)
    counts = column[blank].value_counts().to_dict()
    return column.mask(blank), {str(text): int(count) for text, count in counts.items()}


def _plain(column: pd.Series) -> pd.Series:
    """A categorical column in the type of its categories; any other column unchanged."""
    return column.astype(object).infer_objects() if isinstance(column.dtype, pd.CategoricalDtype) else column


def spelled(column: Column, notation: Notation | None, words: tuple[str, ...]) -> Column:
    """The column with the notation and the words for a missing value that requests have for it.

    Its own cells may have been written otherwise: dates with the year first.
    """
    read = column.reading.notation
    if notation is not None and read is not None and read.date:
        notation = replace_notation(read, date=notation.date)
    missing_words = tuple(dict.fromkeys((*words, *column.reading.missing_words)))
    return replace(column, reading=replace(column.reading, notation=notation, missing_words=missing_words))


def holds_numbers(column: pd.Series) -> bool:
    """Whether the values of a Column are numbers or truth values."""
    return bool(types.is_numeric_dtype(column.dtype) or types.is_bool_dtype(column.dtype))


def judged(column: Column, nameless: bool = False) -> Column:
    """The column with its role, and the reason why nothing can be learned from it, if so.

    Raises DataError for numbers that are infinite, and for numbers with texts among them.
    """
    role, reason = _role(column, nameless)
    reading = replace(column.reading, role=role, reason=reason)
    if role == "date":
        reading = replace(reading, remark="")
    distinct = column.values.nunique() if (reading.kind, role) == ("category", "feature") else 0
    if distinct > MANY:
        remark = f"{distinct:,} texts; those of fewer than {RARE} rows count as one"
        reading = replace(reading, remark="; ".join(filter(None, (reading.remark, remark))))
    return replace(column, reading=reading)


def _role(column: Column, nameless: bool) -> tuple[str, str]:
    filled, kind = column.values.dropna(), column.reading.kind
    if filled.empty:
        return "constant", "it is empty"
    if nameless:
        return "identifier", "it has no name"
    if kind == "date":
        return _role_of_dates(column.reading, filled)
    if kind == "nested":
        return "nested", "its cells hold lists, records or bytes, not numbers or text"
    distinct = filled.nunique()
    if distinct == 1:
        return "constant", f"it holds nothing but {_shown(filled.iloc[0]):.40}"
    if kind == "category":
        check_text(filled)
        return _role_of_text(filled, distinct)
    numbers = filled.to_numpy(dtype=np.float64)
    check_finite(column.reading.name, numbers)
    return ("identifier", "it numbers the rows") if _counts_rows(numbers) else ("feature", "")


def _role_of_dates(reading: Reading, filled: pd.Series) -> tuple[str, str]:
    if reading.notation is None:
        return "date", reading.remark or _UNREAD
    if filled.nunique() == 1:
        return "constant", f"it holds nothing but {written(filled.iloc[0], reading.notation)}"
    return "feature", ""


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _role_of_text(texts: pd.Series, distinct: int) -> tuple[str, str]:
    if distinct <= 20 or distinct * 2 <= len(texts):
        return "feature", ""
    reason = f"its texts hardly repeat ({distinct:,} different in {len(texts):,} rows), so it identifies rows"
    # Digits beside a unit, a month's name or a mark that is not read.
    digits = texts.str.count("[0-9]") / texts.str.len()
    if (digits >= 0.25).mean() > 0.9 and not _are_codes(texts):
        reason += "; numbers and dates are read where they are written like 1234.5 and 2024-01-31"
    return "identifier", reason


# Digits alone, hexadecimal ones, and those right behind letters.
_CODE = r"[0-9]+|[0-9a-fA-F-]{16,}|(?P<prefix>[A-Za-z]+)[-_#/]?[0-9][\w/-]*"


def _are_codes(texts: pd.Series) -> bool:
    """Whether these are codes that are no numbers, such as 02408 or, all with the same letters, ID00001."""
    stripped = texts.str.strip()
    prefixes = stripped.str.extract(f"^(?:{_CODE})$", expand=True)["prefix"]
    return bool(stripped.str.fullmatch(_CODE).all() and prefixes.nunique() <= 1)


def check_finite(name: str, numbers: npt.NDArray[np.float64]) -> None:
    infinite = int(np.isinf(numbers).sum())
    if infinite:
        raise DataError(
            f"Column {name!r} holds an infinite number in {infinite:,} of {len(numbers):,} rows: "
            "leave those cells empty (missing) or put a finite number."
        )


def _counts_rows(numbers: npt.NDArray[np.float64]) -> bool:
    """Whether these are whole numbers, all different, with hardly a gap between them."""
    distinct_integers = np.array_equal(numbers, np.round(numbers)) and len(np.unique(numbers)) == len(numbers)
    return bool(len(numbers) >= 20 and distinct_integers and np.ptp(numbers) < 1.1 * len(numbers))


def check_text(column: pd.Series) -> None:
    """Raise DataError for numbers with a few texts among them that are no words for a missing value.

    Read as text, every number would be a category of its own.
    """
    texts = [str(text) for text in column.unique()]
    others = [text for text in texts if text.strip().lower() not in WORDS and notation_of([text])[0] is None]
    if 0 < len(others) <= len(texts) * 0.1 or (len(texts) > 20 and 0 < len(others) <= 3):
        raise DataError(
            f"Column {column.name!r} holds numbers, and also text such as {quoted(others[0])}: leave cells "
            f"without a number empty, say --missing {quoted(others[0])} if that is what it means, or --text "
            f"{quoted(column.name)} if the whole column is text."
        )
