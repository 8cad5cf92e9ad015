"""Ties between nearest neighbors: rows whose answer hangs on an order that only scikit-learn's search knows.

Its trees count those of equally far rows that they meet first, and of these a heap drops some: on a table of
whole numbers, half of the tied rows have other neighbors than in the order of the table. With
algorithm="brute" the answer even hangs on how many rows are asked about at once. No graph can follow that,
whatever the number of neighbors and their weights.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import clone, is_classifier
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import Pipeline

from unpickled.export.convert import Conversion, convert
from unpickled.export.errors import ParityError
from unpickled.export.gate.exactness import TOLERANCE
from unpickled.export.gate.parity import between_neighbors
from unpickled.export.publish import runner
from unpickled.export.train import SCALERS, Fitted, build

# Neighbors that are looked at beyond those that count, and the relative distance that counts as none.
BEYOND, EQUAL = 10, 1e-12
# An estimator of both tasks without neighbors, which has no ties.
INSTEAD = "forest"


def check(model: Fitted, command: Sequence[str], dates: Mapping[str, bool] | None = None) -> None:
    """Raise ParityError if ties between neighbors change answers, before the gate gets to them.

    ``command`` are the words after ``unpickled`` that have trained the pipeline: the error has the command
    that trains one without ties. ``dates`` are the columns of dates, as ``train.build`` takes them.
    """
    step, neighbors = model.pipeline.steps[-1]
    has_neighbors = isinstance(neighbors, (KNeighborsClassifier, KNeighborsRegressor))
    if not has_neighbors or neighbors.n_neighbors >= len(model.train):
        return
    conversion = convert(model.pipeline, model.train)
    rows = _rows(conversion, model)
    tied = rows[_tied(model.pipeline, rows)]
    differing = _differing(conversion, model.pipeline, tied)
    if not differing:
        return
    raise ParityError(
        f"Of {len(rows):,} rows like those of the table, {len(tied):,} have training rows with different "
        f"answers equally far away where the count of {neighbors.n_neighbors} neighbors ends, as is common "
        f"among whole numbers. scikit-learn counts those that its search meets first, and {differing:,} of "
        f"these rows would get another answer from the graph. Nothing was written; "
        f"{_remedy(command, step, next(_agreeing(model, rows, dates or {}), None))}."
    )


def _remedy(command: Sequence[str], step: str, scaler: str | None) -> str:
    """The clause with the command that passes: with this scaler, or without neighbors where there is none."""
    if scaler is None:
        instead = _changed(command, f"--{step}", INSTEAD)
        return f"no scaler keeps them apart, so take a {step} without neighbors: `{instead}`"
    return f"the scaler {scaler} keeps them apart: `{_changed(command, '--scaler', scaler)}`"


def _rows(conversion: Conversion, model: Fitted) -> pd.DataFrame:
    """The training and held-out rows, and those between neighbors that the gate will ask about."""
    layout = conversion.layout
    frame = layout.frame(model.train)
    parts = [frame, layout.frame(model.held_out), between_neighbors(frame, conversion.features)]
    rows: pd.DataFrame = layout.rows(pd.concat(parts, ignore_index=True))
    return rows


def _tied(pipeline: Pipeline, rows: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """(rows,): whether there is a tie between unlike rows where the neighbors that count end."""
    model = pipeline[-1]
    last = model.n_neighbors - 1
    points = pipeline[:-1].transform(rows) if len(pipeline) > 1 else rows
    distances, indices = model.kneighbors(points, min(last + 1 + BEYOND, model.n_samples_fit_))
    edge = distances[:, last : last + 1]
    equal = np.abs(distances - edge) <= EQUAL * edge
    answers = model._y[indices]
    mixed = (equal & (answers != answers[:, last : last + 1])).any(axis=1)
    return np.asarray(mixed & equal[:, last + 1])


def _differing(conversion: Conversion, pipeline: Pipeline, rows: pd.DataFrame) -> int:
    """How many of these rows the graph answers in another way."""
    if not len(rows):
        return 0
    feeds = conversion.layout.feeds(conversion.layout.frame(rows), conversion.inputs)
    scores = runner(conversion)(feeds)[1]
    if is_classifier(pipeline):
        expected, tolerance = pipeline.predict_proba(rows), np.float64(TOLERANCE)
    else:
        expected = pipeline.predict(rows).reshape(scores.shape)
        tolerance = TOLERANCE * np.maximum(1.0, np.abs(expected))
    return int((np.abs(scores - expected) > tolerance).any(axis=1).sum())


def _agreeing(model: Fitted, rows: pd.DataFrame, dates: Mapping[str, bool]) -> Iterator[str]:
    """The scalers with which the graph answers all of these rows as the same estimator does."""
    step, neighbors = model.pipeline.steps[-1]
    truth = neighbors.classes_[neighbors._y] if is_classifier(neighbors) else neighbors._y
    for scaler in SCALERS:
        pipeline = build(model.train, scaler, (step, clone(neighbors)), dates).fit(model.train, truth)
        tied = rows[_tied(pipeline, rows)]
        if not _differing(convert(pipeline, model.train), pipeline, tied):
            yield scaler


def _changed(command: Sequence[str], option: str, value: str) -> str:
    """The command with another value of an option, as it is typed."""
    words = list(command)
    if option in words:
        words[words.index(option) + 1] = value
    else:
        words += [option, value]
    return shlex.join(["unpickled", *words])
