"""The target of a table: the column to predict, as labels or as numbers."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types

from unpickled.export.data import columns
from unpickled.export.data.columns import Choices, Column
from unpickled.export.data.source import Source
from unpickled.export.errors import DataError
from unpickled.server.quote import hint, listed, quoted

TaskName = Literal["classification", "regression"]

MIN_CLASS_ROWS, MIN_ROWS = 5, 10
# Whole numbers are classes where no more of them differ than that, with MIN_CLASS_ROWS rows each on average.
MOST_CLASSES = 20
# The square of a larger number may be infinite, and with it the error.
LARGEST = 1e150


def column(source: Source, name: str, choices: Choices) -> Column:
    """The column to predict. Raises DataError if there is none, or if it is empty."""
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


def chosen(target: Column, task: TaskName | None) -> tuple[TaskName, TaskName | None, str]:
    """The ``task`` that the user has named, or the one that the target asks for with a note that says why.

    Between the two stands the alternative. Raises DataError where the target suits no task, or not the one
    that was named.
    """
    name, values = target.reading.name, target.values.dropna()
    _check_kind(target)
    if not _holds_numbers(target):
        if task == "regression":
            raise DataError(_no_numbers(target))
        return "classification", None, ""
    numbers = values.to_numpy(dtype=np.float64)
    columns.check_finite(name, numbers)
    if task is not None:
        return task, alternative(target, task), ""
    distinct = len(np.unique(numbers))
    if _is_whole(numbers) and distinct <= MOST_CLASSES and distinct * MIN_CLASS_ROWS <= len(numbers):
        counted = f"{quoted(name)} has {distinct:,} different whole numbers"
        note = f"{counted}: a class is predicted (--task regression for a number)."
        return "classification", alternative(target, "classification"), note
    otherwise = alternative(target, "regression")
    remedy = f" (--task {otherwise} for classes)" if otherwise else ""
    note = f"{quoted(name)} has {distinct:,} different numbers: a number is predicted{remedy}."
    return "regression", otherwise, note


def alternative(target: Column, task: TaskName) -> TaskName | None:
    """The other task than this one, if the target would do for it too."""
    values = target.values.dropna()
    try:
        if task == "regression":
            check_classes(labels(values), target.reading.name, None)
            return "classification"
        if not _holds_numbers(target):
            return None
        numbers(values)
        return "regression"
    except DataError:
        return None


def _holds_numbers(target: Column) -> bool:
    """Whether its values are numbers, which truth values are not."""
    return columns.holds_numbers(target.values.dropna()) and target.reading.kind != "boolean"


def labels(values: pd.Series) -> npt.NDArray[Any]:
    """Classes (rows,) as int64 or text; whole floats count as integers, true and false as 1 and 0."""
    if not columns.holds_numbers(values):
        texts = [str(label) for label in values]
        # NumPy's texts end before a NUL: two classes would become one.
        if any(text.endswith("\0") for text in texts):
            raise DataError(f"A class of the target {values.name!r} ends with a NUL character: remove it.")
        return np.asarray(texts, dtype=np.str_)
    numbers = values.to_numpy(dtype=np.float64)
    if not _is_whole(numbers):
        raise DataError(
            f"The target {values.name!r} holds numbers that are not whole, which are no classes: say --task "
            "regression to predict a number, cut it into classes first, or name another column."
        )
    if np.abs(numbers).max() >= 2**53:
        raise DataError(
            f"The target {values.name!r} holds numbers of more than 15 digits, which would not all stay "
            f"apart: say --text {values.name} if they are codes, or name another column."
        )
    whole: npt.NDArray[Any] = numbers.astype(np.int64)
    return whole


def numbers(values: pd.Series) -> npt.NDArray[np.float64]:
    """Numbers to predict (rows,). Raises DataError if nothing can be learned of them."""
    truth: npt.NDArray[np.float64] = values.to_numpy(dtype=np.float64)
    if len(truth) < MIN_ROWS:
        raise DataError(
            f"The target {values.name!r} has a number in {rows(len(truth))}, and at least {MIN_ROWS} are "
            "needed: add rows."
        )
    if (truth == truth[0]).all():
        raise DataError(
            f"The target {values.name!r} holds nothing but {truth[0]:g}: there is nothing to predict."
        )
    if np.abs(truth).max() > LARGEST:
        raise DataError(
            f"The target {values.name!r} holds numbers up to {np.abs(truth).max():g}, whose squares are "
            "infinite: give it in a larger unit, or correct them."
        )
    return truth


def names(target: Column, labelled: npt.NDArray[np.bool_]) -> tuple[str, ...]:
    """The names of the classes, in the order of the sorted labels."""
    distinct = np.unique(labels(target.values[labelled]))
    if target.reading.kind == "boolean":
        return tuple("true" if label else "false" for label in distinct)
    return tuple(str(label) for label in distinct)


def check_classes(labels: npt.NDArray[Any], target: str, otherwise: TaskName | None) -> None:
    """Raise DataError if there are too few or too many classes, or one with too few rows.

    ``otherwise`` is the alternative that the error offers.
    """
    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) < 2:
        raise DataError(
            f"The target {target!r} has one class only, {classes[0]}: there is nothing to tell apart."
        )
    if len(classes) > MOST_CLASSES and len(labels) < 10 * len(classes):
        text = labels.dtype.kind == "U"
        kind = "an identifier" if text else "a number to predict"
        remedy = f"Say --task {otherwise}, name another column" if otherwise else "Name another column"
        raise DataError(
            f"The target {target!r} has {len(classes):,} different values in {len(labels):,} rows: that is "
            f"{kind}, not a class. {remedy}, or group its values into classes first."
        )
    if counts.min() < MIN_CLASS_ROWS:
        scarce = _scarce(target, str(classes[counts.argmin()]), int(counts.min()))
        number = f" If it is a number to predict, say --task {otherwise}." if otherwise else ""
        raise DataError(f"{scarce}{number}")


def of_sample(source: Source, name: str, classes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The labels of a sample in the type of the pipeline's classes. Raises DataError if one is missing.

    Where the classes are text, the cells are read as text, and no word but theirs stands for a missing one.
    """
    if types.is_numeric_dtype(classes.dtype) or types.is_bool_dtype(classes.dtype):
        choices = Choices()
    else:
        texts = frozenset(str(label) for label in classes)
        choices = Choices(text=frozenset({name}), categories={name: texts})
    values = column(source, name, choices).values
    if values.isna().any():
        raise DataError(f"{name!r} is missing in some rows: leave those rows out of the sample.")
    if columns.holds_numbers(values) and not _is_whole(values.to_numpy(dtype=np.float64)):
        raise DataError(
            f"The target {name!r} holds numbers that are not whole, but the pipeline answers with classes: "
            "name the column of these."
        )
    return labels(values)


def numbers_of_sample(source: Source, names: Sequence[str]) -> pd.DataFrame:
    """The true numbers of a sample, a column for each target. Raises DataError if one is missing or none."""
    truth = {}
    for name in names:
        target = column(source, name, Choices(kinds={name: "number"}))
        _check_kind(target)
        if not columns.holds_numbers(target.values):
            raise DataError(f"The target {name!r} holds no numbers, but the pipeline predicts some.")
        if target.values.isna().any():
            raise DataError(f"{name!r} is missing in some rows: leave those rows out of the sample.")
        truth[name] = target.values.astype(np.float64)
        columns.check_finite(name, truth[name].to_numpy())
    return pd.DataFrame(truth)


def named(source: Source, text: str) -> list[str]:
    """The columns that a text names, separated by commas; one column whose name holds commas, if there is."""
    names = [text] if text in source.columns else [name.strip() for name in text.split(",")]
    for name in names:
        check(source, name)
    return names


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


def _check_kind(target: Column) -> None:
    """Raise DataError for a target of dates or records, and for numbers with a few texts among them."""
    name, kind = target.reading.name, target.reading.kind
    if kind == "date":
        raise DataError(
            f"The target {name!r} holds dates, which no model here predicts: name another column, or put "
            "numbers or classes in their place, such as the days since a day, or the names of months."
        )
    if kind == "nested":
        raise DataError(
            f"The cells of the target {name!r} hold lists, records or bytes: name a column of classes or "
            "numbers."
        )
    texts = target.values.dropna() if kind == "category" else target.values[:0]
    if texts.nunique() > MOST_CLASSES:
        columns.check_text(texts)


def _no_numbers(target: Column) -> str:
    cells = target.values.dropna()
    example = str(cells.iloc[0]).lower() if target.reading.kind == "boolean" else cells.iloc[0]
    otherwise = ", or say --task classification to tell classes apart"
    return (
        f"The target {target.reading.name!r} holds {quoted(str(example))}, which is no number: name a column "
        f"of numbers{otherwise if alternative(target, 'regression') else ''}."
    )


def _is_whole(numbers: npt.NDArray[np.float64]) -> bool:
    return bool(np.array_equal(numbers, np.round(numbers)))


def _suggestion(name: str, source: Source) -> str:
    suggestion = hint(name, source.columns).strip()
    return f": {suggestion}" if suggestion else f"; there are {listed(list(source.columns), 12)}."
