"""The target of a table: the column of classes, as labels."""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types

from unpickled.export.data import columns
from unpickled.export.data.columns import Choices, Column
from unpickled.export.data.source import Source
from unpickled.export.errors import DataError
from unpickled.server.quote import hint, listed, quoted

MIN_CLASS_ROWS = 5


def column(source: Source, name: str, choices: Choices) -> Column:
    """The column of classes. Raises DataError if there is none, or if it is empty."""
    check(source, name)
    target = columns.column(name, source.columns[name], choices, source.comma)
    if target.values.isna().all():
        raise DataError(f"The target {name!r} is empty in every row.")
    return replace(target, reading=replace(target.reading, role="target"))


def check(source: Source, name: str) -> None:
    """Raise DataError if the table has no such column."""
    if name not in source.columns and len(source.columns) == 1:
        [only] = source.columns
        raise DataError(
            f"There is no column {name!r} in {source.path}, whose only column is {quoted(only)}: "
            "separate its cells by commas, semicolons, tabs or vertical bars."
        )
    if name not in source.columns:
        raise DataError(f"There is no column {name!r}{_suggestion(name, source)}")


def labels(values: pd.Series) -> npt.NDArray[Any]:
    """Classes (rows,) as int64 or text; whole floats count as integers, true and false as 1 and 0."""
    if not columns.holds_numbers(values):
        texts = [str(label) for label in values]
        # NumPy's texts end before a NUL: two classes would become one.
        if any(text.endswith("\0") for text in texts):
            raise DataError(f"A class of the target {values.name!r} ends with a NUL character: remove it.")
        return np.asarray(texts, dtype=np.str_)
    numbers = values.to_numpy(dtype=np.float64)
    if not np.array_equal(numbers, np.round(numbers)) or np.abs(numbers).max() >= 2**53:
        raise DataError(
            f"The target {values.name!r} holds numbers that are not whole, or of more than 15 digits: this "
            "trains classifiers, not regressions. Cut it into classes first, or name another column."
        )
    whole: npt.NDArray[Any] = numbers.astype(np.int64)
    return whole


def names(target: Column, labelled: npt.NDArray[np.bool_]) -> tuple[str, ...]:
    """The names of the classes, in the order of the sorted labels."""
    distinct = np.unique(labels(target.values[labelled]))
    if target.reading.kind == "boolean":
        return tuple("true" if label else "false" for label in distinct)
    return tuple(str(label) for label in distinct)


def check_classes(labels: npt.NDArray[Any], target: str) -> None:
    """Raise DataError if there are too few or too many classes, or one with too few rows."""
    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) < 2:
        raise DataError(
            f"The target {target!r} has one class only, {classes[0]}: there is nothing to tell apart."
        )
    if len(classes) > 20 and len(labels) < 10 * len(classes):
        kind = "an identifier" if labels.dtype.kind == "U" else "a number to predict"
        raise DataError(
            f"The target {target!r} has {len(classes):,} different values in {len(labels):,} rows: that is "
            f"{kind}, not a class. Name another column, or group its values into classes first."
        )
    if counts.min() < MIN_CLASS_ROWS:
        raise DataError(_scarce(target, str(classes[counts.argmin()]), int(counts.min())))


def of_sample(source: Source, name: str, classes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The labels of a sample in the type of the pipeline's classes. Raises DataError if one is missing.

    Where the classes are text, the cells are read as text, and no word but theirs stands for a missing one.
    """
    if types.is_numeric_dtype(classes.dtype) or types.is_bool_dtype(classes.dtype):
        choices = Choices()
    else:
        known = frozenset(str(label) for label in classes)
        choices = Choices(text=frozenset({name}), categories={name: known})
    values = column(source, name, choices).values
    if values.isna().any():
        raise DataError(f"{name!r} is missing in some rows: leave those rows out of the sample.")
    return labels(values)


def rows(count: int) -> str:
    """A number of rows in words."""
    return f"{count:,} row" if count == 1 else f"{count:,} rows"


def _scarce(target: str, label: str, count: int) -> str:
    word = label.strip().lower() in columns.WORDS
    advice = f", or say --missing {label} if it stands for a missing class" if word else ""
    return (
        f"Class {label} of {target!r} has {rows(count)}, and at least {MIN_CLASS_ROWS} are needed: add rows "
        f"of it, merge it with another class, or remove it{advice}."
    )


def _suggestion(name: str, source: Source) -> str:
    suggestion = hint(name, source.columns).strip()
    return f": {suggestion}" if suggestion else f"; there are {listed(list(source.columns), 12)}."
