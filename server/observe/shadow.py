"""A version that answers a share of the requests a second time, for comparison only."""

import logging
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice, repeat
from random import random
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from unpickled.server.errors import InvalidInput
from unpickled.server.inference.prediction import Prediction
from unpickled.server.lifecycle.versions import Served
from unpickled.server.model.feeds import Feeds, Row
from unpickled.server.model.outputs import Label, Labels, Scores
from unpickled.server.model.session import Model
from unpickled.server.observe.counters import Block, Numbers
from unpickled.server.observe.source import Source
from unpickled.server.observe.values import FAR

logger = logging.getLogger("unpickled")

# The number of the first row, and the source of all (see Prediction.taken).
Taken = tuple[int, Source | None]
# Takes an answer of the shadow: its number and source, the answer, the shadow.
Add = Callable[[int, Source, Prediction, Served], None]
# The version that answered, rows, their answers and whether they are taken; the same for one row.
Offer = tuple[Served, Sequence[Row], Labels, Scores, Taken | None]
Case = tuple[Served, Row, Label, Sequence[float] | npt.NDArray[np.float64], Taken | None]

# (PAIR, model, version that answered, shadow, name of the class it answered); of a pair that is compared by
# numbers, only SAME and DIFFERENT.
PAIR = "shadow"
SAME, DIFFERENT, DISTANCE, BUCKETS = range(4)
# Histogram bucket bounds; no distance is above 1.
BOUNDS = (1e-6, 1e-4, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
SIZE = BUCKETS + len(BOUNDS)

# (NUMBERS, model, version that answered, shadow, target, *bounds of its absolute differences)
# Two histograms, of absolute and of relative differences: the counts of the buckets, one above the last bound
# too, and the sum.
NUMBERS = "shadow_numbers"
RELATIVE = (1e-9, 1e-6, 1e-4, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 10.0)

# (LOST, model, shadow)
LOST = "shadow_lost"
DROPPED, REFUSED = range(2)

# Seconds between two looks at the queue: polling costs requests nothing, a wake-up would.
_PAUSE = 0.05
# Seconds between two chunks, for requests that wait for the GIL.
_BREATH = 0.0001
# Rows compared at once: all of a comparison but the run itself holds the GIL.
_CHUNK = 256


class Shadow:
    """Compares a version with those that answer, off the path of requests.

    It takes ``share`` of the requests. A request that would make more than ``most_rows`` rows wait is
    dropped and counted, unless no other waits. The block's series count, per class answered, the rows to
    which both versions give the same label and another one, and the distances between the two answers, or
    for numbers the differences in each target; and they count the requests dropped and the rows that the
    shadow refuses or fails on. ``add`` gets its answers to rows that an intake has taken too.
    """

    name = "shadow"

    def __init__(
        self, served: Served, share: float, most_rows: int, block: Block, add: Add | None = None
    ) -> None:
        self._version = served.version
        self._share = share
        self._most_rows = most_rows
        self._waiting = 0
        self._offers: deque[Offer] = deque()
        self._lost = block.series((LOST, served.name, str(served.version)), 2)
        self._closing = threading.Event()
        self._add = add
        # Only the thread holds the model, and it ends with this object: nothing that it holds may lead back
        # here, as `add` does. It is no daemon: a daemon that is inside a run when the interpreter ends aborts
        # the process.
        arguments = (weakref.ref(self), self._closing, _Comparison(served, block, self._lost))
        threading.Thread(target=_work, args=arguments, name=f"shadow of {served.name}").start()

    def observe(self, served: Served, prediction: Prediction) -> None:
        """Queue the rows of a prediction of ``served``, and the answers to them."""
        if random() >= self._share or served.version == self._version:
            return
        rows = prediction.rows
        count = len(rows)
        if self._waiting and self._waiting + count > self._most_rows:
            self._lost[DROPPED] += 1.0
            return
        # No lock: see counters.py.
        self._waiting += count
        self._offers.append((served, rows, prediction.labels, prediction.scores, prediction.taken))

    def close(self) -> None:
        """Take no more requests; the thread ends after its present chunk and releases the model."""
        self._share = 0.0
        self._closing.set()

    def drain(self, comparison: "_Comparison") -> None:
        """Compare every row that waits."""
        cases = self._cases()
        while not _ends(self._closing, _BREATH) and (chunk := list(islice(cases, _CHUNK))):
            count = len(chunk)
            self._waiting -= count
            comparison.count(chunk, self._add)
        if next(cases, None) is not None:  # the thread ends in the middle of a request
            self._lost[DROPPED] += 1.0

    def drop(self) -> None:
        """Drop every request that waits."""
        count = len(self._offers)
        self._lost[DROPPED] += count
        self._offers.clear()

    def _cases(self) -> Iterator[Case]:
        while self._offers:
            primary, rows, labels, scores, taken = self._offers.popleft()
            if len(rows) == 1:
                yield primary, rows[0], labels[0], scores[0], taken
                continue
            for start in range(0, len(rows), _CHUNK):
                part = slice(start, start + _CHUNK)
                # By parts: converting a large array at once would hold the GIL for milliseconds.
                answers = _listed(labels[part]), _listed(scores[part])
                yield from zip(repeat(primary), rows[part], *answers, _each(taken, start), strict=False)


def _listed(values: Any) -> Any:
    return values.tolist() if isinstance(values, np.ndarray) else values


def _each(taken: Taken | None, start: int) -> Iterator[Taken | None]:
    """The number and the source of each row from ``start`` on."""
    if taken is None:
        return repeat(None)
    number, source = taken
    return ((number + row, source) for row in range(start, start + _CHUNK))


def _work(reference: "weakref.ref[Shadow]", closing: threading.Event, comparison: "_Comparison") -> None:
    while not _ends(closing, _PAUSE):
        shadow = reference()
        if shadow is None:
            return
        shadow.drain(comparison)
        # Not held while waiting.
        del shadow
    if shadow := reference():
        shadow.drop()


def _ends(closing: threading.Event, seconds: float) -> bool:
    """Wait, and return whether it is time to end."""
    return closing.wait(seconds) or not threading.main_thread().is_alive()


class _Comparison:
    """Runs the shadow on rows that other versions have answered, and counts the differences."""

    def __init__(self, served: Served, block: Block, lost: Numbers) -> None:
        self._served = served
        self._block = block
        self._lost = lost
        rows = list[served.model.signature.read_row]  # type: ignore[name-defined]
        # As a member of a struct: msgspec compiles the type of a struct once, any other at each call.
        self._rows: Any = msgspec.defstruct("Rows", [("rows", rows)], gc=False)
        self._pairs: weakref.WeakKeyDictionary[Model, _Pair] = weakref.WeakKeyDictionary()
        self._failed = False

    def count(self, chunk: Sequence[Case], add: Add | None) -> None:
        """Compare rows, which several versions may have answered; ``add`` gets the shadow's answers."""
        answered: dict[int, list[Case]] = {}
        for case in chunk:
            answered.setdefault(id(case[0]), []).append(case)
        for cases in answered.values():
            refused = len(cases)
            try:
                refused -= self._compare(cases, add)
            except Exception as error:
                self._complain(error)
            self._lost[REFUSED] += refused

    def _compare(self, cases: Sequence[Case], add: Add | None) -> int:
        """Compare rows that one version answered; returns how many of them the shadow answers too."""
        parts = self._accepted(cases)
        if not parts:
            return 0
        feeds = {name: np.concatenate([part[name] for _, part in parts]) for name in parts[0][1]}
        labels, scores = self._served.model.run(feeds)
        accepted = [case for part, _ in parts for case in part]
        # A caller would get an error in place of what is not finite.
        finite = np.flatnonzero(np.isfinite(scores).all(axis=1))
        accepted = [accepted[index] for index in finite.tolist()]
        answers = labels[finite].tolist(), scores[finite]
        self._pair(cases[0][0]).count(accepted, *answers)
        if add is not None:
            for number, source, prediction in _taken(accepted, *answers):
                add(number, source, prediction, self._served)
        return len(accepted)

    def _accepted(self, cases: Sequence[Case]) -> list[tuple[Sequence[Case], Feeds]]:
        """The cases whose rows the shadow takes; the refused ones are found by halving."""
        try:
            rows = msgspec.convert({"rows": [case[1] for case in cases]}, self._rows).rows
            return [(cases, self._served.model.signature.feeds(rows))]
        except (msgspec.ValidationError, InvalidInput):
            half = len(cases) // 2
            return (
                [*self._accepted(cases[:half]), *self._accepted(cases[half:])] if half else self._one(cases)
            )

    def _one(self, cases: Sequence[Case]) -> list[tuple[Sequence[Case], Feeds]]:
        """The case, if the rules in Python take its row: the compiled type knows no 1.0 among integers."""
        signature = self._served.model.signature
        try:
            return [(cases, signature.feeds([signature.check_read(cases[0][1], 0)]))]
        except InvalidInput:
            return []

    def _pair(self, primary: Served) -> "_Pair":
        if primary.model not in self._pairs:
            self._pairs[primary.model] = _Pair(primary, self._served, self._block)
        return self._pairs[primary.model]

    def _complain(self, error: Exception) -> None:
        if not self._failed:
            self._failed = True
            name = f"version {self._served.version} of {self._served.name}, as a shadow,"
            logger.error("%s fails; rows that it fails on count as refused", name, exc_info=error)


def _taken(
    cases: Sequence[Case], labels: Sequence[Label], scores: npt.NDArray[np.float64]
) -> Iterator[tuple[int, Source, Prediction]]:
    """The shadow's answers to the rows that an intake has taken, those with successive numbers together."""
    first = 0
    for after in range(1, len(cases) + 1):
        number, source = cases[first][4] or (0, None)
        if source is None:
            first = after
        elif after == len(cases) or not _continues(cases[after], number + after - first, source):
            part = slice(first, after)
            rows = [case[1] for case in cases[part]]
            yield number, source, Prediction(b"", 0.0, 0.0, rows, labels[part], scores[part])
            first = after


def _continues(case: Case, number: int, source: Source) -> bool:
    taken = case[4]
    return taken is not None and taken[0] == number and taken[1] is source


class _Pair:
    """Counts how the shadow's answers differ from those of one version, per class answered."""

    def __init__(self, primary: Served, shadow: Served, block: Block) -> None:
        outputs = primary.model.outputs
        self._places = outputs.places(0)
        self._compare, targets = outputs.comparison(shadow.model.outputs)
        key = (primary.name, str(primary.version), str(shadow.version))
        self._size = DISTANCE if targets else SIZE
        self._series = [block.series((PAIR, *key, name), self._size) for name in outputs.counted]
        self._targets = [
            (
                block.series((NUMBERS, *key, target, *map(str, bounds)), _room(bounds) + _room(RELATIVE)),
                bounds,
            )
            for target, bounds in targets.items()
        ]

    def count(self, cases: Sequence[Case], labels: Sequence[Label], scores: npt.NDArray[np.float64]) -> None:
        places = np.array([self._places[case[2]] for case in cases], np.intp)
        answered = [case[2] for case in cases], [case[3] for case in cases]
        differences = self._compare(*answered, labels, scores)
        counts = np.zeros((len(cases), self._size))
        row = np.arange(len(cases))
        counts[row, np.where(differences.agree, SAME, DIFFERENT)] = 1
        if differences.distances is not None:
            counts[:, DISTANCE] = differences.distances
            counts[row, BUCKETS + np.searchsorted(BOUNDS, differences.distances)] = 1
        for place in np.unique(places).tolist():
            _add(self._series[place], counts[places == place].sum(axis=0).tolist())
        if differences.absolute is not None and differences.relative is not None:
            self._count_numbers(differences.absolute, differences.relative)

    def _count_numbers(self, absolute: npt.NDArray[np.float64], relative: npt.NDArray[np.float64]) -> None:
        columns = zip(self._targets, absolute.T, relative.T, strict=True)
        for (series, bounds), absolute_column, relative_column in columns:
            _add(series, [*_histogram(absolute_column, bounds), *_histogram(relative_column, RELATIVE)])


def _room(bounds: Sequence[float]) -> int:
    """How many numbers a histogram with these bounds takes."""
    return len(bounds) + 2


def _histogram(values: npt.NDArray[np.float64], bounds: Sequence[float]) -> list[float]:
    """The counts of the buckets, the one above the last bound too, and the sum of all values.

    A value further out than FAR times the last bound is added up as if it were there.
    """
    counts = np.bincount(np.searchsorted(bounds, values), minlength=len(bounds) + 1)
    most = FAR * bounds[-1] if bounds else np.inf
    return [*counts.tolist(), float(np.minimum(values, most).sum())]


def _add(series: Numbers, counts: Sequence[float]) -> None:
    for index, count in enumerate(counts):
        series[index] += count
