"""Regression: pipelines that predict a number for each of their targets."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import r2_score

from unpickled.export.errors import DataError
from unpickled.server.artifact.manifest import Errors, ResidualReport

Floats = npt.NDArray[np.float64]

# The lines of a table of residuals: so many, of about equally many rows.
LINES = 5
# No line describes fewer rows.
LEAST_ROWS = 10


def measure(pipeline: Any, rows: Any, numbers: npt.ArrayLike, targets: Sequence[str]) -> tuple[Errors, ...]:
    """Quality of ``pipeline`` on ``rows`` (rows, columns) with their true ``numbers``, for each target."""
    truth = np.asarray(numbers, np.float64)
    if len(truth) != len(rows):
        raise DataError(f"{len(rows):,} rows and {len(truth):,} numbers to predict: give each row its own.")
    predicted = np.asarray(pipeline.predict(rows), np.float64).reshape(len(truth), -1)
    truth = truth.reshape(len(truth), -1)
    if truth.shape != predicted.shape:
        raise DataError(
            f"The rows have {truth.shape[1]} numbers to predict each, the pipeline predicts "
            f"{predicted.shape[1]}: give as many."
        )
    return tuple(_errors(name, truth[:, place], predicted[:, place]) for place, name in enumerate(targets))


def deciles(predicted: Floats) -> tuple[tuple[float, ...], ...]:
    """The inner deciles of each column (rows, targets), equal ones once; none of fewer than 100 rows."""
    if len(predicted) < 10 * LEAST_ROWS:
        return tuple(() for _ in predicted.T)
    inner = np.quantile(predicted, np.linspace(0.1, 0.9, 9), axis=0)
    return tuple(tuple(np.unique(column).tolist()) for column in inner.T)


def _errors(target: str, truth: Floats, predicted: Floats) -> Errors:
    residuals = predicted - truth
    varies = len(truth) > 1 and bool((truth != truth[0]).any())
    return Errors(
        target=target,
        rows=len(truth),
        mae=float(np.abs(residuals).mean()),
        rmse=float(np.sqrt((residuals**2).mean())),
        r2=float(r2_score(truth, predicted)) if varies else None,
        residuals=tuple(_lines(predicted, residuals)),
    )


def _lines(predicted: Floats, residuals: Floats) -> list[ResidualReport]:
    """The table of residuals, from the lowest predictions to the highest."""
    count = max(1, min(LINES, len(predicted) // LEAST_ROWS))
    order = np.argsort(predicted, kind="stable")
    return [_line(predicted[part], residuals[part]) for part in np.array_split(order, count)]


def _line(predicted: Floats, residuals: Floats) -> ResidualReport:
    return ResidualReport(
        lowest=float(predicted.min()),
        highest=float(predicted.max()),
        rows=len(predicted),
        bias=float(residuals.mean()),
        mae=float(np.abs(residuals).mean()),
    )
