"""The columns that histogram gradient boosting sees: its native categories become codes and sides of sets."""

from typing import Any

import numpy as np
from sklearn.preprocessing import OrdinalEncoder

from unpickled.export import categories
from unpickled.export.graph import Array, Column, Columns, Graph, Tensor
from unpickled.export.recipes import encoders


def columns(graph: Graph, model: Any, columns: Columns) -> Columns:
    """The columns as the trees see them: codes of categories, numbers, and one column for each set."""
    if not categories.is_native(model):
        return columns
    of_categories, of_numbers = categories.inputs(model)
    encode = encoders.RECIPES[OrdinalEncoder]
    codes = encode(graph, categories.encoder(model), tuple(columns[i] for i in of_categories))
    sets, split = categories.category_sets(model), []
    for position, code in enumerate(codes):
        tables = [categories.sides(bits) for i, bits in sets if i == position]
        if tables:
            split.append(_looked_up(graph, code, np.stack(tables, axis=1)))
    numbers = tuple(columns[i] for i in of_numbers)
    return codes + numbers + tuple(column for tensor in split for column in tensor.columns())


def _looked_up(graph: Graph, code: Column, tables: Array) -> Tensor:
    """(rows, tables): for each row the line of its code, or the first line if the code is NaN."""
    x = graph.matrix((code,))
    missing = graph.constant(np.array(-1.0))
    place = graph.add("Where", graph.add("IsNaN", x), missing, x)
    line = graph.cast(graph.add("Add", place, graph.constant(np.array([1.0]))), "int64")
    flat = graph.add("Reshape", line, graph.constant(np.array([-1], np.int64)))
    return Tensor(graph.add("Gather", graph.constant(tables), flat, axis=0), "float64", tables.shape[1])
