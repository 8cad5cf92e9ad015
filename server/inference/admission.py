"""Admission: some requests of this process compute now, others wait for their turn, and some are refused.

A brief request to a fast model never comes here. Any other takes a turn, in one of two lanes: single rows,
and batches, behind which no row ever waits. Each lane has as many turns as there are processors: more would
only slow each other down, and what answers and refuses the others. A batch is run in slices; where others
wait, it gives its turn up after some of them (turn.py). In each lane, the models get equal shares of the
processors, and a short batch may overtake a long one.

The estimated time of what waits is bounded. A queue that has not been empty for a while is no burst but an
overload: it is then kept so short that requests which it takes are answered about as fast as on a quiet day.
The others are refused at once, and may ask another server.
"""

import math
import threading
from collections.abc import Callable
from time import perf_counter
from typing import Literal, Protocol

from unpickled.server.errors import DeadlineExceeded, Overloaded
from unpickled.server.inference.lane import Lane
from unpickled.server.inference.turn import PATIENCE, Turn
from unpickled.server.inference.waiting import Waiting
from unpickled.server.inference.work import Work
from unpickled.server.model.session import RUNS

Loss = Literal["shed", "expired", "abandoned"]

# In an overload, a batch and a single row wait for at most so many times their own work, or seconds if that
# is longer. With fewer times, processors would idle. Batches take long, so that their clients may give up.
# Where a few clients ask without a pause, somebody always waits, though never for long.
_TIMES, _SHORT = (3.0, 6.0), 20e-3


class Departed(Protocol):
    """Tells whether a client has gone."""

    def __call__(self, started: float, read: float, peer: str) -> bool:
        """Whether nobody waits for the answer to a request, for certain.

        ``started`` and ``read`` are the times of perf_counter() at which the request was first seen, and its
        body was there; ``peer`` is the address of its client.
        """


class Admission:
    """Admits the work of one process.

    Args:
        cores: Processors that this process may use.
        longest: Seconds that work may wait.
        most: Requests that may wait in a lane: each takes a thread.
        count: Counts the requests of a model that were refused.
        departed: Tells whether a client has gone; without it, all are taken to be there.
    """

    def __init__(
        self,
        cores: float,
        longest: float,
        most: int,
        count: Callable[[str, Loss], None],
        departed: Departed | None = None,
    ) -> None:
        self._cores = cores
        self._longest = longest
        self._most = most
        self._count = count
        self.departed = departed
        self._lock = threading.Lock()
        turns = max(1, math.ceil(cores))
        # The lane of batches, and that of single rows.
        self._lanes = Lane[Turn](turns), Lane[Turn](turns)
        # Held by the turn that is alone; and a place for each that may wait for that. They are few, as each
        # takes a thread, and the one before may take seconds.
        self.solitude, self._next = threading.Lock(), threading.Semaphore(max(1, most // 4))

    @property
    def waiting(self) -> int:
        """How many requests wait for their turn."""
        return sum(lane.waiting.count for lane in self._lanes)

    @property
    def load(self) -> tuple[int, float]:
        """How many turns are held, and the estimated seconds of all work that is held or waits."""
        return sum(len(lane.held) for lane in self._lanes), round(
            sum(lane.seconds for lane in self._lanes), 9
        )

    def turn(self, work: Work) -> Turn:
        """A turn for a request, to be entered; Overloaded or DeadlineExceeded if that would be in vain."""
        self.check(work)
        return Turn(self, work)

    def check(self, work: Work) -> None:
        """Raise what ``turn`` would raise, before the body of a request is read."""
        with self._lock:
            self._refuse_if_late(work, perf_counter())

    def enter(self, turn: Turn) -> None:
        """Wait until a turn may compute."""
        with self._lock:
            lane = self._lanes[turn.work.single]
            turn.counted = turn.left
            lane.count(turn.counted)
            if lane.is_free:
                self._hold(lane, turn)
                return
            lane.waiting.add(turn)
        self._wait(lane, turn)

    def seclude(self, turn: Turn) -> None:
        """Wait until no other turn is alone; Overloaded, DeadlineExceeded if that takes too long."""
        seconds = min(turn.work.deadline - perf_counter(), self._longest)
        if self._next.acquire(blocking=False):
            try:
                if self.solitude.acquire(timeout=max(0.0, seconds)):
                    return
            finally:
                self._next.release()
            self.check_time(turn)
        self._count(turn.work.model, "shed")
        raise Overloaded(
            "other large requests are being read here, in forms that take much memory: ask again",
            headers={"Retry-After": "1"},
        )

    def leave(self, turn: Turn, used: float) -> None:
        """End a turn that has used so many seconds of a processor, and give it to the next."""
        with self._lock:
            lane = self._lanes[turn.work.single]
            turn.held = 0.0
            lane.held.discard(turn)
            lane.count(-turn.counted)
            lane.note(used, perf_counter())
            # Another thread may have ended a run of this one.
            RUNS.allow(turn.thread)
            if following := lane.next():
                self._hold(lane, following)
                following.gate.release()

    def is_waited_for(self, turn: Turn) -> bool:
        """Whether others wait for a turn that is held."""
        return self._lanes[turn.work.single].waiting.count > 0

    def check_time(self, turn: Turn, left: float = 0.0) -> None:
        """DeadlineExceeded where the time is over in ``left`` seconds, Overloaded without a client."""
        work = turn.work
        if perf_counter() + left > work.deadline:
            raise self.expired(work.model)
        if self._has_gone(turn):
            self._count(work.model, "abandoned")
            raise Overloaded(
                "the client of this request has gone: it is not run", headers={"Retry-After": "1"}
            )

    def expired(self, model: str) -> DeadlineExceeded:
        """The error of a request whose time is too short, which is counted."""
        self._count(model, "expired")
        return DeadlineExceeded(
            "the request cannot be answered in its time: allow it more (Request-Timeout, in milliseconds), "
            "send fewer rows, or ask another server"
        )

    def end_overdue(self) -> None:
        """End the runs of requests whose time is over."""
        now = perf_counter()
        with self._lock:
            for lane in self._lanes:
                for turn in lane.held:
                    if now > turn.work.deadline:
                        RUNS.end(turn.thread)

    def _has_gone(self, turn: Turn) -> bool:
        now = perf_counter()
        if self.departed is None or not turn.work.read or turn.waited <= PATIENCE:
            return False
        if now - turn.looked < PATIENCE:
            return False
        turn.looked = now
        return self.departed(turn.work.started, turn.work.read, turn.work.peer)

    def _hold(self, lane: Lane[Turn], turn: Turn) -> None:
        turn.held = perf_counter()
        lane.held.add(turn)

    def _wait(self, lane: Lane[Turn], turn: Turn) -> None:
        deadline = turn.work.deadline
        # threading takes no longer timeout.
        seconds = (
            -1 if math.isinf(deadline) else min(max(0.0, deadline - perf_counter()), threading.TIMEOUT_MAX)
        )
        if not turn.gate.acquire(timeout=seconds):
            with self._lock:
                if not turn.held:
                    lane.waiting.remove(turn)
                    lane.count(-turn.counted)
                    raise self.expired(turn.model)
            turn.gate.acquire()

    def _refuse_if_late(self, work: Work, now: float) -> None:
        lane, ahead = self._lanes[work.single], self._ahead(work, now)
        if now + ahead + work.seconds > work.deadline:
            raise self.expired(work.model)
        if lane.is_free:
            return
        if lane.waiting.count >= self._most or ahead > self._limit(work, lane.waiting, now):
            self._count(work.model, "shed")
            raise Overloaded(
                f"the server is overloaded, and {1000 * ahead:.0f} ms of work wait before this: "
                "ask again, or elsewhere",
                headers={"Retry-After": str(max(1, math.ceil(ahead)))},
            )

    def _ahead(self, work: Work, now: float) -> float:
        """Estimated seconds until the turn of a request."""
        lane, other = self._lanes[work.single], self._lanes[not work.single]
        # While both lanes compute, each has at least half of the processors.
        share = max(self._cores / 2, self._cores - other.load(now))
        return max((lane.seconds + min(lane.seconds, other.seconds)) / self._cores, lane.seconds / share)

    def _limit(self, work: Work, waiting: Waiting[Turn], now: float) -> float:
        """Seconds that a request may have to wait."""
        if not waiting.standing.lasts(now) or not waiting.count:
            return self._longest
        return min(self._longest, max(_SHORT, _TIMES[work.single] * work.seconds))
