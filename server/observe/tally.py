"""Counts of requests and models, and the layout of their series in the shared memory.

The key of a series begins with its kind:

    ("answered", model, version, route, *class names)   BUCKETS + 1, PHASES, rows of each class
    ("failed", model, version, route, status)           BUCKETS + 1, seconds
    ("predicted", ...)                                  numbers of a regressor: see values.py
    ("taken", model, version)                           rows by their fate: see intake.py
    ("prediction_numbers", block)                       see ids.py
    ("intake_failures", consumer)
    ("logged", model, version) ...                      see logged.py
    ("other", route, status)                            requests that no version answered
    ("lost", model, loss)                               requests that were not run: see admission.py
    ("load_failures", model, version)
    ("truth", model, status)                        reports of what turned out to be true
    ("observer_failures", model, version, observer)
    ("outside", model, version, feature)                rows with a value of it outside the training range
    ("loaded", model, version)   ("ready", model)   ("in_flight",)       gauges
    ("worker_ready", block)   ("workers_waiting",)                       gauges
    ("worker_exits", cause)
    ("used", model, version, block)                 time.monotonic() when it was last seen loaded
    ("last", model, version, route, block)          time.perf_counter() when an answer of 200 ended last

Sums of these (requests, rows, seconds in all) are not stored: a request of one row adds to six numbers.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import NamedTuple

from unpickled.server.inference.prediction import Prediction
from unpickled.server.model.outputs import Outputs
from unpickled.server.observe.counters import Block, Key, Numbers

# Histogram bucket bounds in seconds; there is an overflow bucket after the last.
BUCKETS = (50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 0.1, 0.25, 0.5,
           1.0, 2.5, 5.0, 10.0)  # fmt: skip
OUTSIDE = "outside"
PHASES = ("read", "queue", "decode", "run", "encode")

# Kinds of series that end some time after their version, which the second and third part of the key name.
OF_VERSIONS = {
    "answered", "last", "failed", "predicted", "shadow", "shadow_numbers", "shadow_lost", "observer_failures",
    "taken", "logged", "logged_shadow", "log_written", "outside",
}  # fmt: skip
# How long an unloaded version stays in /metrics, in seconds. Workers free their own series later still: if
# one freed first, the sum would fall and Prometheus would see a counter reset.
_EXPOSED, _KEPT = 3600.0, 7200.0

# Offsets of numbers in "answered" and "failed" series; Answered and Failed give them names.
PHASE = len(BUCKETS) + 1
CLASS = PHASE + len(PHASES)
SECONDS = len(BUCKETS) + 1

_READ, _QUEUE, _DECODE, _RUN, _ENCODE = range(PHASE, CLASS)
_SHORT = BUCKETS[0]


class Answered(NamedTuple):
    """The numbers of one "answered" series, or of several added up."""

    # Requests by duration.
    buckets: Sequence[float]
    # Seconds, in the order of PHASES.
    phases: Sequence[float]
    # Rows, in the order of the classes.
    classes: Sequence[float]

    @classmethod
    def of(cls, numbers: Sequence[float]) -> "Answered":
        return cls(numbers[:PHASE], numbers[PHASE:CLASS], numbers[CLASS:])

    @staticmethod
    def size(classes: int) -> int:
        """How many numbers a series has."""
        return CLASS + classes


class Failed(NamedTuple):
    """The numbers of one "failed" series, or of several added up."""

    # Requests by duration.
    buckets: Sequence[float]
    # Durations of all requests, added up.
    seconds: float

    @classmethod
    def of(cls, numbers: Sequence[float]) -> "Failed":
        return cls(numbers[:SECONDS], numbers[SECONDS])

    @staticmethod
    def size() -> int:
        """How many numbers a series has."""
        return SECONDS + 1


class Tally:
    """Counts the answers of one version on one route.

    ``route`` is a pattern ("/models/<name>/predict").
    """

    __slots__ = ("_block", "_count_rows", "_counts", "_failed", "_key", "_last", "_places")

    def __init__(self, block: Block, model: str, version: int, route: str, outputs: Outputs) -> None:
        self._block = block
        self._key = (model, str(version), route)
        self._counts = block.series(
            ("answered", *self._key, *outputs.counted), Answered.size(len(outputs.counted))
        )
        self._last = block.series(("last", *self._key, str(block.number)), 1)
        self._places = outputs.places(CLASS)
        self._count_rows = outputs.count
        self._failed: dict[int, Numbers] = {}

    def answered(self, started: float, read: float, prediction: Prediction, waited: float = 0.0) -> float:
        """Count an answer of status 200.

        Args:
            started: When the request began, in seconds of time.perf_counter().
            read: When its body had been read.
            prediction: The answer; its labels are counted by class.
            waited: Seconds for which it waited for its turn between ``read`` and its end.

        Returns:
            When the answer ended.
        """
        ended = perf_counter()
        decoded, ran, labels = prediction.decoded, prediction.ran, prediction.labels
        elapsed = ended - started
        self._last[0] = ended
        counts = self._counts
        # Most requests fall into the first bucket; testing it first saves 10 % of this method.
        counts[0 if elapsed <= _SHORT else bisect_left(BUCKETS, elapsed)] += 1.0
        counts[_READ] += read - started
        run_began = decoded
        if waited:
            counts[_QUEUE] += waited
            # It waits before it is decoded, then perhaps between the slices of its run.
            before = min(waited, decoded - read)
            read += before
            run_began += waited - before
        counts[_DECODE] += decoded - read
        counts[_RUN] += ran - run_began
        counts[_ENCODE] += ended - ran
        if len(labels) == 1:
            counts[self._places[labels[0]]] += 1.0
        else:
            self._count_rows(labels, self._places, counts)
        return ended

    def failed(self, status: int, started: float) -> None:
        """Count an answer of another status than 200, to a request that began at ``started``."""
        elapsed = perf_counter() - started
        counts = self._failed.get(status)
        if counts is None:
            counts = self._block.series(("failed", *self._key, str(status)), Failed.size())
            self._failed[status] = counts
        counts[bisect_left(BUCKETS, elapsed)] += 1.0
        counts[SECONDS] += elapsed

    def observer_failed(self, name: str) -> None:
        """Count an exception of the observer ``name``."""
        self._block.series(("observer_failures", *self._key[:2], name), 1)[0] += 1.0


class OutsideTally:
    """Counts rows with values outside the training range of one version, by feature."""

    def __init__(self, block: Block, model: str, version: int) -> None:
        self._block = block
        self._key = (OUTSIDE, model, str(version))
        self._counts: dict[str, Numbers] = {}

    def count(self, feature: str, rows: int) -> None:
        """Add this number of rows."""
        try:
            self._counts[feature][0] += rows
        except KeyError:
            counts = self._counts[feature] = self._block.series((*self._key, feature), 1)
            counts[0] += rows


def answers(block: Block) -> dict[str, float]:
    """The rows that this process has answered, by model."""
    rows: dict[str, float] = {}
    for key, counts in block.of_kind("answered"):
        rows[key[1]] = rows.get(key[1], 0.0) + sum(counts[CLASS:])
    return rows


def count_other(block: Block, route: str, status: int) -> None:
    """Count a request that no version answered."""
    block.series(("other", route, str(status)), 1)[0] += 1.0


def count_lost(block: Block, model: str, loss: str) -> None:
    """Count a request that was refused because of the load, or because its time was over."""
    block.series(("lost", model, loss), 1)[0] += 1.0


def load_failed(block: Block, model: str, version: int) -> None:
    """Count a version that failed to load."""
    block.series(("load_failures", model, str(version)), 1)[0] += 1.0


def set_loaded(block: Block, model: str, version: int, loaded: bool) -> None:
    """Publish whether this process has a version loaded."""
    key = ("loaded", model, str(version))
    if loaded:
        block.series(key, 1, gauge=True)[0] = 1.0
    else:
        block.forget(key)


def set_used(block: Block, model: str, version: int, now: float) -> None:
    """Note that a version is loaded at ``now``, in seconds of time.monotonic(), a clock for all processes."""
    block.series(("used", model, str(version), str(block.number)), 1)[0] = now


def outdated(series: Mapping[Key, Sequence[float]], now: float) -> set[tuple[str, ...]]:
    """(model, version) of each version that no process has had loaded for an hour."""
    last_used: dict[tuple[str, ...], float] = {}
    for key, (moment, *_) in series.items():
        if key[0] == "used" and ("loaded", *key[1:3]) not in series:
            last_used[key[1:3]] = max(moment, last_used.get(key[1:3], moment))
    return {version for version, moment in last_used.items() if now - moment > _EXPOSED}


def forget_outdated(block: Block, now: float) -> None:
    """Forget the series of versions that this process has not had loaded for two hours."""
    keys = block.keys()
    ended = {key[1:3] for key in keys if key[0] == "used" and now - block.series(key, 1)[0] > _KEPT}
    ended -= {key[1:3] for key in keys if key[0] == "loaded"}
    for key in keys:
        if key[1:3] in ended and key[0] in {"used", *OF_VERSIONS}:
            block.forget(key)


def set_ready(block: Block, model: str, ready: bool) -> None:
    """Publish whether this process serves a model."""
    block.series(("ready", model), 1, gauge=True)[0] = float(ready)


def forget_ready(block: Block, model: str) -> None:
    """End what this process has published of a model that it knows no more."""
    block.forget(("ready", model))


def worker_readiness(block: Block) -> Numbers:
    """One number: 1.0 while this process is ready to answer."""
    return block.series(("worker_ready", str(block.number)), 1, gauge=True)


def set_waiting(block: Block, workers: int) -> None:
    """Publish how many workers wait to be started again."""
    block.series(("workers_waiting",), 1, gauge=True)[0] = float(workers)


def worker_exited(block: Block, cause: str) -> None:
    """Count a worker that ended while the server did not."""
    block.series(("worker_exits", cause), 1)[0] += 1.0
