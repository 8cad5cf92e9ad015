"""Numbers in the columns of a transformer: their precision, and NumPy's arithmetic in it.

Every converter of a transformer takes (graph, fitted transformer, input columns) and returns the output
columns. It repeats the arithmetic of the transformer, operation by operation and in its precision, so that
a tree behind it compares exactly the numbers that it would compare in scikit-learn. A converter that
cannot, because NumPy and ONNX Runtime differ in the last digit, is listed as rounding in its file.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from unpickled.export.errors import NoGraph
from unpickled.export.graph import Array, Column, Columns, Dtype, Graph, Tensor

Converter = Callable[[Graph, Any, Columns], Columns]


def number_type(columns: Columns) -> Dtype:
    """The precision in which scikit-learn computes with these columns; NoGraph if some are text."""
    if any(column.dtype == "string" for column in columns):
        raise NoGraph("it needs numbers, but gets text columns")
    return "float32" if all(column.dtype == "float32" for column in columns) else "float64"


def promoted(graph: Graph, columns: Columns) -> Columns:
    """The columns as those of one array, which has one precision: float64 unless all are float32."""
    if all(column.dtype == "float32" for column in columns):
        return columns
    return tuple(
        _cast(graph, column, "float64") if column.dtype == "float32" else column for column in columns
    )


def narrowed(graph: Graph, column: Column) -> Column:
    """The column in float32, as the pipeline gets it."""
    return _cast(graph, column, "float32")


def weighted(graph: Graph, columns: Columns, weight: float) -> Columns:
    """The columns times a number, which a plain number leaves in their precision."""
    dtype: Dtype = "float64" if isinstance(weight, np.float64) else number_type(columns)
    product = graph.add("Mul", graph.matrix(columns, dtype), scalar(graph, float(weight), dtype))
    return Tensor(product, dtype, len(columns)).columns()


def _cast(graph: Graph, column: Column, dtype: Dtype) -> Column:
    tensor = column.tensor
    return replace(column, tensor=Tensor(graph.cast(tensor.name, dtype), dtype, tensor.width))


def in_place(graph: Graph, op: str, x: str, dtype: Dtype, constant: Array) -> str:
    """``x op= constant`` as in NumPy: computed in the wider type, then rounded to the type of x."""
    if dtype == "float64" or constant.dtype == np.float32:
        return graph.add(op, x, graph.constant(constant.astype(dtype)))
    wide = graph.add(op, graph.cast(x, "float64"), graph.constant(constant))
    return graph.cast(wide, dtype)


def scalar(graph: Graph, number: float, dtype: Dtype = "float64") -> str:
    """The name of a constant without dimensions."""
    return graph.constant(np.array(number, dtype))


def clipped(graph: Graph, x: str, low: str, high: str) -> str:
    """The numbers of x between two constants; Clip may lose a NaN, which NumPy's clip keeps."""
    return graph.add("Where", graph.add("IsNaN", x), x, graph.add("Clip", x, low, high))


def total(graph: Graph, x: str, axis: int, keepdims: int = 1) -> str:
    """The sum over one axis."""
    return graph.add("ReduceSum", x, graph.constant(np.array([axis], np.int64)), keepdims=keepdims)


def rounded(graph: Graph, x: str, columns: Columns, width: int | None = None) -> Columns:
    """Columns of a float64 tensor, rounded to the precision of the columns that it was computed from."""
    dtype = number_type(columns)
    name = x if dtype == "float64" else graph.cast(x, dtype)
    return Tensor(name, dtype, len(columns) if width is None else width).columns()
