"""The values that pass from a model to protocols, and from protocols to the routes that answer."""

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from unpickled.server.message.answer import JSON, Environ
from unpickled.server.message.ignored import naming
from unpickled.server.model.feeds import Row, Rows, Table
from unpickled.server.model.outputs import Labels, Scores

# The headers of an answer that is not plain JSON; None for one that is.
Headers = tuple[tuple[str, str], ...] | None

LabelsOf = TypeVar("LabelsOf", list[Any], npt.NDArray[Any])


class Prediction(msgspec.Struct, gc=False):
    """The answer to one request, and the values from which it was written.

    ``content`` is the answer's body; ``decoded`` and ``ran`` are the times of time.perf_counter() at
    which decoding and running ended; ``rows`` are in feature order, with one label and one row of
    scores each. ``headers`` is None where the answer is JSON.
    """

    content: bytes
    decoded: float
    ran: float
    rows: Sequence[Row]
    labels: Labels
    scores: Scores
    headers: Headers = None


class Run(msgspec.Struct, Generic[LabelsOf], gc=False):
    """One run of the graph: labels (rows,), scores (rows, classes) or (rows, targets).

    The times are those of Prediction.
    """

    labels: LabelsOf
    scores: npt.NDArray[np.float64]
    decoded: float
    ran: float

    def prediction(self, content: bytes, rows: Sequence[Row], headers: Headers = None) -> Prediction:
        """The prediction for ``rows`` whose answer is ``content``."""
        return Prediction(
            content, self.decoded, self.ran, rows, self.labels, self.scores, with_ignored(headers, rows)
        )


def with_ignored(headers: Headers, rows: Sequence[Row]) -> Headers:
    """These headers of an answer, and one with the columns that came with its rows and were not read."""
    if not isinstance(rows, Table | Rows) or not rows.ignored:
        return headers
    return (*(headers or (JSON,)), naming(rows.ignored))


# Answers a request in one protocol, from its body and its WSGI environment. Raises RequestError.
Predict = Callable[[bytes, Environ], Prediction]
