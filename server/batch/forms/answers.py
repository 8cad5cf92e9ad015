"""The answers of one model as columns of a table: those that the answer in CSV has, typed as in Arrow."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from unpickled.server.message.answer import OPTIONS, dumps
from unpickled.server.model.outputs import Labels, Outputs, Scores


class Answers:
    """Names and values of the columns.

    Args:
        outputs: The answers of the model.
        prefix: The beginning of each name, where columns of the table have such names themselves.

    Attributes:
        names: The names of the columns.
        types: "integer" (int64), "text" (str) or "number" (float64), for each column.
    """

    def __init__(self, outputs: Outputs, prefix: str = "") -> None:
        self._outputs = outputs
        self.names = [f"{prefix}{name}" for name in outputs.columns]
        self.types = [member.type for member in outputs.members for _ in member.entries or [member]]

    def columns(self, labels: Labels, scores: Scores) -> list[Any]:
        """One column (rows,) for each name: a list of texts, or an array of int64 or float64."""
        if not len(labels):
            return [[] for _ in self.names]
        arrays = self._outputs.arrays(labels, scores)
        columns: list[Any] = []
        for member in self._outputs.members:
            values = arrays[member.name]
            if member.type == "text":
                columns.append(list(values))
            else:
                numbers = np.asarray(values, np.int64 if member.type == "integer" else np.float64)
                columns += list(numbers.reshape(len(labels), -1).T)
        return columns

    def cells(self, labels: Labels, scores: Scores) -> list[Sequence[str]]:
        """The same as text, with the digits of an answer in CSV: the fewest that read back as the same."""
        return [
            values if kind == "text" else _digits(values)
            for kind, values in zip(self.types, self.columns(labels, scores), strict=True)
        ]


def _digits(values: Any) -> Sequence[str]:
    if not len(values):
        return []
    return dumps(np.ascontiguousarray(values), option=OPTIONS)[1:-1].decode().split(",")
