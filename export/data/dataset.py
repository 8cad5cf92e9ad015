"""Tables to train on: scikit-learn's bundled sets, and the user's own."""

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine

from unpickled.export.data import columns, files, houses, target
from unpickled.export.data.columns import Choices, Column, Reading
from unpickled.export.data.source import Source
from unpickled.export.data.target import TaskName
from unpickled.export.errors import DataError
from unpickled.server.quote import hint, listed


@dataclass(frozen=True, slots=True)
class Dataset:
    """Rows to train on.

    ``features`` (rows, columns) has float64 columns, of truth values and dates too (seconds since 1970), and
    text columns (dtype object); NaN stands for a missing value in both. ``labels`` (rows,) is int64 or text,
    or for a regression the float64 numbers to predict; none is missing. ``class_names`` are in the order of
    the sorted labels; a regression has none. ``readings`` say what each column of
    the file was taken for, those that were left out and the target among them. ``notes`` are sentences about
    how the rows were read. ``alternative`` is the other task that the target would do for, if there is one.
    """

    name: str
    features: pd.DataFrame
    labels: npt.NDArray[Any]
    target: str
    class_names: tuple[str, ...]
    readings: tuple[Reading, ...] = ()
    notes: tuple[str, ...] = ()
    task: TaskName = "classification"
    alternative: TaskName | None = None

    @property
    def dates(self) -> dict[str, bool]:
        """The columns of dates among the features, and whether they have a time of day."""
        return {
            reading.name: reading.notation.times
            for reading in self.readings
            if reading.role == "feature" and reading.notation is not None and reading.notation.date
        }


def bundled(name: str) -> Dataset:
    """A data set that needs no file: one of scikit-learn's, or ``houses``, which are made up."""
    return BUNDLED[name](name)


def read(
    path: str | Path, label: str, choices: Choices | None = None, task: TaskName | None = None
) -> Dataset:
    """A CSV or Parquet file, or a payload log, as a table to train on.

    Args:
        path: The file, or the folder of a payload log.
        label: The column to predict.
        choices: The user's words about its columns.
        task: The kind of answer, classes or numbers; None decides by the column.

    Returns:
        The table without the columns from which nothing can be learned, and without the rows that have no
        class or number; its readings and notes say which.

    Raises:
        DataError: The table cannot be trained on; the sentence names the column and the remedy.
    """
    source, choices = files.load(path), choices or Choices()
    choices = replace(choices, kinds={**source.kinds, **choices.kinds})
    _check_named(source, choices.text)
    goal = target.column(source, label, replace(choices, expand=False))
    task, alternative, reason = target.chosen(goal, task)
    labelled = goal.values.notna().to_numpy()
    notes = [*source.notes, *filter(None, [reason]), *_unlabelled(label, int((~labelled).sum()))]
    labels, class_names = _truth(goal, labelled, task, alternative)
    judged = [
        columns.judged(_labelled(name, source, labelled, choices), name in source.nameless)
        for name in source.columns
        if name != label and name not in source.asides
    ]
    kept = [column for column in judged if column.reading.role == "feature"]
    if not kept:
        reasons = [f"Column {each.reading.name!r}: {each.reading.reason}." for each in judged[:20]]
        raise DataError(" ".join([f"There is nothing to learn {label!r} from in {path}.", *reasons]))
    return Dataset(
        name=Path(path).name,
        features=pd.DataFrame({column.reading.name: _numeric(column.values) for column in kept}),
        labels=labels,
        target=label,
        class_names=class_names,
        readings=_in_order(source, [*judged, goal]),
        notes=tuple(notes),
        task=task,
        alternative=alternative,
    )


def fingerprint(features: pd.DataFrame, labels: npt.NDArray[Any]) -> str:
    """sha256 (hex) of the table: names, values and labels in order, independent of the file format."""
    digest = hashlib.sha256()
    for name, values in [*features.items(), ("", pd.Series(labels))]:
        digest.update(_framed([str(name)]))
        if not columns.holds_numbers(values):
            digest.update(_framed("" if pd.isna(text) else f"={text}" for text in values))
        else:
            numbers = values.to_numpy(dtype=np.float64) + 0.0  # -0.0 becomes 0.0
            digest.update(np.where(np.isnan(numbers), np.nan, numbers).astype("<f8").tobytes())
    return digest.hexdigest()


def _truth(
    goal: Column, labelled: npt.NDArray[np.bool_], task: TaskName, alternative: TaskName | None
) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    """The labels and the names of their classes, or the numbers to predict. Raises DataError."""
    values = goal.values[labelled]
    if task == "regression":
        return target.numbers(values), ()
    labels = target.labels(values)
    target.check_classes(labels, goal.reading.name, alternative)
    return labels, target.names(goal, labelled)


def _labelled(name: str, source: Source, rows: npt.NDArray[np.bool_], choices: Choices) -> Column:
    """A column, read as it is in the whole file, in the rows that have a class."""
    whole = columns.column(name, source.columns[name], choices, source.comma)
    if name in source.notations:
        whole = columns.spelled(whole, source.notations[name], source.missing_words[name])
    if rows.all():
        return whole
    return replace(whole, values=whole.values[rows].reset_index(drop=True))


def _numeric(values: pd.Series) -> pd.Series:
    return values.astype(np.float64) if values.dtype == bool else values


def _check_named(source: Source, text: Iterable[str]) -> None:
    for name in text:
        if name not in source.columns:
            question = hint(name, source.columns).strip()
            raise DataError(
                f"There is no column {name!r} to read as text in {source.path}"
                + (f": {question}" if question else f": it has {listed(source.columns)}.")
            )


def _unlabelled(label: str, count: int) -> list[str]:
    return [f"{target.rows(count)} without {label!r} dropped."] if count else []


def _in_order(source: Source, judged: Iterable[Column]) -> tuple[Reading, ...]:
    readings = {column.reading.name: column.reading for column in judged}
    return tuple(readings[name] for name in source.columns if name in readings)


def _framed(texts: Iterable[str]) -> bytes:
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    return b"".join(len(text).to_bytes(8, "little") + text for text in encoded)


def _plain(name: str) -> str:
    """``sepal length (cm)`` -> ``sepal_length``."""
    return re.sub(r"\W+", "_", re.sub(r"\(.*?\)", "", name)).strip("_").lower()


def _classes(load: Callable[[], Any]) -> Callable[[str], Dataset]:
    """A loader of scikit-learn's, with simplified feature names and labels 0, 1, 2 ..."""

    def bundle(name: str) -> Dataset:
        bunch = load()
        classes = tuple(str(label) for label in bunch.target_names)
        return Dataset(name, _features(bunch), bunch.target.astype(np.int64), "target", classes)

    return bundle


def _diabetes(name: str) -> Dataset:
    """The progression of diabetes in a year, from measurements in their own units."""
    bunch = load_diabetes(scaled=False)
    numbers = bunch.target.astype(np.float64)
    return Dataset(name, _features(bunch), numbers, "progression", (), task="regression")


def _houses(name: str) -> Dataset:
    table = houses.table()
    numbers = table.pop(houses.TARGET).to_numpy(dtype=np.float64)
    note = f"{name} are made up by a formula with chance in it: no house is real."
    return Dataset(name, table, numbers, houses.TARGET, (), notes=(note,), task="regression")


def _features(bunch: Any) -> pd.DataFrame:
    names = [_plain(feature) for feature in bunch.feature_names]
    return pd.DataFrame(np.asarray(bunch.data, dtype=np.float64), columns=names)


BUNDLED: dict[str, Callable[[str], Dataset]] = {
    "iris": _classes(load_iris),
    "wine": _classes(load_wine),
    "breast_cancer": _classes(load_breast_cancer),
    "digits": _classes(load_digits),
    "diabetes": _diabetes,
    "houses": _houses,
}
