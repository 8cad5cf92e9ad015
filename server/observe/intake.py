"""The predictions of one worker on their way to what works off the request's path.

A request puts its prediction into a bounded queue, together with the number that its Prediction-Id shows. A
thread takes what waits some times a second and passes it on, a few hundred rows at a time, to consumers: the
counts of drift, the predictions that wait for truth, the payload log. source.py says how rows are counted.
"""

import logging
import threading
import time
import weakref
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

from unpickled.server.inference.prediction import Prediction
from unpickled.server.lifecycle.versions import Served
from unpickled.server.observe import ids
from unpickled.server.observe.counters import Block
from unpickled.server.observe.lot import (
    Answer,
    Lot,
    Several,
    Single,
    lots_of_several,
    lots_of_single,
    rows_of,
)
from unpickled.server.observe.source import CONSUMED_ROWS, DROPPED_ROWS, LOST_ROWS, SIZE, TAKEN, Source
from unpickled.server.observe.tally import Answered

logger = logging.getLogger("unpickled")

# Requests that may wait, and rows of requests with several, unless a single one has more.
MOST_ROWS = 20_000
# Seconds between two looks at the queue: polling costs requests nothing, a wake-up would. The longer one is
# for a server that nobody asks, in which polling would be most of its work.
_PAUSE, _IDLE_PAUSE = 0.05, 0.2
# Looks that find nothing before the pauses are long.
_EMPTY_LOOKS = 40
# Seconds between two lots, for requests that wait for the interpreter.
_BREATH = 0.0001
# Answers that are taken out of the queue at once: the more there are, the more of them share a lot.
_CHUNK = 2048
# Seconds for which a request waits for room at most, where it is to wait; and between two looks for room.
_LONGEST, _LOOK = 10.0, 0.002


class Consumer(Protocol):
    """Works on predictions in the thread of an intake."""

    @property
    def name(self) -> str:
        """Names the consumer in the log and in the counters."""

    def consume(self, lot: Lot) -> None:
        """Work on up to a few hundred rows; it holds the interpreter, so a millisecond at most."""

    def rest(self) -> None:
        """Called some times a second, when everything that waited is consumed."""

    def close(self) -> None:
        """Called once, after the last rows."""


# Puts an answer into the queue: (prediction, when it ended by perf_counter()) -> the header with its id.
Take = Callable[[Prediction, float], tuple[tuple[str, str], ...]]


class Intake:
    """Takes the predictions of one worker.

    Args:
        block: Counts the rows, and names the worker in ids.
        consumers: They get the rows, in this order.
        waits: Whether requests wait for room in the queue; otherwise their rows are dropped and counted.
        shows_ids: Whether answers have a Prediction-Id.
    """

    def __init__(
        self, block: Block, consumers: Sequence[Consumer], waits: bool = False, shows_ids: bool = True
    ) -> None:
        self._prefix = ids.prefix(block) if shows_ids else ""
        self._block = block
        self._consumers = consumers
        self._waits = waits
        # Rows of the requests in the queue of those that have several.
        self._many = 0
        self._empty_looks = 0
        self._singles: deque[Single] = deque()
        self._several: deque[Several] = deque()
        self._failing: set[str] = set()
        self._closing = threading.Event()
        self._taker, self._next = self._numbered(ids.first(block))
        _settle(block)

    def start(self) -> None:
        """Consume from now on, until this object is released or the process ends; then what waits, too."""
        # No daemon: what waits when the process ends is consumed first.
        arguments = (weakref.ref(self), self._closing)
        threading.Thread(target=_work, args=arguments, name="intake").start()
        weakref.finalize(self, self._closing.set).atexit = False

    def taker(self, source: Source, marks: bool = False) -> Take:
        """The function that takes the answers of a version on a route; it is called on the request's path.

        With ``marks`` it notes in each prediction the number, and the source unless it is dropped.
        """
        return self._taker(source, marks)

    def identity(self, number: int) -> tuple[tuple[str, str], ...]:
        """The headers of the answer whose first row has this number."""
        return ((ids.HEADER, f"{self._prefix}{number}"),) if self._prefix else ()

    def _numbered(self, first: int) -> tuple[Callable[[Source, bool], Take], Callable[[], int]]:
        """The functions that take answers, numbered from ``first`` on, and one that tells the next number.

        They are closures: each attribute that is not looked up saves a request 0.03 us.
        """
        number = first
        singles, several, has_room, prefix = self._singles, self._several, self._has_room, self._prefix
        append = singles.append

        def taker(source: Source, marks: bool) -> Take:
            def take(prediction: Prediction, ended: float) -> tuple[tuple[str, str], ...]:
                nonlocal number
                labels = prediction.labels
                count = len(labels)
                # No lock: see counters.py.
                this = number
                number = this + count
                if (count == 1 and len(singles) < MOST_ROWS) or has_room(source, count):
                    if count == 1 and type(labels) is tuple:
                        # From Model.run_row, whose scores are a tuple of numbers.
                        scores = prediction.scores[0]
                        append((this, ended, source, prediction.rows[0], labels[0], scores))  # type: ignore[arg-type]
                    else:
                        several.append((this, ended, source, prediction, None))
                    if marks:
                        prediction.taken = this, source
                elif marks:
                    prediction.taken = this, None
                return ((ids.HEADER, f"{prefix}{this}"),) if prefix else ()

            return take

        return taker, lambda: number

    def add(self, number: int, source: Source, prediction: Prediction, shadow: Served) -> None:
        """Put what a shadow answered to the rows with these numbers into the queue, or drop it."""
        if len(self._several) < MOST_ROWS and self._many < MOST_ROWS:
            if len(prediction.labels) > 1:
                self._many += len(prediction.labels)
            self._several.append((number, time.perf_counter(), source, prediction, shadow))

    @property
    def pause(self) -> float:
        """Seconds until the next look at the queue."""
        return _IDLE_PAUSE if self._empty_looks > _EMPTY_LOOKS else _PAUSE

    def drain(self) -> None:
        """Pass on everything that waits."""
        self._empty_looks = 0 if self._singles or self._several else self._empty_looks + 1
        offset = time.time() - time.perf_counter()
        ids.note(self._block, self._next())
        for singles in _taken(self._singles):
            self._consume(lots_of_single(singles, offset))
        for several in _taken(self._several):
            self._consume(lots_of_several(several, offset))
            passed = sum(rows for rows in map(rows_of, several) if rows > 1)
            # A value and no call: see counters.py.
            self._many -= passed
        for consumer in self._consumers:
            self._attempt(consumer, consumer.rest)

    def close(self) -> None:
        """Pass on what waits, and close the consumers."""
        self.drain()
        for consumer in self._consumers:
            self._attempt(consumer, consumer.close)

    def _has_room(self, source: Source, count: int) -> bool:
        """Whether these rows may go into the queue; those that may not are counted. Perhaps it waits."""
        until = time.monotonic() + (_LONGEST if self._waits else 0.0)
        queue = self._singles if count == 1 else self._several
        while len(queue) >= MOST_ROWS or (self._many and self._many + count > MOST_ROWS):
            if time.monotonic() >= until:
                source.counts[DROPPED_ROWS] += count
                return False
            time.sleep(_LOOK)
        if count > 1:
            self._many += count
        return True

    def _consume(self, lots: Iterable[Lot]) -> None:
        for lot in lots:
            for consumer in self._consumers:
                self._attempt(consumer, partial(consumer.consume, lot))
            if lot.shadow is None:
                lot.source.counts[CONSUMED_ROWS] += len(lot)
            time.sleep(_BREATH)

    def _attempt(self, consumer: Consumer, act: Any) -> None:
        try:
            act()
        except Exception as error:
            if consumer.name not in self._failing:
                self._failing.add(consumer.name)
                logger.error("%s fails; requests go on without it", consumer.name, exc_info=error)
            self._block.series(("intake_failures", consumer.name), 1)[0] += 1.0


def _taken(queue: deque[Answer]) -> Iterator[Sequence[Answer]]:
    """The answers that wait now, some at a time.

    Those that come meanwhile are left for the next time, so that the consumers get their rest.
    """
    left = len(queue)
    while left:
        answers = [queue.popleft() for _ in range(min(left, _CHUNK))]
        left -= len(answers)
        yield answers


def _settle(block: Block) -> None:
    """Count the rows that were in the queue of the worker that had the block before."""
    answered: defaultdict[tuple[str, ...], float] = defaultdict(float)
    for key in block.keys():  # noqa: SIM118 - a method of blocks
        if key[0] == "answered":
            counts = block.series(key, Answered.size(len(key) - 4))
            answered[key[1:3]] += sum(Answered.of(counts).classes)
    for version, rows in answered.items():
        counts = block.series((TAKEN, *version), SIZE)
        counts[LOST_ROWS] += max(0.0, rows - sum(counts))


def _work(reference: "weakref.ref[Intake]", closing: threading.Event) -> None:
    pause = _PAUSE
    while not closing.wait(pause) and threading.main_thread().is_alive():
        intake = reference()
        if intake is None:
            return
        intake.drain()
        pause = intake.pause
        # Not held while waiting.
        del intake
    if intake := reference():
        intake.close()
