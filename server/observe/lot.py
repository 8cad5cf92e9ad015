"""Answered rows of one version and one route, side by side, as an intake passes them on.

Requests of one row each, which most are, become columns a few hundred at a time: a consumer that works on
columns takes a tenth of the time of one that is called for each request.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeVar

import numpy as np

from unpickled.server.inference.prediction import Prediction
from unpickled.server.lifecycle.versions import Served
from unpickled.server.model.feeds import Row
from unpickled.server.observe.source import Source

# The most rows of a lot.
MOST = 256


# The answer to one row in the queue of an intake: its number in ids; when it was answered, in seconds of
# time.perf_counter(); its source, values, label and scores, as Python values. A tuple with names would cost a
# request 0.2 us more. The rest of the prediction is freed at once: an object that waits leaves the cache
# of the processor, and costs as much again when it is visited.
Single = tuple[int, float, Source, Row, Any, Sequence[float]]
# Any other answer: the number of its first row, which the others follow; when it was answered; its source;
# itself; the version that answered out of sight, None for what the client got.
Several = tuple[int, float, Source, Prediction, Served | None]
Answer = TypeVar("Answer", Single, Several)


@dataclass(frozen=True, slots=True)
class Lot:
    """Up to MOST rows of one source and the answers to them, as Python values.

    Attributes:
        source: The version and the route that answered.
        shadow: The version that answered out of sight; None for what clients got.
        numbers: The number in the id of each row.
        times: When each was answered, in seconds since 1970.
        rows: Each in feature order.
        labels: One label per row.
        scores: One row of scores per row.
        requests: Per row the numbers of all rows of its request, for a shadow's those that it ran together;
            None where each row is alone, so that it costs such rows nothing.
    """

    source: Source
    shadow: Served | None
    numbers: Sequence[int]
    times: Sequence[float]
    rows: Sequence[Row]
    labels: Sequence[Any]
    scores: Sequence[Sequence[float]]
    requests: Sequence[range] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def answering(self) -> Served:
        """The version whose answers these are."""
        return self.shadow or self.source.served


def lots_of_single(answers: Sequence[Single], offset: float) -> Iterator[Lot]:
    """The rows by source, those of one source in their order.

    ``offset``, added to a time of time.perf_counter(), gives the seconds since 1970.
    """
    for group in _groups(answers, [id(answer[2]) for answer in answers]):
        for start in range(0, len(group), MOST):
            columns = zip(*group[start : start + MOST], strict=True)
            numbers, ended, (source, *_), rows, labels, scores = columns
            yield Lot(source, None, numbers, [moment + offset for moment in ended], rows, labels, scores)


def lots_of_several(answers: Sequence[Several], offset: float) -> Iterator[Lot]:
    """The rows of answers of any size by source; no answer shares a lot with a larger one."""
    for group in _groups(answers, [(id(answer[2]), id(answer[4])) for answer in answers]):
        yield from _of_group(group, offset)


def rows_of(answer: Several) -> int:
    """How many rows an answer is for."""
    return len(answer[3].labels)


def _groups(answers: Sequence[Answer], keys: Sequence[object]) -> Iterable[Sequence[Answer]]:
    """The answers with the same key, by key; each has one."""
    if len(set(keys)) == 1:
        # Most likely, and so a copy less.
        return [answers]
    groups: dict[object, list[Answer]] = {}
    for key, answer in zip(keys, answers, strict=True):
        groups.setdefault(key, []).append(answer)
    return groups.values()


def _of_group(answers: Sequence[Several], offset: float) -> Iterator[Lot]:
    joined: list[Lot] = []
    rows = 0
    for answer in answers:
        count = rows_of(answer)
        if joined and rows + count > MOST:
            yield _joined(joined)
            joined, rows = [], 0
        if count > MOST:
            yield from _parts(answer, offset)
        else:
            joined += _parts(answer, offset)
            rows += count
    if joined:
        yield _joined(joined)


def _parts(answer: Several, offset: float) -> Iterator[Lot]:
    number, ended, source, prediction, shadow = answer
    request = range(number, number + len(prediction.labels))
    for start in range(0, len(prediction.labels), MOST):
        part = slice(start, start + MOST)
        # By parts: converting a large array at once would hold the interpreter for milliseconds.
        labels, scores = _listed(prediction.labels[part]), _listed(prediction.scores[part])
        numbers = range(number + start, number + start + len(labels))
        times = [ended + offset] * len(labels)
        requests = [request] * len(labels)
        yield Lot(source, shadow, numbers, times, prediction.rows[part], labels, scores, requests)


def _joined(parts: Sequence[Lot]) -> Lot:
    """One lot of the rows of several from one source."""
    if len(parts) == 1:
        return parts[0]
    columns = ("numbers", "times", "rows", "labels", "scores", "requests")
    joined = [list(chain.from_iterable(getattr(part, name) for part in parts)) for name in columns]
    return Lot(parts[0].source, parts[0].shadow, *joined)


def _listed(values: Any) -> Any:
    return values.tolist() if isinstance(values, np.ndarray) else values
