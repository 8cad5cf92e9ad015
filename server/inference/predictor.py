"""From rows to labels and scores, and to the documents made of them: the same for every protocol."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from time import perf_counter
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from unpickled.server.errors import InferenceFailed, InvalidInput, TooManyRows
from unpickled.server.message.answer import Environ, dumps
from unpickled.server.model.session import Model
from unpickled.server.model.signature import Feeds, Row

Document = dict[str, Any]
Item = TypeVar("Item")

# One per row.
Labels = Sequence[Any] | npt.NDArray[Any]
# (rows, classes)
Scores = Sequence[Sequence[float]] | npt.NDArray[np.float64]
# The answer's headers, where it is not JSON.
Headers = tuple[tuple[str, str], ...] | None
# The answer's bytes; when decoding and running had ended; the rows, their labels and scores; headers. Bare,
# as server.answer.Answer is.
Outcome = tuple[bytes, float, float, Sequence[Row], Labels, Scores, Headers]
# What a protocol makes of a request's body and its WSGI environment; raises RequestError.
Predict = Callable[[bytes, Environ], Outcome]


# Rows taken between two looks at how many there may be.
_FEW = 4096


class Predictor:
    """Runs one model on rows that passed its signature's checks.

    ``kind`` is "probabilities", or for classifiers that have none, "scores"; ``names`` are the
    classes', in the order of the scores' columns.
    """

    def __init__(self, model: Model, max_rows: int) -> None:
        manifest = model.manifest
        self.model = model
        self.signature = model.signature
        self.kind = manifest.outputs.kind
        self.names = manifest.class_names
        self._max_rows = max_rows
        self._name = dict(zip(manifest.classes, manifest.class_names, strict=True))

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

    def run(self, rows: Sequence[Row]) -> tuple[float, float, list[Any], npt.NDArray[np.float64]]:
        """When decoding and running had ended, labels (rows,) and scores (rows, classes)."""
        decoded, ran, labels, scores = self.run_feeds(self.signature.feeds(rows))
        return decoded, ran, labels.tolist(), scores

    def run_feeds(self, feeds: Feeds) -> tuple[float, float, npt.NDArray[Any], npt.NDArray[np.float64]]:
        """The same of tensors. Raises InferenceFailed, also where an answer is not a number."""
        decoded = perf_counter()
        labels, scores = self.model.run(feeds)
        ran = perf_counter()
        if not np.isfinite(scores).all():
            refuse_not_finite(scores)
        return decoded, ran, labels, scores

    def named(self, labels: Iterable[Any]) -> list[str]:
        """What people call these labels."""
        return [self._name[label] for label in labels]

    def arrays(self, labels: Sequence[Any], scores: Scores) -> Document:
        """One document of arrays."""
        return {"prediction": labels, "predicted_class": self.named(labels), self.kind: scores}

    def records(self, labels: Sequence[Any], scores: npt.NDArray[np.float64]) -> list[Document]:
        """One document a row, its scores by class."""
        return [
            {
                "prediction": label,
                "predicted_class": name,
                self.kind: dict(zip(self.names, row, strict=True)),
            }
            for label, name, row in zip(labels, self.named(labels), scores.tolist(), strict=True)
        ]

    def predictions(self, rows: Sequence[Row]) -> Outcome:
        """{"predictions": records}."""
        decoded, ran, labels, scores = self.run(rows)
        content = dumps({"predictions": self.records(labels, scores)})
        return content, decoded, ran, rows, labels, scores, None


def refuse_not_finite(scores: npt.NDArray[np.float64]) -> None:
    """InferenceFailed if any score is not a number."""
    wrong = np.flatnonzero(~np.isfinite(scores).all(axis=1))
    if len(wrong):
        raise InferenceFailed(
            f"the model's answer to row {wrong[0]} is not a number: a feature of it is too large",
            row=int(wrong[0]),
        )
