"""One target of a regressor: its errors, where they lie along its predictions, and how they spread."""

import numpy as np

from unpickled.export import reference
from unpickled.export.card import intervals
from unpickled.export.card.cells import Cell, parted
from unpickled.export.card.intervals import Floats, short
from unpickled.server.artifact.card import Band, TargetCard

_PERCENTILES = (10, 25, 50, 75, 90)


def make(name: str, predicted: Floats, truth: Floats) -> TargetCard:
    """The card of a target, for the predictions and the true numbers (rows,)."""
    residuals = predicted - truth
    spread = reference.of_numbers(name, residuals)
    return TargetCard(
        name=name,
        rows=len(truth),
        mae=intervals.mean(np.abs(residuals), least=0.0),
        rmse=intervals.root_mean_square(residuals),
        r2=intervals.determination(truth, predicted),
        bands=tuple(_band(cell, predicted, truth) for cell in parted(predicted)),
        residual_bounds=spread.bounds if spread else (),
        residual_counts=spread.counts if spread else (),
    )


def _band(cell: Cell, predicted: Floats, truth: Floats) -> Band:
    tenth, quarter, median, three_quarters, nine_tenths = (
        short(float(number)) for number in np.percentile(truth[cell.rows], _PERCENTILES)
    )
    return Band(
        lowest=cell.lowest,
        highest=cell.highest,
        rows=len(cell.rows),
        predicted=short(float(predicted[cell.rows].mean())),
        truths=(tenth, quarter, median, three_quarters, nine_tenths),
    )
