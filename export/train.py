"""From a table, a scaler and an estimator to a fitted pipeline, measured on held-out rows."""

import platform
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from msgspec.structs import replace
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, OneHotEncoder, RobustScaler, StandardScaler
from threadpoolctl import threadpool_limits

from unpickled.export.boosters.registry import library
from unpickled.export.data.columns import MANY, RARE
from unpickled.export.data.dataset import Dataset, fingerprint
from unpickled.export.dates import DateParts
from unpickled.export.errors import DataError, reason
from unpickled.export.inside import everything
from unpickled.export.tasks.boosters import alone
from unpickled.export.tasks.registry import TASKS
from unpickled.export.tasks.task import Task
from unpickled.server.artifact.manifest import Curve, Training

SCALERS: Mapping[str, Callable[[], Any] | None] = {
    "standard": StandardScaler,
    "minmax": MinMaxScaler,
    "robust": RobustScaler,
    "maxabs": MaxAbsScaler,
    "none": None,
}

SMALL = 1_000_000  # cells


@dataclass(frozen=True, slots=True)
class Fitted:
    """A pipeline fitted on ``train`` and measured on ``held_out``, both (rows, columns), with their truth.

    This pipeline is exported. Fitting another one on all rows would use some more of them, but its quality
    would be unknown.
    """

    pipeline: Pipeline
    train: pd.DataFrame
    train_truth: npt.NDArray[Any]
    held_out: pd.DataFrame
    held_out_truth: npt.NDArray[Any]
    training: Training


def train(dataset: Dataset, scaler: str, estimator: str, seed: int = 0, held_out: float = 0.2) -> Fitted:
    """Fit on a seeded part of ``dataset``; measure on the rest, the fraction ``held_out``.

    Raises DataError where the table is too small to be split or the estimator refuses it.
    """
    task = TASKS[dataset.task]
    fit_rows, test_rows, fit_labels, test_labels = task.split(
        dataset.features, dataset.labels, seed, held_out
    )
    pipeline = build(dataset.features, scaler, (task.step, task.estimators[estimator](seed)), dataset.dates)
    # On a small table, several threads mostly wait for each other: for seconds if the machine is busy.
    is_small = dataset.features.size < SMALL
    if is_small:
        alone(pipeline[-1])
    with threadpool_limits(1 if is_small else None):
        _fit(pipeline, fit_rows, fit_labels)
    training = Training(
        pipeline=steps(pipeline),
        data=dataset.name,
        target=dataset.target,
        fingerprint=fingerprint(dataset.features, dataset.labels),
        rows=len(fit_rows),
        held_out=len(test_rows),
        seed=seed,
        versions=versions(pipeline),
    )
    # Trees are evaluated one after another, too short a work for several threads.
    with threadpool_limits(1):
        training = replace(training, curve=curve(task, pipeline, fit_rows, fit_labels))
        names = dataset.class_names or (dataset.target,)
        training = task.measured(training, pipeline, test_rows, test_labels, names)
    return Fitted(pipeline, fit_rows, fit_labels, test_rows, test_labels, training)


def build(
    features: pd.DataFrame,
    scaler: str,
    final: tuple[str, Any],
    dates: Mapping[str, bool] | None = None,
) -> Pipeline:
    """The unfitted pipeline for these columns, which ends in the step ``final``: (name, estimator).

    Numbers are scaled; missing ones are replaced by the median first. Texts are one-hot encoded: a missing
    text is a category of its own, and a text that training has not seen is all zeros. In a column of many
    texts, the rare ones and those that training has not seen are one category. Columns of ``dates``, by
    name, become their parts, with the hour where they have a time of day; these are treated as numbers are.
    """
    parts = _parts(features, SCALERS[scaler], dates or {})
    if len(parts) == 1:
        _, steps, _ = parts[0]
        return Pipeline([*steps, final])
    branches = [
        (name, Pipeline(steps) if steps else "passthrough", columns) for name, steps, columns in parts
    ]
    return Pipeline([("columns", ColumnTransformer(branches, sparse_threshold=0.0)), final])


def curve(task: Task, pipeline: Pipeline, rows: Any, truth: npt.NDArray[Any]) -> Curve | None:
    """The training loss of an estimator that is fitted in epochs or stages; None where it is not finite."""
    losses = task.curve(pipeline, rows, truth)
    return losses if losses is not None and np.isfinite(losses.loss).all() else None


def steps(pipeline: Any) -> tuple[str, ...]:
    """Each step as scikit-learn writes it, on one line: ``LogisticRegression(C=0.5)``."""
    parts = [step for _, step in pipeline.steps] if isinstance(pipeline, Pipeline) else [pipeline]
    return tuple(" ".join(repr(step).split()) for step in parts)


def versions(pipeline: Any) -> dict[str, str]:
    """The versions of Python and of the libraries that fitted and converted the pipeline."""
    boosters = {own.name for own in map(library, everything(pipeline)) if own is not None}
    # The package may have another name: xgboost-cpu.
    boosting = {name: sys.modules[name].__version__ for name in sorted(boosters)}
    libraries = {name: version(name) for name in ("scikit-learn", "skl2onnx", "onnx", "numpy")}
    return {"python": platform.python_version()} | libraries | boosting


def _parts(
    features: pd.DataFrame, scaler: Callable[[], Any] | None, dates: Mapping[str, bool]
) -> list[tuple[str, list[Any], list[str]]]:
    """(name, steps, columns) for each kind of column that the table has."""
    text = [name for name in features if features[name].dtype == object]
    many = [name for name in text if features[name].nunique() > MANY]
    numbers = [name for name in features if name not in text and name not in dates]
    encoder = ("encoder", OneHotEncoder(handle_unknown="ignore", sparse_output=False))
    grouping = OneHotEncoder(min_frequency=RARE, handle_unknown="infrequent_if_exist", sparse_output=False)
    parts: list[tuple[str, list[Any], list[str]]] = [
        *_with_gaps("numbers", "gaps", [], features[numbers], scaler),
        ("texts", [encoder], [name for name in text if name not in many]),
        ("many_texts", [("encoder", grouping)], many),
    ]
    for kind, hour in (("dates", False), ("times", True)):
        columns = features[[name for name in features if dates.get(name) is hour]]
        parts += _with_gaps(kind, f"{kind}_with_gaps", [("parts", DateParts(hour))], columns, scaler)
    return [part for part in parts if part[2]]


def _with_gaps(
    name: str, name_of_gaps: str, steps: list[Any], columns: pd.DataFrame, scaler: Callable[[], Any] | None
) -> Iterator[tuple[str, list[Any], list[str]]]:
    """The part of the complete columns of numbers, and that of the columns with gaps, which are filled in."""
    for part, has_gaps in ((name, False), (name_of_gaps, True)):
        imputer = [("imputer", SimpleImputer(strategy="median"))] if has_gaps else []
        scaling = [("scaler", scaler())] if scaler else []
        chosen = [column for column in columns if columns[column].isna().any() == has_gaps]
        yield part, [*steps, *imputer, *scaling], chosen


# Remedies for a fit that fails: for a loss of positive numbers, and for all others.
_POSITIVE = "It predicts no negative numbers, gamma no 0 either: name another --regressor, such as ridge."
_OTHER = "Name another estimator, or correct the table."


def _fit(pipeline: Pipeline, rows: pd.DataFrame, labels: npt.NDArray[Any]) -> None:
    try:
        pipeline.fit(rows, labels)
    except MemoryError:
        raise
    except Exception as error:
        # XGBoost, LightGBM and CatBoost have exceptions of their own.
        fault = f"{type(pipeline[-1]).__name__} cannot be fitted: {reason(error)}."
        raise DataError(f"{fault} {_POSITIVE if 'range of the loss' in fault else _OTHER}") from error
