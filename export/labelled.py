"""Rows with their true answers, on which a model is measured, explained and compared."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd


@dataclass(frozen=True, slots=True)
class Labelled:
    """Rows and what is true of them.

    Attributes:
        frame: The rows (rows, features) as the graph sees them: float64 columns and text columns (dtype
            object), NaN for a missing value in both (data/layout.py).
        truth: Labels out of the classes (rows,), or numbers (rows, targets) in float64.
        held_out: Whether the pipeline was not fitted on them.
    """

    frame: pd.DataFrame
    truth: npt.NDArray[Any]
    held_out: bool

    def __len__(self) -> int:
        return len(self.frame)

    def at(self, rows: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> "Labelled":
        """Some of the rows, by their places or by a mask."""
        return Labelled(
            self.frame[rows] if rows.dtype == bool else self.frame.iloc[rows], self.truth[rows], self.held_out
        )
