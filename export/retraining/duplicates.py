"""Rows that are there twice: in the base table and in the log, or by the same id in the base table."""

import numpy as np
import numpy.typing as npt

from unpickled.export.retraining.base import Base
from unpickled.export.retraining.predicted import Predicted

Mask = npt.NDArray[np.bool_]


def repeated(base: Base) -> Mask:
    """Rows of the base table whose id an earlier row has (rows,). Rows without an id may be alike."""
    _, firsts = np.unique(base.ids, return_index=True)
    is_first = np.zeros(len(base), np.bool_)
    is_first[firsts] = True
    return np.asarray(base.ids != "") & ~is_first


def logged(base: Base, predicted: Predicted) -> Mask:
    """Rows of the base table that are among those of the log (rows,): these know when they were predicted."""
    return np.asarray(base.ids != "") & np.isin(base.ids, predicted.ids)
