"""One column of a table in memory, whatever library holds it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from unpickled.server.artifact.manifest import Feature
from unpickled.server.errors import InvalidInput
from unpickled.server.frames import arrays, pandas, polars
from unpickled.server.frames.kinds import (
    is_arrow_column,
    is_pandas_column,
    is_pandas_series,
    is_polars_column,
)
from unpickled.server.frames.values import plain_column
from unpickled.server.model.feeds import Column
from unpickled.server.quote import quoted


def is_column(values: Any) -> bool:
    """Whether an object has a value for each of several rows."""
    if isinstance(values, np.ndarray):
        # One without dimensions is a single value.
        return values.ndim > 0
    several = isinstance(values, list | tuple)
    return several or is_pandas_column(values) or is_polars_column(values) or is_arrow_column(values)


def check_indexes(columns: Mapping[str, Any]) -> None:
    """InvalidInput where Series of pandas have different indexes: a DataFrame would align them by these."""
    series = {name: values for name, values in columns.items() if is_pandas_series(values)}
    first = next(iter(series), "")
    for name, values in series.items():
        index = series[first].index
        # Those of different lengths get a sentence about that.
        if len(values) == len(index) and not values.index.equals(index):
            sentence = f"feature {quoted(name)} has another index than {quoted(first)}"
            raise InvalidInput(f"{sentence}: give a DataFrame, or arrays", feature=name[:200])


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
