"""The outcomes of the rows that two versions have answered, each its own: those of an A/B test.

A metric is ``accuracy``, or ``mean:`` and a truth column: the name of a target of a regressor, the name of a
class, for the share of rows that turned out to be it, or ``truth`` where truths are numbers.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from unpickled.server.accuracy.classes import ClassCounts
from unpickled.server.accuracy.pairs import Sums
from unpickled.server.errors import ServingError
from unpickled.server.judge.exposed import CHOSEN
from unpickled.server.lifecycle.versions import Served
from unpickled.server.model.classification import Classification
from unpickled.server.model.outputs import Outputs
from unpickled.server.model.regression import Regression
from unpickled.server.payloads import reading
from unpickled.server.payloads.reading import Batch
from unpickled.server.payloads.schema import BATCH
from unpickled.server.quote import hint, listed, quoted
from unpickled.server.truth import store
from unpickled.server.truth.lookup import Lookup
from unpickled.server.truth.values import truths_of

ACCURACY, MEAN, TRUTH = "accuracy", "mean:", "truth"
_ABSURD = 1e100

# Labels (rows,) and truths (rows,) -> the number of each row, None where it has none.
_Values = Callable[[Sequence[Any], Sequence[Any]], list[float | None]]


class Metric(NamedTuple):
    """The way from labels and truths to numbers; ``binary`` says that these are all 0 or 1."""

    values: _Values
    binary: bool


class Outcome(NamedTuple):
    """The rows of one version.

    Attributes:
        version: Its number.
        requests: The requests that it has answered.
        rows: The rows of these.
        sums: The numbers of those whose truth is known.
        binary: Whether these are all 0 or 1.
    """

    version: int
    requests: int
    rows: int
    sums: Sums
    binary: bool


def outcomes(folder: Path, versions: Sequence[Served], metric: str, since: float) -> list[Outcome]:
    """The outcome of each version.

    Args:
        folder: That of the payload log.
        versions: The versions, all of one model.
        metric: See above.
        since: Rows that were answered from then on, in seconds since 1970.

    Raises:
        ServingError: There is no such metric, or a file of the log cannot be read.
    """
    model = versions[0].name
    lookup = Lookup(store.read(folder, model))
    counts = {
        (served.version, served.sha256): _Counts(metric_of(served.model.outputs, metric))
        for served in versions
    }
    files = [file for _, file in counts]
    for batch in reading.read(folder, model, since, columns=(), files=files):
        version = batch.schema.version, batch.schema.sha256
        # A job chooses the version of its rows, too.
        route = str(batch.column("route")[0])
        if version in counts and route != BATCH and not any(part in route for part in CHOSEN):
            counts[version].add(batch, lookup)
    return [each.outcome(number) for (number, _), each in counts.items()]


def metric_of(outputs: Outputs, metric: str) -> Metric:
    """The metric of that name; ServingError where a model has no such one."""
    choices = _of_targets(outputs) if isinstance(outputs, Regression) else _of_classes(outputs)
    if metric not in choices:
        names = list(choices)
        raise ServingError(
            f"--metric is {quoted(metric)}: {hint(metric, names)}this model has {listed(names, 10)}"
        )
    return choices[metric]


def _of_targets(outputs: Regression) -> dict[str, Metric]:
    targets = {f"{MEAN}{name}": place for place, name in enumerate(outputs.targets)}
    if len(targets) == 1:
        targets |= {f"{MEAN}{TRUTH}": 0}
    return {name: Metric(_target(outputs, place), False) for name, place in targets.items()}


def _of_classes(outputs: Outputs) -> dict[str, Metric]:
    assert isinstance(outputs, Classification)
    numbers = (
        {}
        if any(isinstance(label, str) for label in outputs.classes)
        else {f"{MEAN}{TRUTH}": Metric(_number, False)}
    )
    shares = {
        f"{MEAN}{name}": Metric(_share(outputs, place), True) for place, name in enumerate(outputs.names)
    }
    return {ACCURACY: Metric(_right(outputs), True)} | numbers | shares


def _right(outputs: Classification) -> _Values:
    board = ClassCounts(outputs)

    def right(labels: Sequence[Any], truths: Sequence[Any]) -> list[float | None]:
        return [float(hit) for hit in board.places(truths) == board.places_answered(labels)]

    return right


def _share(outputs: Classification, place: int) -> _Values:
    board = ClassCounts(outputs)
    return lambda _, truths: [float(hit) for hit in board.places(truths) == place]


def _target(outputs: Regression, place: int) -> _Values:
    reader = truths_of(outputs)

    def number(_: Sequence[Any], truths: Sequence[Any]) -> list[float | None]:
        several = [reader.comparable(truth) for truth in truths]
        numbers: list[float | None] = [each[place] if isinstance(each, list) else each for each in several]
        return numbers

    return number


def _number(_: Sequence[Any], truths: Sequence[Any]) -> list[float | None]:
    return [float(truth) if isinstance(truth, int | float) else None for truth in truths]


class _Counts:
    """The counts of one version while its rows are read."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._rows = self._requests = 0
        self._numbers: list[np.ndarray[Any, np.dtype[np.float64]]] = []

    def add(self, batch: Batch, lookup: Lookup) -> None:
        """Count the rows of a batch that clients have got."""
        answered = batch.answered
        ids = batch.column("prediction_id")[answered]
        found = lookup.find(ids.tolist())
        self._rows += len(ids)
        # The rows of a request are answered at one moment.
        self._requests += len(np.unique(batch.column("time")[answered]))
        labels = batch.labels[answered][found.mask].tolist()
        numbers = self._metric.values(labels, found.truths)
        self._numbers.append(np.array([each for each in numbers if _is_sane(each)], np.float64))

    def outcome(self, version: int) -> Outcome:
        """The outcome of all that was added."""
        numbers = np.concatenate([np.zeros(0), *self._numbers])
        sums = Sums(float(len(numbers)), float(numbers.sum()), float((numbers**2).sum()))
        return Outcome(version, self._requests, self._rows, sums, self._metric.binary)


def _is_sane(number: float | None) -> bool:
    """Whether a number can be squared and added up; an absurd one would spoil the mean for good."""
    return number is not None and abs(number) < _ABSURD
