"""The converter for DateParts: the arithmetic of its own file, as nodes."""

from typing import Any

from unpickled.export.converters.numbers import Converter, clipped, number_type, scalar
from unpickled.export.dates import Arithmetic, DateParts, parts
from unpickled.export.graph import Columns, Graph, Tensor
from unpickled.server.model.dates import FIRST, LAST


def _parts(graph: Graph, transformer: DateParts, columns: Columns) -> Columns:
    number_type(columns)
    x = clipped(graph, graph.matrix(columns, "float64"), scalar(graph, FIRST), scalar(graph, LAST))
    by_name = parts(x, _arithmetic(graph))
    return tuple(
        column
        for name in transformer.parts
        for column in Tensor(by_name[name], "float64", len(columns)).columns()
    )


def _arithmetic(graph: Graph) -> Arithmetic[str]:
    def constant(op: str, x: str, number: float) -> str:
        return graph.add(op, x, scalar(graph, number))

    return Arithmetic(
        floored=lambda x, divisor: graph.add("Floor", constant("Div", x, divisor)),
        scaled=lambda x, factor: constant("Mul", x, factor),
        moved=lambda x, number: constant("Add", x, number),
        plus=lambda x, y: graph.add("Add", x, y),
        minus=lambda x, y: graph.add("Sub", x, y),
    )


def jumps(transformer: Any) -> bool:
    """Whether it is one whose answer jumps at midnight and at the full hour."""
    return isinstance(transformer, DateParts)


CONVERTERS: dict[type, Converter] = {DateParts: _parts}
