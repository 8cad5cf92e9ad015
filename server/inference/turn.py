"""The turn of a request: its right to compute, which it shares with others while it runs in slices.

The code that computes does not know its request. It calls ``breathe`` between two slices, whatever thread it
runs in: where that thread has a turn, others may go first.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from time import perf_counter, thread_time
from types import TracebackType
from typing import Protocol, Self, TypeVar

from unpickled.server.errors import DeadlineExceeded, Overloaded
from unpickled.server.inference.work import Work
from unpickled.server.model.cost import SLICE

Item = TypeVar("Item")

# Seconds that a request has waited before its client is looked for, and between two looks: each goes through
# the connections, of which there may be thousands, and a batch would look at each slice.
PATIENCE = 0.1
# Seconds that every work has left.
_LEAST = 1e-4
# Seconds of the processor after which a batch makes room for one that waits. Most batches take less: where
# all took turns at each slice, all would end late.
_QUANTUM = 0.1
# A request is due after so many times its own work, or seconds: a short one may overtake a long one.
_SPAN, _FARTHEST = 5.0, 2.0


class _Admission(Protocol):
    """The part of an Admission that its turns call; inference/admission.py tells the rest."""

    solitude: threading.Lock

    def check(self, work: Work) -> None: ...
    def enter(self, turn: "Turn") -> None: ...
    def leave(self, turn: "Turn", used: float) -> None: ...
    def seclude(self, turn: "Turn") -> None: ...
    def is_waited_for(self, turn: "Turn") -> bool: ...
    def check_time(self, turn: "Turn", left: float = 0.0) -> None: ...


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
        "looked",
        "spent",
        "thread",
        "waited",
        "work",
    )

    def __init__(self, admission: _Admission, work: Work) -> None:
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
        # When its client was last looked for.
        self.looked = 0.0
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
        if self.spent - self._placed >= _QUANTUM:
            self._place()
        self._wait(self._admission.enter)
        self._cpu = thread_time()
        _current.turn = self
        if self.waited > PATIENCE:
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
            self._wait(self._admission.seclude)
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

    def _wait(self, wait: Callable[["Turn"], None]) -> None:
        """Wait, and count the time, also where the wait ends with an error."""
        started = perf_counter()
        try:
            wait(self)
        finally:
            self.waited += perf_counter() - started

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
