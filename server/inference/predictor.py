"""From rows to labels and scores: the same for every protocol."""

from collections.abc import Iterator, Sequence
from itertools import islice
from time import perf_counter
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from unpickled.server.errors import InvalidInput, TooManyRows
from unpickled.server.inference.prediction import Prediction, Run
from unpickled.server.message.answer import dumps
from unpickled.server.model.feeds import Feeds, Row
from unpickled.server.model.outputs import refuse_not_finite
from unpickled.server.model.session import Model

Item = TypeVar("Item")

# Rows taken between two looks at how many there may be.
_FEW = 4096


class Predictor:
    """Runs one model on rows that passed its signature's checks."""

    def __init__(self, model: Model, max_rows: int) -> None:
        self.model = model
        self.signature = model.signature
        self.outputs = model.outputs
        self._max_rows = max_rows

    def check_count(self, count: int) -> None:
        """InvalidInput where there are no rows, TooManyRows where one request may not have so many."""
        if not count:
            raise InvalidInput("there are zero rows: send at least one")
        if count > self._max_rows:
            raise TooManyRows(
                f"{count} rows are more than one request may have ({self._max_rows}): split them",
                rows=count,
                limit=self._max_rows,
            )

    def bounded(self, items: Iterator[Item]) -> list[Item]:
        """All of them, one per row; TooManyRows before many more are kept than there may be."""
        kept: list[Item] = []
        while few := list(islice(items, _FEW)):
            kept += few
            try:
                self.check_count(len(kept))
            except TooManyRows:
                self.check_count(len(kept) + sum(1 for _ in items))
        return kept

    def run(self, rows: Sequence[Row]) -> Run[list[Any]]:
        """Run rows that passed the checks; raises InferenceFailed, also where a score is not a number."""
        run = self.run_feeds(self.signature.feeds(rows))
        return Run(run.labels.tolist(), run.scores, run.decoded, run.ran)

    def run_feeds(self, feeds: Feeds) -> Run[npt.NDArray[Any]]:
        """The same for tensors, with the labels as an array."""
        decoded = perf_counter()
        labels, scores = self.model.run(feeds)
        ran = perf_counter()
        if not np.isfinite(scores).all():
            refuse_not_finite(scores)
        return Run(labels, scores, decoded, ran)

    def predictions(self, rows: Sequence[Row]) -> Prediction:
        """{"predictions": records}."""
        run = self.run(rows)
        return run.prediction(dumps({"predictions": self.outputs.records(run.labels, run.scores)}), rows)
