"""The values that pass from a model to protocols, and from protocols to the routes that answer."""

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from unpickled.server.message.answer import JSON, Environ
from unpickled.server.message.columns import IGNORED, OUTSIDE, naming
from unpickled.server.model.feeds import Row, Rows, Table
from unpickled.server.model.outputs import Labels, Scores
from unpickled.server.model.outside import Outside

# The headers of an answer that is not plain JSON; None for one that is.
Headers = tuple[tuple[str, str], ...] | None

# The headers of an answer that is plain JSON.
_PLAIN = (JSON,)
# The rows that may have come with columns that were not read.
_TABLES = (Table, Rows)

LabelsOf = TypeVar("LabelsOf", list[Any], npt.NDArray[Any])


class Prediction(msgspec.Struct, gc=False):
    """The answer to one request, and the values from which it was written.

    ``content`` is the answer's body; ``decoded`` and ``ran`` are the times of time.perf_counter() at
    which decoding and running ended; ``rows`` are in feature order, with one label and one row of
    scores each, as they were sent: others may have been run where values lie ``outside`` the training range.
    ``headers`` is None where the answer is JSON. Where observers need it, ``taken`` is the number that an
    intake gave the first row, and their Source; None in place of that where the intake had no room
    (observe/intake.py).
    """

    content: bytes
    decoded: float
    ran: float
    rows: Sequence[Row]
    labels: Labels
    scores: Scores
    headers: Headers = None
    outside: Outside | None = None
    taken: tuple[int, Any] | None = None

    def beyond(self, rows: Sequence[Row], outside: Outside | None) -> "Prediction":
        """The same prediction, for rows that were sent and perhaps clipped; its content says nothing.

        No column of the rows was left unread.
        """
        if outside is not None:
            self.rows, self.outside = rows, outside
            header = naming(OUTSIDE, outside.features)
            self.headers = (JSON, header) if self.headers is None else (*self.headers, header)
        return self

    def noted(self) -> "Prediction":
        """The same prediction; an answer that is a JSON object says what is outside the training range."""
        if self.outside is not None:
            self.content = self.outside.appended(self.content)
        return self


class Run(msgspec.Struct, Generic[LabelsOf], gc=False):
    """One run of the graph: labels (rows,), scores (rows, classes) or (rows, targets).

    The times and ``outside`` are those of Prediction.
    """

    labels: LabelsOf
    scores: npt.NDArray[np.float64]
    decoded: float
    ran: float
    outside: Outside | None = None

    def prediction(self, content: bytes, rows: Sequence[Row], headers: Headers = None) -> Prediction:
        """The prediction for ``rows`` whose answer is ``content``."""
        headers = annotated(headers, rows, self.outside)
        return Prediction(
            content, self.decoded, self.ran, rows, self.labels, self.scores, headers, self.outside
        )

    def listed(self) -> "Run[list[Any]]":
        """The same run with its labels as a list."""
        labels = self.labels.tolist() if isinstance(self.labels, np.ndarray) else self.labels
        return Run(labels, self.scores, self.decoded, self.ran, self.outside)

    def document(self, members: dict[str, Any]) -> dict[str, Any]:
        """The document of an answer with these members, and what is outside the training range."""
        return members if self.outside is None else members | self.outside.members


def annotated(headers: Headers, rows: Sequence[Row], outside: Outside | None) -> Headers:
    """These headers of an answer, and those that name columns of its request.

    One is for the columns that were not read, the other for those with values outside the training range.
    """
    if isinstance(rows, _TABLES) and rows.ignored:
        headers = (*(headers or (JSON,)), naming(IGNORED, tuple(rows.ignored)))
    return headers if outside is None else (*(headers or _PLAIN), naming(OUTSIDE, outside.features))


# Answers a request in one protocol, from its body and its WSGI environment. Raises RequestError.
Predict = Callable[[bytes, Environ], Prediction]
