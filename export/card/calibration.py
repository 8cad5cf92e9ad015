"""Calibration: how often rows with about one probability have the class that is predicted."""

import numpy as np
import numpy.typing as npt

from unpickled.export.card.cells import parted
from unpickled.export.card.intervals import Floats, short
from unpickled.server.artifact.card import CalibrationBin


def make(probabilities: Floats, right: npt.NDArray[np.bool_]) -> tuple[CalibrationBin, ...]:
    """The bins of rows, by the probability of their predicted class and whether it is true (rows,)."""
    return tuple(
        CalibrationBin(
            lowest=max(cell.lowest, 0.0),
            highest=min(cell.highest, 1.0),
            rows=len(cell.rows),
            probability=short(float(probabilities[cell.rows].mean())),
            came_true=short(float(right[cell.rows].mean())),
        )
        for cell in parted(probabilities)
    )
