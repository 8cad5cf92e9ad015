"""Rows that a pipeline will refuse because a number overflows, or is missing, where it takes none.

This is a guess that saves time, never a proof: whoever makes it asks the pipeline about some of the rows.
A row that is wrongly taken as refused narrows what the server accepts; it cannot make an answer wrong.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn import config_context

from unpickled.export.data.layout import Rows
from unpickled.export.inside import leaves
from unpickled.export.releases import takes_nan
from unpickled.export.tree_classes import FOREST_CLASSIFIERS, TREES

# They compute with float32 and refuse numbers beyond it.
_NARROW = (*TREES, *FOREST_CLASSIFIERS)


def suspects(pipeline: Any, rows: Rows) -> npt.NDArray[np.bool_]:
    """(rows,): whether numbers reach one of the pipeline's classifiers that it refuses."""
    suspected = np.zeros(len(rows), dtype=bool)
    try:
        with config_context(assume_finite=True), np.errstate(all="ignore"):
            for leaf, prepare in leaves(pipeline):
                suspected |= _refuses(leaf, prepare(rows))
    except MemoryError:
        raise
    except Exception:  # pipelines raise exceptions of any kind; without a guess, each row is asked about
        return np.zeros(len(rows), dtype=bool)
    return suspected


def _refuses(leaf: Any, prepared: Any) -> npt.NDArray[np.bool_]:
    dense = prepared.toarray() if hasattr(prepared, "toarray") else prepared
    numbers = np.asarray(dense, dtype=np.float32 if isinstance(leaf, _NARROW) else np.float64)
    taken = ~np.isinf(numbers) if takes_nan(leaf) else np.isfinite(numbers)
    return np.asarray(~taken.all(axis=1))
