"""Tables in memory, of pandas and of the libraries beside it, as the frame or array that pipelines take."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow

from unpickled.export.errors import DataError


def table(rows: Any) -> Any:
    """The rows as a pandas frame, or unchanged where they are a frame, an array or no table at all.

    Frames of polars, pyarrow tables and whatever else gives its columns to Arrow are taken, lists of records,
    and records of columns. Raises DataError for those whose columns do not fit together.

    Example:
        >>> table([{"age": 41, "city": "Bonn"}, {"age": 32, "city": "Trier"}]).shape
        (2, 2)
    """
    if isinstance(rows, pd.DataFrame | np.ndarray) or hasattr(rows, "tocsr"):
        return rows
    try:
        if hasattr(rows, "__arrow_c_stream__"):
            return _with_none(pyarrow.table(rows).to_pandas())
        if isinstance(rows, list) and rows and all(isinstance(row, Mapping) for row in rows):
            return pd.DataFrame.from_records(rows)
        return pd.DataFrame(dict(rows)) if isinstance(rows, Mapping) else rows
    except (pyarrow.ArrowException, ValueError, TypeError) as error:
        raise DataError(f"The rows cannot be read as a table: {error}.") from error


def _with_none(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with None for a missing text: scikit-learn meets None in tables that are Arrow's."""
    texts = [name for name in frame if isinstance(frame[name].dtype, pd.StringDtype)]
    objects = {name: frame[name].astype(object).where(frame[name].notna(), None) for name in texts}
    return pd.DataFrame({name: objects.get(name, frame[name]) for name in frame})
