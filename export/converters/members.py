"""The answers of a classifier inside another one, as the outer converter computes with them.

Every converter of a composed classifier takes (graph, fitted classifier, columns, classify) and returns a
ClassifierOutput; ``classify`` writes the classifiers inside.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from unpickled.export.errors import NoGraph
from unpickled.export.graph import ClassifierOutput, Columns, Graph, OptionalColumns, Tensor

Classify = Callable[[Any, OptionalColumns], ClassifierOutput]
Converter = Callable[[Graph, Any, OptionalColumns, Classify], ClassifierOutput]


def double(graph: Graph, output: ClassifierOutput, tensor: str) -> str:
    """A tensor of this output, in float64."""
    return tensor if output.dtype == "float64" else graph.cast(tensor, "float64")


def probabilities(graph: Graph, output: ClassifierOutput) -> str:
    """The probabilities (rows, classes); NoGraph for a classifier that has none."""
    if output.probabilities is None:
        raise NoGraph("a classifier inside has no probabilities", "use one that has predict_proba")
    return double(graph, output, output.probabilities)


def decision(graph: Graph, member: Any, output: ClassifierOutput) -> str:
    """The decision scores (rows, classes) of a member that has a decision_function."""
    if output.decision is None:
        raise NoGraph(
            f"the decision scores of the {type(member).__name__} inside have no graph",
            "use a linear classifier or a forest there",
        )
    return double(graph, output, output.decision)


def response(graph: Graph, member: Any, output: ClassifierOutput, prefer: str = "decision") -> Columns:
    """The columns of the preferred scores, or of the other ones; of two classes, the second only."""
    decides = prefer == "decision" or output.probabilities is None
    if decides and hasattr(member, "decision_function"):
        tensor = decision(graph, member, output)
    else:
        tensor = probabilities(graph, output)
    columns = Tensor(tensor, "float64", output.classes).columns()
    return columns[1:] if output.classes == 2 else columns


def index(graph: Graph, member: Any, output: ClassifierOutput, classes: int) -> str:
    """The predicted class, int64 (rows,), of a member that was fitted on the numbers below ``classes``."""
    if not np.array_equal(member.classes_, np.arange(classes)):
        raise NoGraph(
            f"the {type(member).__name__} inside was fitted on other labels", "fit it inside, not beforehand"
        )
    chosen = output.winner or output.label
    assert chosen is not None
    return chosen


def column(graph: Graph, tensor: str, position: int) -> str:
    """One column of a tensor (rows, width) as (rows,)."""
    return graph.add("Gather", tensor, graph.constant(np.array(position, np.int64)), axis=1)


def upright(graph: Graph, tensor: str) -> str:
    """(rows,) as (rows, 1)."""
    return graph.add("Unsqueeze", tensor, graph.constant(np.array([1], np.int64)))


def above(graph: Graph, scores: str, threshold: float) -> str:
    """Whether each score (rows,) lies above the threshold, as int64."""
    return graph.cast(graph.add("Greater", scores, graph.constant(np.array(threshold))), "int64")


def height(graph: Graph, columns: OptionalColumns) -> str:
    """The number of rows, int64 (1,)."""
    first = next(column for column in columns if column is not None)
    return graph.add("Shape", first.tensor.name, start=0, end=1)
