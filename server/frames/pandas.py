"""The columns of pandas' frames, by their dtype, with pyarrow or without it. The index is no column."""

from typing import Any

import numpy as np

from unpickled.server.artifact.manifest import Feature
from unpickled.server.frames import arrays
from unpickled.server.frames.values import plain_column
from unpickled.server.model.feeds import Column


def column(series: Any, feature: Feature, first: int) -> Column:
    """The values of a Series or an Index (rows,); ``first`` is the number of the first row.

    Raises InvalidInput for a dtype that is not read.
    """
    dtype = series.dtype
    if isinstance(dtype, np.dtype):
        return arrays.column(series.to_numpy(), feature, first)
    kind = getattr(dtype, "kind", "O")
    if kind in arrays.NUMBERS:
        numbers: Column = series.to_numpy(dtype=np.float64, na_value=np.nan)
        return numbers
    if kind == "M" and hasattr(dtype, "tz"):
        moments = series.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy()
        return arrays.moments(moments, feature, first, end="Z")
    # Categories, text, truth values with gaps, and what pyarrow holds: as Python's values.
    return plain_column(series.tolist(), feature, first)
