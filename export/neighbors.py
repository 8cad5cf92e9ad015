"""Whether rows lie so that their nearest neighbors, and with these their class, are a matter of order."""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline

# Rows that are looked at, neighbors beyond those that count, and the relative distance that counts as none.
ROWS, BEYOND, EQUAL = 1_000, 10, 1e-12


def warning(pipeline: Pipeline, rows: Any) -> str | None:
    """A note for a pipeline that ends in neighbors, if the order of equally far ones changes its answers.

    scikit-learn counts those that it comes across first in its search tree, and no graph knows that order.
    """
    model = pipeline[-1]
    if not isinstance(model, KNeighborsClassifier) or model.n_neighbors >= model.n_samples_fit_:
        return None
    random = np.random.default_rng(0)
    sample = pd.DataFrame({name: random.choice(rows[name], ROWS) for name in rows}).astype(
        rows.dtypes.to_dict()
    )
    tied = _tied(model, pipeline[:-1].transform(sample) if len(pipeline) > 1 else sample)
    if not tied:
        return None
    return (
        f"note: {tied:,} of {ROWS:,} rows mixed from the training rows have neighbors of different classes "
        f"equally far where the count of {model.n_neighbors} ends, as is common among whole numbers: "
        "scikit-learn counts some of them in no defined order, so the check of the graph is likely to fail. "
        "A classifier without neighbors, such as forest or svc, has no ties."
    )


def _tied(model: KNeighborsClassifier, rows: Any) -> int:
    """How many rows have a tie between classes where the neighbors that count end."""
    last = model.n_neighbors - 1
    distances, indices = model.kneighbors(rows, min(last + 1 + BEYOND, model.n_samples_fit_))
    edge = distances[:, last : last + 1]
    equal = np.abs(distances - edge) <= EQUAL * edge
    classes = model._y[indices]
    mixed = (equal & (classes != classes[:, last : last + 1])).any(axis=1)
    return int((mixed & equal[:, last + 1]).sum())
