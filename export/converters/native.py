"""The columns that histogram gradient boosting sees: codes in the place of its native categories."""

from typing import Any

from sklearn.preprocessing import OrdinalEncoder

from unpickled.export import categories
from unpickled.export.converters import encoders
from unpickled.export.graph import Columns, Graph


def columns(graph: Graph, model: Any, raw: Columns) -> Columns:
    """The ``raw`` columns as the trees see them: the codes of the categories, then the numbers."""
    if not categories.is_native(model):
        return raw
    of_categories, of_numbers = categories.inputs(model)
    encode = encoders.CONVERTERS[OrdinalEncoder]
    codes = encode(graph, categories.encoder(model), tuple(raw[i] for i in of_categories))
    return codes + tuple(raw[i] for i in of_numbers)
