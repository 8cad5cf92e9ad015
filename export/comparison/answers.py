"""The answers that a server would give to rows: those that its model takes, in the time that there is."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from unpickled.server.errors import RequestError
from unpickled.server.model.feeds import Column
from unpickled.server.model.session import Model

# Rows that are answered at once.
BLOCK = 1_000

Array = npt.NDArray[Any]
Columns = Mapping[str, Column]


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers to the first rows of a frame.

    Attributes:
        labels: (rows,): the labels, out of the classes of the manifest; of a regressor 0.
        scores: float64 (rows, classes) or (rows, targets).
        taken: (rows,): whether the model takes the row. The answers to the others mean nothing.
    """

    labels: Array
    scores: npt.NDArray[np.float64]
    taken: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.taken)

    def at(self, rows: slice | npt.NDArray[np.bool_]) -> "Answers":
        """The answers to some of the rows."""
        return Answers(self.labels[rows], self.scores[rows], self.taken[rows])


def answers(model: Model, frame: pd.DataFrame, seconds: float) -> Answers:
    """The model's answers to the first rows of a frame, as many blocks as can be begun in so many seconds.

    A row is not taken where the rules for requests refuse it, or a score of its answer is no finite number.
    """
    columns = {name: _column(frame[name]) for name in model.signature.names}
    blocks: list[Answers] = []
    end = time.monotonic() + seconds
    for start in range(0, len(frame), BLOCK):
        if blocks and time.monotonic() > end:
            break
        blocks.append(_block(model, _cut(columns, start, start + BLOCK), min(BLOCK, len(frame) - start)))
    return _joined(blocks)


def _column(column: pd.Series) -> Array:
    """The values of a feature as the signature takes them: of a text, None for a missing one."""
    if pd.api.types.is_numeric_dtype(column):
        numbers: Array = column.to_numpy()
        return numbers
    return np.array(
        [None if missing else text for text, missing in zip(column, column.isna(), strict=True)], object
    )


def _cut(columns: Columns, start: int, end: int) -> Columns:
    return {name: column[start:end] for name, column in columns.items()}


def _block(model: Model, columns: Columns, rows: int) -> Answers:
    """The answers to so many rows; where one of them is refused, each half is asked about."""
    try:
        labels, scores = model.run(model.signature.table(columns))
    except RequestError:
        if rows == 1:
            return _refused(model)
        half = rows // 2
        parts = (_cut(columns, 0, half), half), (_cut(columns, half, rows), rows - half)
        return _joined([_block(model, *part) for part in parts])
    return Answers(labels, scores, np.asarray(np.isfinite(scores).all(axis=1)))


def _refused(model: Model) -> Answers:
    width = len(model.manifest.classes or model.manifest.outputs.targets)
    label = np.array(model.manifest.classes[:1] or (0,))
    return Answers(label, np.zeros((1, width)), np.zeros(1, np.bool_))


def _joined(parts: list[Answers]) -> Answers:
    return Answers(
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.taken for part in parts]),
    )
