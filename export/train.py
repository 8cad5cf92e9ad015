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
from sklearn.utils.validation import has_fit_parameter
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
from unpickled.server.quote import listed, quoted

SCALERS: Mapping[str, Callable[[], Any] | None] = {
    "standard": StandardScaler,
    "minmax": MinMaxScaler,
    "robust": RobustScaler,
    "maxabs": MaxAbsScaler,
    "none": None,
}

SMALL = 1_000_000  # cells
# Places of rows in a table.
Rows = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Fitted:
    """A pipeline fitted on ``train`` and measured on ``held_out``, both (rows, columns), with their truth.

    This pipeline is exported. Fitting another one on all rows would use some more of them, but its quality
    would be unknown.
    """

    pipeline: Any
    train: pd.DataFrame
    train_truth: npt.NDArray[Any]
    held_out: pd.DataFrame
    held_out_truth: npt.NDArray[Any]
    training: Training


def train(dataset: Dataset, scaler: str, estimator: str, seed: int = 0, held_out: float = 0.2) -> Fitted:
    """Fit on a seeded part of ``dataset``; measure on the rest, the fraction ``held_out``.

    Raises DataError where the table is too small to be split or the estimator refuses it.
    """
    return fitted(
        dataset, chosen(dataset, scaler, estimator, seed), *split(dataset, seed, held_out), seed=seed
    )


def chosen(dataset: Dataset, scaler: str, estimator: str, seed: int = 0) -> Pipeline:
    """The unfitted pipeline of a scaler and an estimator that its task trains by this name."""
    task = TASKS[dataset.task]
    return build(dataset.features, scaler, (task.step, task.estimators[estimator](seed)), dataset.dates)


def split(dataset: Dataset, seed: int = 0, held_out: float = 0.2) -> tuple[Rows, Rows]:
    """The places of the rows to fit on and of those held out, drawn by ``seed``. Raises DataError."""
    places = np.arange(len(dataset.labels))
    fit_rows, held_out_rows, *_ = TASKS[dataset.task].split(places, dataset.labels, seed, held_out)
    return fit_rows, held_out_rows


def fitted(
    dataset: Dataset,
    pipeline: Any,
    fit_rows: Rows,
    held_out_rows: Rows,
    weights: npt.NDArray[np.float64] | None = None,
    seed: int | None = None,
) -> Fitted:
    """Fit a pipeline on some rows of a table, and measure it on others.

    Args:
        dataset: The table.
        pipeline: An unfitted pipeline or estimator for it, which is fitted in place.
        fit_rows: The places of the rows to fit on.
        held_out_rows: Those of the rows to measure on.
        weights: (len(fit_rows),), how much each row to fit on counts; None: all the same.
        seed: The number that the split was drawn by, if it was.

    Raises:
        DataError: The estimator refuses the rows or takes no weights, or a class is in no row to fit on.
    """
    task = TASKS[dataset.task]
    _check_classes(dataset, fit_rows, held_out_rows)
    rows, truth = dataset.features.take(fit_rows), dataset.labels[fit_rows]
    test_rows, test_truth = dataset.features.take(held_out_rows), dataset.labels[held_out_rows]
    # On a small table, several threads mostly wait for each other: for seconds if the machine is busy.
    is_small = dataset.features.size < SMALL
    if is_small:
        alone(last(pipeline))
    with threadpool_limits(1 if is_small else None):
        _fit(pipeline, rows, truth, weights)
    training = Training(
        pipeline=steps(pipeline),
        data=dataset.name,
        target=dataset.target,
        fingerprint=fingerprint(dataset.features, dataset.labels),
        rows=len(rows),
        held_out=len(test_rows),
        seed=seed,
        versions=versions(pipeline),
    )
    # Trees are evaluated one after another, too short a work for several threads.
    with threadpool_limits(1):
        training = replace(training, curve=curve(task, pipeline, rows, truth))
        names = dataset.class_names or (dataset.target,)
        training = task.measured(training, pipeline, test_rows, test_truth, names)
    return Fitted(pipeline, rows, truth, test_rows, test_truth, training)


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


def curve(task: Task, pipeline: Any, rows: Any, truth: npt.NDArray[Any]) -> Curve | None:
    """The training loss of an estimator that is fitted in epochs or stages; None where it is not finite.

    ``rows`` are the training rows; None where nobody knows these.
    """
    steps = pipeline if isinstance(pipeline, Pipeline) else Pipeline([(task.step, pipeline)])
    losses = task.curve(steps, rows, truth)
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


def _fit(
    pipeline: Any, rows: pd.DataFrame, labels: npt.NDArray[Any], weights: npt.NDArray[np.float64] | None
) -> None:
    weighted = {} if weights is None else {_weights_name(pipeline): weights}
    try:
        pipeline.fit(rows, labels, **weighted)
    except MemoryError:
        raise
    except Exception as error:
        # XGBoost, LightGBM and CatBoost have exceptions of their own.
        fault = f"{type(last(pipeline)).__name__} cannot be fitted: {reason(error)}."
        raise DataError(f"{fault} {_POSITIVE if 'range of the loss' in fault else _OTHER}") from error


def _weights_name(estimator: Any) -> str:
    """The argument of ``fit`` that brings weights to the last step: ``classifier__sample_weight``."""
    if isinstance(estimator, Pipeline):
        name, step = estimator.steps[-1]
        return f"{name}__{_weights_name(step)}"
    if has_fit_parameter(estimator, "sample_weight"):
        return "sample_weight"
    raise DataError(
        f"{type(estimator).__name__} takes no weights of rows: leave them out, or name another estimator."
    )


def last(pipeline: Any) -> Any:
    """The step that answers: the last one of a pipeline."""
    return pipeline[-1] if isinstance(pipeline, Pipeline) else pipeline


def _check_classes(dataset: Dataset, fit_rows: Rows, held_out_rows: Rows) -> None:
    """Raise DataError if there is no row to fit on, or none of a class, or none to measure on."""
    for kind, rows in (("fit", fit_rows), ("measure", held_out_rows)):
        if not len(rows):
            raise DataError(f"There is no row to {kind} on: give more rows, or hold out another share.")
    if not dataset.class_names:
        return
    lacking = np.setdiff1d(dataset.labels, dataset.labels[fit_rows])
    if len(lacking):
        raise DataError(
            f"No row to fit on is of {listed([*map(str, lacking)], 5, quoted)}, which others are: give more "
            "rows of it, leave them out, or hold out fewer."
        )
