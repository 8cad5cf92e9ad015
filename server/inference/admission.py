"""Admission: some requests of this process compute now, others wait for their turn, and some are refused.

A brief request to a fast model never comes here. Any other takes a turn, in one of two lanes: single rows,
and batches, behind which no row ever waits. Each lane has as many turns as there are processors: more would
only slow each other down, and what answers and refuses the others. A batch is run in slices; where others
wait, it gives its turn up after some of them (``breathe``). In each lane, the models get equal shares of the
processors, and a short batch may overtake a long one.

The estimated time of what waits is bounded. A queue that has not been empty for a while is no burst but an
overload: it is then kept so short that requests which it takes are answered about as fast as on a quiet day.
The others are refused at once, and may ask another server.
"""

import math
import threading
from collections.abc import Callable, Iterable, Iterator
from time import perf_counter, thread_time
from types import TracebackType
from typing import Literal, Protocol, Self, TypeVar

from unpickled.server.errors import DeadlineExceeded, Overloaded
from unpickled.server.inference.lane import Lane
from unpickled.server.inference.waiting import Waiting
from unpickled.server.inference.work import Work
from unpickled.server.model.cost import SLICE
from unpickled.server.model.session import RUNS

Loss = Literal["shed", "expired", "abandoned"]
Item = TypeVar("Item")

# In an overload, a batch and a single row wait for at most so many times their own work, or seconds if that
# is longer. With fewer times, processors would idle; batches take long, so that their clients may give up.
_TIMES, _SHORT = (3.0, 6.0), 5e-3
# Seconds that a request has waited before its client is looked for.
_PATIENCE = 0.1
# Seconds that every work has left.
_LEAST = 1e-4
# Seconds of the processor after which a batch makes room for one that waits. Most batches take less: where
# all took turns at each slice, all would end late.
_QUANTUM = 0.1
# A request is due after so many times its own work, or seconds: a short one may overtake a long one.
_SPAN, _FARTHEST = 5.0, 2.0


class Departed(Protocol):
    """Tells whether a client has gone."""

    def __call__(self, started: float, read: float, peer: str) -> bool:
        """Whether nobody waits for the answer to a request, for certain.

        ``started`` and ``read`` are the times of perf_counter() at which the request was first seen, and its
        body was there; ``peer`` is the address of its client.
        """


class Turn:
    """The right of one request to compute; a context in which it has it.

    Attributes:
        due: time.perf_counter() by which it goes before or behind others that wait.
        waited: Seconds for which it had to wait, all waits together.
        spent: Seconds of the processor that its thread has used, up to the end of its last turn.
    """

    __slots__ = (
        "_admission",
        "_alone",
        "_cpu",
        "_placed",
        "counted",
        "due",
        "gate",
        "held",
        "spent",
        "thread",
        "waited",
        "work",
    )

    def __init__(self, admission: "Admission", work: Work) -> None:
        self._admission = admission
        self.work = work
        self.thread = threading.get_ident()
        # Held while the turn waits; whoever gives it the right to compute releases it.
        self.gate = threading.Lock()
        self.gate.acquire()
        # When it began to compute; 0 while it does not.
        self.held = 0.0
        self.waited = 0.0
        self.spent = 0.0
        # The estimated seconds with which the queue counts it.
        self.counted = 0.0
        self._cpu = 0.0
        self._alone = False
        self._place()

    @property
    def model(self) -> str:
        """The model that the request is for."""
        return self.work.model

    @property
    def left(self) -> float:
        """Estimated seconds of the work that is still to be done."""
        return max(_LEAST, self.work.seconds - self.spent)

    @property
    def charge(self) -> float:
        """Seconds of the processor that the model is charged for the next turn."""
        return min(self.left, _QUANTUM)

    def __enter__(self) -> Self:
        self.resume()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.pause()
        self.together()

    def resume(self) -> None:
        """Wait until it may compute; raises Overloaded, DeadlineExceeded."""
        started = perf_counter()
        if self.spent - self._placed >= _QUANTUM:
            self._place()
        self._admission.enter(self)
        self.waited += perf_counter() - started
        self._cpu = thread_time()
        _current.turn = self
        if self.waited > _PATIENCE:
            self._check_time()

    def pause(self) -> None:
        """Let others compute, while it does not."""
        if self.held:
            _current.turn = None
            used = thread_time() - self._cpu
            self.spent += used
            self._admission.leave(self, used)

    def alone(self) -> None:
        """Until the end of the turn, do what takes very much memory, as no other does; raises Overloaded."""
        if not self._alone:
            self.pause()
            self._admission.seclude(self)
            self._alone = True
            self.resume()

    def together(self) -> None:
        """Let another turn be alone."""
        if self._alone:
            self._alone = False
            self._admission.solitude.release()

    def become(self, work: Work) -> None:
        """Go on with work that has turned out to be more; raises Overloaded, DeadlineExceeded."""
        self.pause()
        self._admission.check(work)
        self.work = work
        self._place()
        self.resume()

    def breathe(self) -> None:
        """Between two slices, after some milliseconds: let others have their turn, and end if it is late."""
        if perf_counter() - self.held < SLICE / 2:
            return
        self._check_time()
        used = self.spent + thread_time() - self._cpu - self._placed
        if used >= _QUANTUM and self._admission.is_waited_for(self):
            self.pause()
            self.resume()

    def limit_time(self, seconds: float) -> None:
        """Move the deadline to ``seconds`` after the start of the request, if that is earlier."""
        self.work = self.work._replace(deadline=min(self.work.deadline, self.work.started + seconds))
        self._check_time(self.left)

    def _place(self) -> None:
        """Give it its place among those that wait; it has used up the one before."""
        self._placed = self.spent
        self.due = perf_counter() + min(_SPAN * self.left, _FARTHEST)

    def _check_time(self, left: float = 0.0) -> None:
        try:
            self._admission.check_time(self, left)
        except (DeadlineExceeded, Overloaded):
            self.pause()
            raise


class _Current(threading.local):
    turn: Turn | None = None


_current = _Current()


def current() -> Turn | None:
    """The turn of the request that the present thread answers; None where it needs none."""
    return _current.turn


def breathe() -> None:
    """To be called between the slices of long work: gives others their turn, where this is one."""
    turn = _current.turn
    if turn is not None:
        turn.breathe()


def limit_time(seconds: float) -> None:
    """Give the request that the present thread answers no more than this time from its start.

    Raises:
        DeadlineExceeded: It cannot be answered in that time.
    """
    turn = _current.turn
    if turn is not None:
        turn.limit_time(seconds)


def alone() -> None:
    """To be called before work that takes many times the memory of its request: until the turn ends, or
    ``together`` is called, no other turn does such work.
    """
    turn = _current.turn
    if turn is not None:
        turn.alone()


def together() -> None:
    """To be called at the end of such work, where the turn goes on."""
    turn = _current.turn
    if turn is not None:
        turn.together()


def paced(items: Iterable[Item], count: int = 256) -> Iterator[Item]:
    """The same items; after every ``count`` of them, others get their turn."""
    for index, item in enumerate(items, start=1):
        yield item
        if not index % count:
            breathe()


class Admission:
    """Admits the work of one process.

    Args:
        cores: Processors that this process may use.
        longest: Seconds that work may wait.
        most: Requests that may wait: each takes a thread.
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
        # Held by the turn that is alone.
        self.solitude = threading.Lock()

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
        if not self.solitude.acquire(timeout=max(0.0, seconds)):
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
            raise self._expired(work)
        if self._has_gone(turn):
            self._count(work.model, "abandoned")
            raise Overloaded(
                "the client of this request has gone: it is not run", headers={"Retry-After": "1"}
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
        if self.departed is None or not turn.work.read or turn.waited <= _PATIENCE:
            return False
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
                    raise self._expired(turn.work)
            turn.gate.acquire()

    def _refuse_if_late(self, work: Work, now: float) -> None:
        lane, ahead = self._lanes[work.single], self._ahead(work, now)
        if now + ahead + work.seconds > work.deadline:
            raise self._expired(work)
        if lane.is_free:
            return
        if lane.waiting.count >= self._most or ahead > self._limit(work, lane.waiting, now):
            self._count(work.model, "shed")
            raise Overloaded(
                f"{1000 * ahead:.0f} ms of work wait here, which is too much: ask again, or elsewhere",
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

    def _expired(self, work: Work) -> DeadlineExceeded:
        self._count(work.model, "expired")
        return DeadlineExceeded(
            "the request cannot be answered in its time: allow it more (Request-Timeout, in milliseconds), "
            "send fewer rows, or ask another server"
        )
