"""The kind of an object with rows, told without importing the library that it is of."""

import sys
from typing import Any


def is_of(rows: Any, library: str, *names: str) -> bool:
    """Whether an object is of one of these types of a library, which need not be installed.

    Example:
        >>> is_of([1.0], "pandas", "DataFrame")
        False
    """
    module = sys.modules.get(library)
    # While another thread is importing it, it may lack a type.
    return module is not None and isinstance(rows, tuple(getattr(module, name, ()) for name in names))


def is_pandas_frame(rows: Any) -> bool:
    """Whether it is a DataFrame of pandas."""
    return is_of(rows, "pandas", "DataFrame")


def is_pandas_column(rows: Any) -> bool:
    """Whether it is a Series or an Index of pandas."""
    return is_of(rows, "pandas", "Series", "Index")


def is_polars_frame(rows: Any) -> bool:
    """Whether it is a DataFrame of polars."""
    return is_of(rows, "polars", "DataFrame")


def is_polars_column(rows: Any) -> bool:
    """Whether it is a Series of polars."""
    return is_of(rows, "polars", "Series")


def is_arrow_column(rows: Any) -> bool:
    """Whether it is an array of pyarrow, in one piece or in several."""
    return is_of(rows, "pyarrow", "Array", "ChunkedArray")


def is_pandas_series(rows: Any) -> bool:
    """Whether it is a Series of pandas."""
    return is_of(rows, "pandas", "Series")


def is_table(rows: Any) -> bool:
    """Whether it is a table of Arrow, of whatever library: pyarrow, DuckDB, nanoarrow ..."""
    offered = hasattr(rows, "__arrow_c_stream__")
    return offered and not (is_pandas_column(rows) or is_polars_column(rows) or is_arrow_column(rows))


def remedy(rows: Any) -> str:
    """A clause about an object that holds rows and is not read; empty where nothing is known of it."""
    if is_of(rows, "polars", "LazyFrame"):
        return "call collect() first, or "
    if is_pandas_column(rows) or is_polars_column(rows) or is_arrow_column(rows):
        return "a column has no names; "
    return "call toarray() first, or " if hasattr(rows, "toarray") else ""
