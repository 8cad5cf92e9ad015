"""Columns of a table that a new version does not read, and an earlier one may."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd

from unpickled.export.data.missing import is_missing
from unpickled.export.labelled import Labelled


def with_unread(labelled: Labelled, rows: Any) -> Labelled:
    """The rows with their columns of numbers and of text that the new version leaves out.

    Args:
        labelled: The rows as the new version reads them.
        rows: The same rows as they were given; the columns of an array have no names by which another
            version could read them.
    """
    if not isinstance(rows, pd.DataFrame):
        return labelled
    columns = {
        str(label): values
        for label in rows.columns
        if str(label) not in labelled.frame.columns and (values := _values(rows[label])) is not None
    }
    return dataclasses.replace(labelled, frame=labelled.frame.assign(**columns))


def _values(column: pd.Series) -> Any:
    """Numbers or texts as a Labelled has them; None where they are neither."""
    if pd.api.types.is_bool_dtype(column) or pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(np.float64, na_value=np.nan)
    texts = [None if is_missing(value) else value for value in column]
    return np.array(texts, object) if all(isinstance(text, str | None) for text in texts) else None
