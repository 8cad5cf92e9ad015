"""Admission: some requests of this process compute now, others wait for their turn, and some are refused.

A brief request to a fast model never comes here. Any other takes a turn. Only a few turns are held at once,
so that the processors are busy and each request gets on. Single rows go before batches. A batch is run in
slices, and gives its turn up between two of them (``breathe``); where a batch waits, one turn is for batches.
The requests of one kind are taken so that the models get equal shares of the processors.

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
from unpickled.server.inference.waiting import Waiting
from unpickled.server.inference.work import Work
from unpickled.server.model.cost import SLICE
from unpickled.server.model.session import RUNS

Loss = Literal["shed", "expired", "abandoned"]
Item = TypeVar("Item")

# Seconds after which a queue that has not been empty meanwhile is an overload.
_STANDING = 0.1
# In an overload, a request waits for at most so many times its own work, or seconds if that is longer.
_TIMES, _SHORT = 6.0, 5e-3
# Seconds that a request has waited before its client is looked for.
_PATIENCE = 0.1
# Seconds that every work has left.
_LEAST = 1e-4


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
        waited: Seconds for which it had to wait, all waits together.
        spent: Seconds of the processor that its thread has used, up to the end of its last turn.
    """

    __slots__ = (
        "_admission",
        "_alone",
        "_cpu",
        "counted",
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
        return min(self.left, SLICE)

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
            self.spent += thread_time() - self._cpu
            self._admission.leave(self)

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
        self.resume()

    def breathe(self) -> None:
        """Between two slices, after some milliseconds: let others have their turn, and end if it is late."""
        if perf_counter() - self.held < SLICE / 2:
            return
        self._check_time()
        if self._admission.is_waited_for(self):
            self.pause()
            self.resume()

    def limit_time(self, seconds: float) -> None:
        """Move the deadline to ``seconds`` after the start of the request, if that is earlier."""
        self.work = self.work._replace(deadline=min(self.work.deadline, self.work.started + seconds))
        self._check_time(self.left)

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
        self._turns = max(2, math.ceil(2 * cores))
        self._held: set[Turn] = set()
        self._rows, self._batches = Waiting[Turn](), Waiting[Turn]()
        # Estimated seconds of all that wait or compute: single rows, batches.
        self._seconds = [0.0, 0.0]
        self._held_batches = 0
        # Held by the turn that is alone.
        self.solitude = threading.Lock()

    @property
    def waiting(self) -> int:
        """How many requests wait for their turn."""
        return self._rows.count + self._batches.count

    @property
    def load(self) -> tuple[int, float]:
        """How many turns are held, and the estimated seconds of all work that is held or waits."""
        return len(self._held), round(sum(self._seconds), 9)

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
        work = turn.work
        with self._lock:
            waiting = self._waiting(work)
            turn.counted = turn.left
            self._seconds[work.single] += turn.counted
            if len(self._held) < self._turns and not waiting.count and self._may_hold(work):
                self._hold(turn)
                return
            waiting.add(turn)
        self._wait(turn)

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

    def leave(self, turn: Turn) -> None:
        """End a turn, and give it to the next."""
        with self._lock:
            turn.held = 0.0
            self._held.discard(turn)
            self._held_batches -= not turn.work.single
            self._forget(turn)
            # Another thread may have ended a run of this one.
            RUNS.allow(turn.thread)
            self._give()

    def is_waited_for(self, turn: Turn) -> bool:
        """Whether others wait for a turn that is held."""
        return bool(self._rows.count or (self._batches.count and not turn.work.single))

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
            for turn in self._held:
                if now > turn.work.deadline:
                    RUNS.end(turn.thread)

    def _has_gone(self, turn: Turn) -> bool:
        if self.departed is None or not turn.work.read or turn.waited <= _PATIENCE:
            return False
        return self.departed(turn.work.started, turn.work.read, turn.work.peer)

    def _waiting(self, work: Work) -> Waiting[Turn]:
        return self._rows if work.single else self._batches

    def _may_hold(self, work: Work) -> bool:
        """Whether a free turn is for this kind: one is for single rows, and one for batches that wait."""
        if not work.single:
            return self._held_batches < self._turns - 1
        reserved = self._batches.count and not self._held_batches
        return not reserved or len(self._held) < self._turns - 1

    def _hold(self, turn: Turn) -> None:
        turn.held = perf_counter()
        self._held.add(turn)
        self._held_batches += not turn.work.single

    def _give(self) -> None:
        """Give the free turns to those that wait."""
        while len(self._held) < self._turns:
            if self._rows.count and self._may_hold(_SINGLE):
                turn = self._rows.take()
            elif self._batches.count and self._may_hold(_BATCH):
                turn = self._batches.take()
            else:
                return
            self._hold(turn)
            turn.gate.release()

    def _wait(self, turn: Turn) -> None:
        deadline = turn.work.deadline
        # threading takes no longer timeout.
        seconds = (
            -1 if math.isinf(deadline) else min(max(0.0, deadline - perf_counter()), threading.TIMEOUT_MAX)
        )
        if not turn.gate.acquire(timeout=seconds):
            with self._lock:
                if not turn.held:
                    self._waiting(turn.work).remove(turn)
                    self._forget(turn)
                    raise self._expired(turn.work)
            turn.gate.acquire()

    def _forget(self, turn: Turn) -> None:
        # Rounding must not leave a rest behind.
        single = turn.work.single
        self._seconds[single] = max(0.0, self._seconds[single] - turn.counted)

    def _refuse_if_late(self, work: Work, now: float) -> None:
        waiting, ahead = self._waiting(work), self._ahead(work)
        if now + ahead + work.seconds > work.deadline:
            raise self._expired(work)
        if len(self._held) < self._turns and not waiting.count:
            return
        if waiting.count >= self._most or ahead > self._limit(work, waiting, now):
            self._count(work.model, "shed")
            raise Overloaded(
                f"{1000 * ahead:.0f} ms of work wait here, which is too much: ask again, or elsewhere",
                headers={"Retry-After": str(max(1, math.ceil(ahead)))},
            )

    def _ahead(self, work: Work) -> float:
        """Estimated seconds until the turn of a request."""
        seconds, others = self._seconds[work.single], self._seconds[not work.single]
        # While both kinds compute, each has about half of the processors.
        return (seconds + min(seconds, others)) / self._cores

    def _limit(self, work: Work, waiting: Waiting[Turn], now: float) -> float:
        """Seconds that a request may have to wait."""
        if not waiting.count or now - waiting.emptied < _STANDING:
            return self._longest
        return min(self._longest, max(_SHORT, _TIMES * work.seconds))

    def _expired(self, work: Work) -> DeadlineExceeded:
        self._count(work.model, "expired")
        return DeadlineExceeded(
            "the request cannot be answered in its time: allow it more (Request-Timeout, in milliseconds), "
            "send fewer rows, or ask another server"
        )


_SINGLE, _BATCH = Work("", 0.0, True), Work("", 0.0, False)
