"""Answers the rows of a table and refuses those that the model does not take, each with its reason.

A request over HTTP is answered as a whole or refused as a whole. In a file or a stream, one wrong row is no
reason to leave out the others.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from unpickled.server.errors import InferenceFailed, InvalidInput, RequestError
from unpickled.server.inference.prediction import Run
from unpickled.server.inference.predictor import Predictor
from unpickled.server.model.feeds import Column, Rows
from unpickled.server.model.outside import Outside

# Rows that are checked and run at a time.
_PART = 4096

Columns = Mapping[str, Column]


class Refused(NamedTuple):
    """A row that is not answered: its number in the table, and the error that says why."""

    row: int
    error: RequestError


class Scored(NamedTuple):
    """The answers to the rows of a table.

    Attributes:
        rows: The numbers of the rows that are answered, ascending (answered,), int64.
        labels: Their labels (answered,).
        scores: Their scores (answered, classes) or (answered, targets), float64.
        refused: The other rows, ascending.
        outside: The values of answered rows that lie outside the training range, by runs that had any.
    """

    rows: npt.NDArray[np.int64]
    labels: npt.NDArray[Any]
    scores: npt.NDArray[np.float64]
    refused: list[Refused]
    outside: list[Outside]


class Scorer:
    """Scores tables with one version. Any thread may call it.

    Args:
        predictor: Runs the version, under the policy for values outside the training range. Its limit of rows
            does not apply.

    Example:
        >>> from pathlib import Path
        >>> from unpickled.server.model.session import load
        >>> model = load(Path("models/iris/1/model.onnx").read_bytes())
        >>> scorer = Scorer(Predictor(model, max_rows=1))
        >>> columns = {name: [5.1, None] for name in model.signature.names}
        >>> scored = scorer.score(columns)
        >>> scored.rows.tolist(), scored.labels.tolist(), [each.row for each in scored.refused]
        ([0], [2], [1])
    """

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self._signature = predictor.signature
        self._names = predictor.signature.names

    def score(self, columns: Columns, first: int = 0) -> Scored:
        """Answer the rows that the model takes.

        Args:
            columns: One column (rows,) per feature, as ``Signature.table`` takes them.
            first: The number of the first row, by which errors and findings count; numbers in the result do
                too.

        Raises:
            InvalidInput: The columns are not those of the model, or differ in length.
            InferenceFailed: The graph fails on a row for another reason than its values.
        """
        self._signature.check_names(columns)
        parts: list[tuple[int, Run[npt.NDArray[Any]]]] = []
        refused: list[Refused] = []
        count = len(columns[self._names[0]])
        for start in range(0, count, _PART):
            parts += self._answered(columns, first, start, min(start + _PART, count), refused)
        runs = [run for _, run in parts]
        return Scored(
            _joined([_numbers(begin, run) for begin, run in parts], np.empty(0, np.int64)),
            _joined([run.labels for run in runs], np.empty(0, np.object_)),
            _joined([run.scores for run in runs], np.empty((0, len(self.predictor.outputs.names)))),
            refused,
            [run.outside for run in runs if run.outside is not None],
        )

    def _answered(
        self, columns: Columns, first: int, start: int, end: int, refused: list[Refused]
    ) -> Iterator[tuple[int, Run[npt.NDArray[Any]]]]:
        """The runs of these rows; a part that is refused is halved until each refused row stands alone."""
        try:
            yield first + start, self._run(columns, first, start, end)
        except (InvalidInput, InferenceFailed) as error:
            if "row" not in error.details:
                raise
            if end - start == 1:
                refused.append(Refused(first + start, error))
                return
            middle = (start + end) // 2
            yield from self._answered(columns, first, start, middle, refused)
            yield from self._answered(columns, first, middle, end, refused)

    def _run(self, columns: Columns, first: int, start: int, end: int) -> Run[npt.NDArray[Any]]:
        part = {name: columns[name][start:end] for name in self._names}
        rows = Rows([part[name] for name in self._names])
        try:
            feeds = self._signature.table(part)
        except InvalidInput:
            if end - start == 1:
                # The same error, with the number that the row has in the table.
                self._signature.check_read(rows[0], first + start)
            raise
        return self.predictor.run_feeds(feeds, rows, first + start)


def _joined(arrays: list[npt.NDArray[Any]], none: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.concatenate(arrays) if arrays else none


def _numbers(begin: int, run: Run[npt.NDArray[Any]]) -> npt.NDArray[np.int64]:
    return np.arange(begin, begin + len(run.labels), dtype=np.int64)
