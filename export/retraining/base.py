"""The base table: the rows that a champion was trained on first, read as its manifest describes them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from unpickled.export.data import columns, dataset, files
from unpickled.export.data import target as goal
from unpickled.export.data.columns import Choices, Kind, Reading
from unpickled.export.data.source import Source
from unpickled.export.errors import DataError
from unpickled.server.artifact.manifest import Feature, Manifest
from unpickled.server.quote import listed, quoted

# The column by which rows of a table are known that came from a payload log.
ID = "_prediction_id"


@dataclass(frozen=True, slots=True)
class Base:
    """Rows with truth, which may be none.

    Attributes:
        name: That of the data set, or of the file.
        frame: (rows, features of the champion), as in Predicted.
        truth: As in Predicted.
        ids: Those of the predictions, where the table came from a payload log, "" elsewhere (rows,).
        without_truth: How many rows of the table are left out, as their truth is missing.
    """

    name: str
    frame: pd.DataFrame
    truth: npt.NDArray[Any]
    ids: npt.NDArray[np.str_]
    without_truth: int = 0

    def __len__(self) -> int:
        return len(self.frame)

    def at(self, rows: npt.NDArray[np.bool_]) -> "Base":
        """Some of the rows."""
        frame = self.frame[rows].reset_index(drop=True)
        return Base(self.name, frame, self.truth[rows], self.ids[rows], self.without_truth)


def read(data: str, targets: tuple[str, ...], champion: Manifest, missing: frozenset[str]) -> Base:
    """The rows of a table.

    Args:
        data: A bundled data set by its name, or the path of a table.
        targets: The columns with the truth, at least one; a bundled data set has its own.
        champion: Which features it has to have.
        missing: Texts that stand for a missing value in every column.

    Raises:
        DataError: It cannot be read, or lacks a column, or has a class that the champion does not know.
    """
    if data in dataset.BUNDLED:
        return _bundled(data, champion)
    source = files.load(data)
    if not targets:
        raise DataError(
            f"The model does not tell which column of {source.path} it predicts: name it with --target."
        )
    for name in targets:
        goal.check(source, name)
    features = [feature.name for feature in champion.features]
    _check_columns(features, source.columns, data)
    choices = _choices(champion, missing)
    truth, known = _truth(source, targets, champion, missing)
    frame = pd.DataFrame({name: _values(source, name, choices) for name in features})
    return Base(
        name=Path(data).name,
        frame=frame[known].reset_index(drop=True),
        truth=truth,
        ids=_ids(source)[known],
        without_truth=int(np.count_nonzero(~known)),
    )


def readings(champion: Manifest) -> tuple[Reading, ...]:
    """The columns as the champion reads them, so that a challenger takes the same requests."""
    features = (
        Reading(
            name=feature.name,
            kind=_kind(feature),
            notation=feature.notation,
            missing_words=feature.missing_words,
        )
        for feature in champion.features
    )
    unused = (Reading(name=name, kind="nothing", role="unused") for name in champion.unused if name)
    return (*features, *unused)


def _bundled(name: str, champion: Manifest) -> Base:
    table = dataset.bundled(name)
    _check_columns([feature.name for feature in champion.features], table.features.columns, name)
    frame = table.features[[feature.name for feature in champion.features]]
    truth = table.labels if champion.classes else table.labels.reshape(-1, 1)
    if champion.classes:
        _check_classes(truth, champion, name)
    return Base(name, frame, truth, np.full(len(frame), "", np.str_))


def _check_columns(features: list[str], names: Any, data: str) -> None:
    lacking = [name for name in features if name not in names]
    if lacking:
        raise DataError(
            f"{data} lacks {listed(lacking, 10, quoted)}, which the model takes: add "
            f"{'it' if len(lacking) == 1 else 'them'}, or name another table with --data."
        )


def _choices(champion: Manifest, missing: frozenset[str]) -> Choices:
    features = champion.features
    return Choices(
        missing=missing,
        kinds={feature.name: _kind(feature) for feature in features},
        categories={each.name: frozenset(each.categories) for each in features if each.kind == "category"},
    )


def _kind(feature: Feature) -> Kind:
    if feature.kind == "category":
        return "category"
    return "date" if feature.date else "boolean" if feature.boolean else "number"


def _values(source: Source, name: str, choices: Choices) -> pd.Series:
    column = columns.column(name, source.columns[name], choices, source.comma)
    kind, values = choices.kinds[name], column.values
    if kind == "category":
        return values.astype(object)
    if not columns.holds_numbers(values):
        if values.notna().any():
            raise DataError(
                f"Column {name!r} of {source.path} holds {quoted(values.dropna().iloc[0])}, but the model "
                f"takes {'dates' if kind == 'date' else 'numbers'} there: correct the table."
            )
        return pd.Series(np.full(len(values), np.nan))
    return values.astype(np.float64)


def _truth(
    source: Source, targets: tuple[str, ...], champion: Manifest, missing: frozenset[str]
) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """The truth of the rows that have it, and which rows these are. Raises DataError."""
    if champion.classes:
        return _labels(source, targets, champion, missing)
    choices = Choices(missing=missing, kinds=dict.fromkeys(targets, "number"))
    cells = [goal.column(source, name, choices).values for name in targets]
    known = np.logical_and.reduce([values.notna().to_numpy() for values in cells])
    numbers = [values[known].to_numpy(np.float64) for values in cells]
    for name, each in zip(targets, numbers, strict=True):
        columns.check_finite(name, each)
    return np.column_stack(numbers), known


def _labels(
    source: Source, targets: tuple[str, ...], champion: Manifest, missing: frozenset[str]
) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    if len(targets) > 1:
        raise DataError(f"A classifier has one target, and --target names {len(targets)}: name one.")
    choices = Choices(missing=missing)
    if isinstance(champion.classes[0], str):
        texts = frozenset(map(str, champion.classes))
        choices = Choices(missing=missing, text=frozenset(targets), categories={targets[0]: texts})
    values = goal.column(source, targets[0], choices).values
    known = values.notna().to_numpy()
    labels = goal.labels(values[known])
    _check_classes(labels, champion, str(source.path))
    return labels, known


def _check_classes(labels: npt.NDArray[Any], champion: Manifest, data: str) -> None:
    unknown = [label for label in np.unique(labels).tolist() if label not in champion.classes]
    if unknown:
        classes = listed([*map(str, champion.classes)], 10)
        raise DataError(
            f"{data} has the class {quoted(unknown[0])}, which the model does not know (it has {classes}): "
            "train a new model with it, or leave these rows out."
        )


def _ids(source: Source) -> npt.NDArray[np.str_]:
    """The ids of predicted rows in a table made of a payload log, "" where there are none."""
    if ID not in source.columns:
        return np.full(len(source), "", np.str_)
    values = columns.column(ID, source.columns[ID], Choices(text=frozenset({ID}))).values
    return np.array(values.fillna("").tolist(), np.str_)
