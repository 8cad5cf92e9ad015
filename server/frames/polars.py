"""The columns of polars' frames, by their dtype."""

import sys
from typing import Any

from unpickled.server.artifact.manifest import Feature
from unpickled.server.frames.values import plain_column
from unpickled.server.model.feeds import Column


def column(series: Any, feature: Feature, first: int) -> Column:
    """The values of a Series (rows,); ``first`` is the number of the first row.

    Raises InvalidInput for a dtype that is not read.
    """
    if series.dtype.is_float() or series.dtype.is_integer():
        # The series is an object of the library, which is imported therefore.
        numbers: Column = series.cast(sys.modules["polars"].Float64).to_numpy()
        return numbers
    return plain_column(series.to_list(), feature, first)
