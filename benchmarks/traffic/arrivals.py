"""When requests are sent: as soon as a user is free, or at times that do not wait for the server."""

import math
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import NamedTuple

import gevent
from gevent.lock import BoundedSemaphore

from benchmarks.traffic.digits import bucket

CLOSED, CONSTANT, POISSON = "closed", "constant", "poisson"
# gevent's timers, and the machine, wake up to a millisecond late: for this long (s) before a request is
# due, and after one was sent, there is no sleeping but spinning.
AWAKE = 0.0015
# A round of spinning that took less (s) did nothing else.
EMPTY_ROUND = 15e-6
# Priority with which a spinning user is asked once per round of the event loop, whatever else there is.
HIGHEST = 2
# The longest sleep (s), after which it is looked whether the phase is still the same.
NAP = 0.05
# Seconds between a phase's beginning and its first request, for the users to connect.
LEAD = 0.05
# Seconds after the end of a phase in which requests that came before may still be sent.
HANDOVER = 0.1
# Seconds that requests in flight have at the end of a run.
GRACE = 2.0
# What counts as a failure then: were it dropped, a server that hangs would lose its worst requests.
UNSENT = "not sent before the end: every connection waited for an answer"
UNANSWERED = "no answer before the end"


@dataclass(frozen=True)
class Share:
    """Which part of the load this process sends: every ``processes``-th request from ``index`` on."""

    index: int = 0
    processes: int = 1


@dataclass
class Phase:
    """A stretch of a run: all of it, or one rung of a ladder.

    ``rate``: requests/s over all processes, None where users send when they are free. ``label`` goes to
    the names in the statistics. Times are those of ``time.perf_counter``, ``busy`` is CPU time (s)
    without what was spent spinning.
    """

    rate: float | None
    label: str = ""
    poisson: bool = False
    share: Share = field(default_factory=Share)
    started: float = 0.0
    ended: float = 0.0
    created: float = field(default_factory=perf_counter)
    busy: float = 0.0
    # No request is due before the beginning.
    _due: float = math.inf
    lateness: dict[str, Counter[float]] = field(default_factory=lambda: defaultdict(Counter))

    def name(self, kind: str) -> str:
        """What requests of a kind are called in the statistics."""
        return f"{kind} @ {self.label}" if self.label else kind

    def begin(self) -> None:
        """With the first user that is ready, so that a slow start of the users is nobody's latency."""
        lead = LEAD if self.rate else 0.0
        self.started = perf_counter() + lead
        self.busy = -time.process_time()
        self._chance = random.Random(self.share.index)
        self._interval = self.share.processes / self.rate if self.rate else 0.0
        self._sent = 0
        self._due = self.started + self.share.index / self.rate if self.rate else self.started

    def end(self) -> None:
        # Where workers send, nobody here begins it.
        self.started = self.started or self.created
        self.ended = perf_counter()
        self.busy += time.process_time()

    @property
    def due(self) -> float:
        """When the next request is to be sent; never, where that is after the end."""
        return math.inf if self.ended and self._due > self.ended else self._due

    @property
    def behind(self) -> bool:
        """Whether requests were to be sent before the end and are not."""
        return self.rate is not None and self.due <= self.ended

    def advance(self) -> None:
        self._sent += 1
        if self.poisson:
            self._due += self._chance.expovariate(1 / self._interval)
        elif self.rate:
            # Counted from the start: adding up intervals would add up their errors.
            self._due = self.started + self.share.index / self.rate + self._sent * self._interval

    def late(self, kind: str, seconds: float) -> None:
        """Count how long after it could be sent a request was."""
        self.lateness[kind][bucket(seconds * 1000)] += 1

    @property
    def seconds(self) -> float:
        return self.ended - self.started


class Turn(NamedTuple):
    """One request that is to be sent now; its latency counts from ``due``.

    ``asked``: when the user was free to send it, which before was the server's time, not the generator's.
    """

    phase: Phase
    due: float
    asked: float

    @property
    def possible(self) -> float:
        """The first moment at which it could be sent."""
        return max(self.due, self.asked)


@dataclass(eq=False, slots=True)
class Request:
    """One that was sent. ``kind``: what it is called in the statistics of its phase."""

    turn: Turn
    kind: str


class Lost(NamedTuple):
    """A request without an answer at the end. ``kind``: None where nobody sent it; ``age`` in s."""

    phase: Phase
    kind: str | None
    age: float
    reason: str


class Arrivals:
    """Hands turns to the users. Where all of them are busy, turns wait, and their time does not.

    ``lost`` is told of each request that was due and has no answer at the end.
    """

    def __init__(self) -> None:
        self.phase: Phase | None = None
        self.phases: list[Phase] = []
        # One user at a time waits for the next time to come, the others for their turn: only one spins.
        self._next = BoundedSemaphore(1)
        self._handed = 0.0
        # Requests that were sent and neither answered nor lost yet.
        self.open: set[Request] = set()
        self.lost: Callable[[Lost], None] = lambda _: None

    def reset(self) -> None:
        self.stop()
        self.phases = []

    def start(self, phase: Phase) -> None:
        """End the phase so far."""
        self.stop()
        if phase.rate is not None and self.open:
            # There are users; were they waited for, a server that hangs would put off its load.
            phase.begin()
        self.phase = phase
        self.phases.append(phase)

    def stop(self) -> None:
        """End the phase. Requests that were due go out in a moment, or are lost."""
        phase = self.phase
        if phase is None:
            return
        phase.end()
        wait_while(lambda: phase.behind, HANDOVER)
        self.phase = None
        now = perf_counter()
        while phase.behind:
            self.lost(Lost(phase, None, now - phase.due, UNSENT))
            phase.advance()

    def drain(self) -> None:
        """Send nothing more, and wait for the answers to come."""
        self.stop()
        wait_while(lambda: bool(self.open), GRACE)
        now = perf_counter()
        while self.open:
            turn, kind = (request := self.open.pop()).turn, request.kind
            self.lost(Lost(turn.phase, kind, now - turn.due, UNANSWERED))

    def turn(self) -> Turn | None:
        """Wait for the next turn; None once the run is over."""
        asked = perf_counter()
        phase = self.phase
        if phase is not None and phase.rate is None:
            if not phase.started:
                phase.begin()
            return Turn(phase, asked, asked)
        with self._next:
            return self._next_turn(asked)

    def _next_turn(self, asked: float) -> Turn | None:
        while (phase := self.phase) is not None:
            if not phase.started:
                phase.begin()
            if self._came(phase):
                turn = Turn(phase, phase.due, asked)
                phase.advance()
                self._handed = perf_counter()
                return turn
        return None

    def _came(self, phase: Phase) -> bool:
        """Wait until the next request is due; False where the phase ended before."""
        now = perf_counter()
        while (left := phase.due - now) > 0:
            if self.phase is not phase:
                return False
            if left > AWAKE and now - self._handed > AWAKE:
                gevent.sleep(min(left - AWAKE, NAP))
                now = perf_counter()
            else:
                now = self._spin(phase, now)
        return True

    def _spin(self, phase: Phase, now: float) -> float:
        """One round of the event loop; the time after it."""
        # Unlike gevent.sleep(0), which is repeated for up to 5 ms before anything is received.
        gevent.idle(HIGHEST)
        after = perf_counter()
        if after - now < EMPTY_ROUND:
            phase.busy -= after - now
        return after


def wait_while(unfinished: Callable[[], bool], seconds: float) -> None:
    """Let the users work while something is unfinished, but not for longer."""
    deadline = perf_counter() + seconds
    while unfinished() and perf_counter() < deadline:
        gevent.sleep(0.001)
