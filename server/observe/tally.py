"""What is counted of requests and models, and where each number stands.

A key begins with the kind of the series:

    ("answered", model, version, route, *class names)   BUCKETS + 1, PHASES, rows of each class
    ("failed", model, version, route, status)           BUCKETS + 1, seconds
    ("other", route, status)                            requests that no version answered
    ("load_failures", model, version)
    ("observer_failures", model, version, observer)
    ("loaded", model, version)   ("ready", model)   ("in_flight",)       gauges
    ("used", model, version, block)                 time.monotonic() when it was last seen loaded
    ("last", model, version, route, block)          time.perf_counter() when an answer of 200 ended last

What adds up from these (requests, rows, seconds in all) has no number of its own: a request of one
row touches six.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from time import perf_counter

from unpickled.server.inference.prediction import Prediction
from unpickled.server.model.outputs import Outputs
from unpickled.server.observe.counters import Block, Key, Numbers

# Upper bounds of the durations that are told apart, in seconds; what is longer has a bucket too.
BUCKETS = (50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 0.1, 0.25, 0.5,
           1.0, 2.5, 5.0, 10.0)  # fmt: skip
PHASES = ("read", "decode", "run", "encode")

# Kinds of series that end some time after their version, the second and third part of the key.
OF_VERSIONS = {"answered", "last", "failed", "shadow", "shadow_lost", "observer_failures"}
# Seconds for which they are told: Prometheus must have seen the last of them. Each process lets go of them
# later, so that all of it disappears at once: a sum that loses a part would look like a new beginning.
_TOLD, _KEPT = 3600.0, 7200.0

# Where things stand in "answered" and "failed".
PHASE = len(BUCKETS) + 1
CLASS = PHASE + len(PHASES)
SECONDS = len(BUCKETS) + 1

_READ, _DECODE, _RUN, _ENCODE = range(PHASE, CLASS)
_SHORT = BUCKETS[0]


class Tally:
    """What one version of a model answers on one route.

    ``route`` is a pattern ("/models/<name>/predict").
    """

    __slots__ = ("_block", "_count_rows", "_counts", "_failed", "_key", "_last", "_places")

    def __init__(self, block: Block, model: str, version: int, route: str, outputs: Outputs) -> None:
        self._block = block
        self._key = (model, str(version), route)
        self._counts = block.series(("answered", *self._key, *outputs.counted), CLASS + len(outputs.counted))
        self._last = block.series(("last", *self._key, str(block.number)), 1)
        self._places = outputs.places(CLASS)
        self._count_rows = outputs.count
        self._failed: dict[int, Numbers] = {}

    def answered(self, started: float, read: float, prediction: Prediction) -> float:
        """Count an answer of status 200.

        Args:
            started: When the request began, in seconds of time.perf_counter().
            read: When its body had been read.
            prediction: The answer; its labels are counted by class.

        Returns:
            When the answer ended.
        """
        ended = perf_counter()
        decoded, ran, labels = prediction.decoded, prediction.ran, prediction.labels
        elapsed = ended - started
        self._last[0] = ended
        counts = self._counts
        # Most take the first, and asking first saves a tenth of all this.
        counts[0 if elapsed <= _SHORT else bisect_left(BUCKETS, elapsed)] += 1.0
        counts[_READ] += read - started
        counts[_DECODE] += decoded - read
        counts[_RUN] += ran - decoded
        counts[_ENCODE] += ended - ran
        if len(labels) == 1:
            counts[self._places[labels[0]]] += 1.0
        else:
            self._count_rows(labels, self._places, counts)
        return ended

    def failed(self, status: int, started: float) -> None:
        """Count an answer of another status, which began at ``started``."""
        elapsed = perf_counter() - started
        counts = self._failed.get(status)
        if counts is None:
            counts = self._block.series(("failed", *self._key, str(status)), SECONDS + 1)
            self._failed[status] = counts
        counts[bisect_left(BUCKETS, elapsed)] += 1.0
        counts[SECONDS] += elapsed

    def observer_failed(self, name: str) -> None:
        """Count an exception of an observer, which cost no request anything."""
        self._block.series(("observer_failures", *self._key[:2], name), 1)[0] += 1.0


def count_other(block: Block, route: str, status: int) -> None:
    """A request that no version answered."""
    block.series(("other", route, str(status)), 1)[0] += 1.0


def load_failed(block: Block, model: str, version: int) -> None:
    """A version that was to be loaded and could not be."""
    block.series(("load_failures", model, str(version)), 1)[0] += 1.0


def set_loaded(block: Block, model: str, version: int, loaded: bool) -> None:
    """Whether this process has a version loaded."""
    key = ("loaded", model, str(version))
    if loaded:
        block.series(key, 1, gauge=True)[0] = 1.0
    else:
        block.forget(key)


def set_used(block: Block, model: str, version: int, now: float) -> None:
    """A version has been seen loaded at ``now``, in seconds of time.monotonic(), which processes share."""
    block.series(("used", model, str(version), str(block.number)), 1)[0] = now


def outdated(found: Mapping[Key, Sequence[float]], now: float) -> set[tuple[str, ...]]:
    """(model, version) of those that nobody has loaded, nor has had for an hour."""
    used: dict[tuple[str, ...], float] = {}
    for key, (last, *_) in found.items():
        if key[0] == "used" and ("loaded", *key[1:3]) not in found:
            used[key[1:3]] = max(last, used.get(key[1:3], last))
    return {version for version, last in used.items() if now - last > _TOLD}


def forget_outdated(block: Block, now: float) -> None:
    """Let go of the series of versions that this process has not seen loaded for two hours."""
    known = block.keys()
    ended = {key[1:3] for key in known if key[0] == "used" and now - block.series(key, 1)[0] > _KEPT}
    ended -= {key[1:3] for key in known if key[0] == "loaded"}
    for key in known:
        if key[1:3] in ended and key[0] in {"used", *OF_VERSIONS}:
            block.forget(key)


def set_ready(block: Block, model: str, ready: bool) -> None:
    """Whether this process serves a model as it should."""
    block.series(("ready", model), 1, gauge=True)[0] = float(ready)
