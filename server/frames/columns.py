"""One column of a table in memory, whatever library holds it."""

from typing import Any

import numpy as np

from unpickled.server.artifact.manifest import Feature
from unpickled.server.errors import InvalidInput
from unpickled.server.frames import arrays, pandas, polars
from unpickled.server.frames.kinds import is_arrow_column, is_pandas_column, is_polars_column
from unpickled.server.frames.values import plain_column
from unpickled.server.model.feeds import Column
from unpickled.server.quote import quoted


def is_column(values: Any) -> bool:
    """Whether an object has a value for each of several rows."""
    several = isinstance(values, list | tuple | np.ndarray)
    return several or is_pandas_column(values) or is_polars_column(values) or is_arrow_column(values)


def part_of(values: Any, feature: Feature, start: int, end: int) -> Column:
    """The values of a feature from row ``start`` to before row ``end``.

    Raises InvalidInput for values that no request may have, with the number that their row has in the table.
    """
    if isinstance(values, np.ndarray):
        _check_dimensions(values, feature)
        return arrays.column(values[start:end], feature, start)
    if is_pandas_column(values):
        # A slice of an Index is one by place; that of a Series may be one by label.
        return pandas.column(getattr(values, "iloc", values)[start:end], feature, start)
    if is_polars_column(values):
        return polars.column(values[start:end], feature, start)
    part = values[start:end]
    return plain_column(part.to_pylist() if is_arrow_column(part) else part, feature, start)


def _check_dimensions(values: Any, feature: Feature) -> None:
    if values.ndim != 1:
        sentence = f"feature {quoted(feature.name)} is an array of {values.ndim} dimensions: give one per row"
        raise InvalidInput(sentence, feature=feature.name[:200])
