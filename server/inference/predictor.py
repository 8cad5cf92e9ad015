"""From rows to labels and scores, for every protocol."""

import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from time import perf_counter
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from unpickled.server.errors import InvalidInput, TooManyRows
from unpickled.server.inference import turn
from unpickled.server.inference.prediction import Prediction, Run
from unpickled.server.inference.writing import written
from unpickled.server.model.feeds import Feeds, Inside, Matrix, Row
from unpickled.server.model.outputs import refuse_not_finite
from unpickled.server.model.ranges import Ranges
from unpickled.server.model.session import Model
from unpickled.server.model.signature import Signature

Item = TypeVar("Item")

# How many items are read between two checks of their number.
_CHUNK = 1024
# Rows of which arrays are made at a time.
_PART = 1024


class Predictor:
    """Runs one model on rows that passed its signature's checks.

    Args:
        model: The model.
        max_rows: The most rows that one request may have.
        extra_columns: Whether columns that training did not have are ignored or refused.
        slice_rows: Rows that are run at a time: between two slices, other requests get their turn.
        ranges: Find the values outside the training range; without them, nobody looks.

    Attributes:
        model: The model.
        signature: Its features: what rows it takes.
        outputs: Its answers: how they are named and written.
        ranges: Its training ranges; None where no value lies outside.

    Example:
        >>> from pathlib import Path
        >>> from unpickled.server.model.session import load
        >>> predictor = Predictor(load(Path("models/iris/1/model.onnx").read_bytes()), max_rows=100)
        >>> predictor.run([(5.1, 3.5, 1.4, 0.2)]).labels
        [0]
    """

    def __init__(
        self,
        model: Model,
        max_rows: int,
        extra_columns: Literal["ignore", "refuse"] = "refuse",
        slice_rows: int = sys.maxsize,
        ranges: Ranges | None = None,
    ) -> None:
        self.model = model
        refusing = extra_columns == "refuse"
        self.signature = model.signature if refusing else Signature(model.manifest, extra_columns)
        self.outputs = model.outputs
        self.ranges = ranges or None
        self._max_rows = max_rows
        self._slice_rows = slice_rows

    def check_count(self, count: int) -> None:
        """Raise InvalidInput if there are no rows, TooManyRows if one request may not have so many."""
        if not count:
            raise InvalidInput("there are zero rows: send at least one")
        if count > self._max_rows:
            raise TooManyRows(
                f"{count} rows are more than one request may have ({self._max_rows}): split them",
                rows=count,
                limit=self._max_rows,
            )

    def check_bounded(self, count: int) -> None:
        """TooManyRows if one request may not have so many, of which more may still come."""
        if count > self._max_rows:
            raise TooManyRows(
                f"there are more rows than one request may have ({self._max_rows}): split them",
                limit=self._max_rows,
            )

    def bounded(self, items: Iterator[Item]) -> list[Item]:
        """All items, one per row; TooManyRows as soon as one request may not have that many."""
        rows: list[Item] = []
        while chunk := list(islice(items, _CHUNK)):
            turn.breathe()
            rows += chunk
            try:
                self.check_count(len(rows))
            except TooManyRows:
                self.check_count(len(rows) + sum(1 for _ in turn.paced(items)))
        return rows

    def run(self, rows: Sequence[Row]) -> Run[list[Any]]:
        """Run rows that passed the checks.

        Raises:
            OutsideTraining: A value is outside the training range, and such values are refused.
            InferenceFailed: The model fails, or a score is NaN or infinite.
        """
        return self.run_feeds(self._feeds(rows), rows).listed()

    def run_feeds(self, feeds: Feeds, rows: Sequence[Row], first: int = 0) -> Run[npt.NDArray[Any]]:
        """Run tensors; ``rows`` are the same values. The labels come as an array. Raises as ``run`` does.

        ``first`` is the number of the first row, by which errors and findings count.
        """
        outside = None
        if self.ranges is not None and not isinstance(rows, Inside):
            feeds, outside = self.ranges.admit(feeds, rows, turn.breathe, first)
        decoded = perf_counter()
        labels, scores = self._run_slices(feeds)
        ran = perf_counter()
        if not np.isfinite(scores).all():
            refuse_not_finite(scores, first)
        return Run(labels, scores, decoded, ran, outside)

    def _feeds(self, rows: Sequence[Row]) -> Feeds:
        if isinstance(rows, Matrix):
            return self.signature.matrix(rows.values)
        if len(rows) <= _PART:
            return self.signature.feeds(rows)
        starts = turn.paced(range(0, len(rows), _PART), 1)
        try:
            parts = [self.signature.feeds(rows[start : start + _PART]) for start in starts]
        except InvalidInput:
            # The error of a part counts rows from the part's beginning.
            return self.signature.feeds(rows)
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _run_slices(self, feeds: Feeds) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
        size, count = self._slice_rows, len(next(iter(feeds.values())))
        if count <= size:
            return self.model.run(feeds)
        parts = []
        for start in range(0, count, size):
            turn.breathe()
            parts.append(self.model.run({name: array[start : start + size] for name, array in feeds.items()}))
        labels, scores = zip(*parts, strict=True)
        return np.concatenate(labels), np.concatenate(scores)

    def predictions(self, rows: Sequence[Row]) -> Prediction:
        """The prediction whose answer is {"predictions": [record, ...]}."""
        run = self.run(rows)
        document = run.document({"predictions": self.outputs.records(run.labels, run.scores)})
        return run.prediction(written(document, run.scores.size), rows)
