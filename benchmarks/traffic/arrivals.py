"""The times of requests: as soon as a user is free, or a schedule that does not wait for the server."""

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
# due, and after one was sent, a user spins instead of sleeping.
AWAKE = 0.0015
# A round of spinning in less time (s) ran nothing but itself.
EMPTY_ROUND = 15e-6
# Priority at which a spinning user runs once per round of the event loop, whatever other work there is.
HIGHEST = 2
# The longest sleep (s), after which a user checks that the phase is still the same.
NAP = 0.05
# Seconds between a phase's beginning and its first request, for the users to connect.
LEAD = 0.05
# Seconds after the end of a phase in which requests that were due before may still be sent.
HANDOVER = 0.1
# Seconds in which requests in flight may be answered at the end of a run.
GRACE = 2.0
# Failures at the end of a run: if they were dropped, a server that hangs would lose its worst requests.
UNSENT = "not sent before the end: every connection waited for an answer"
UNANSWERED = "no answer before the end"


@dataclass(frozen=True)
class Share:
    """The part of the load that this process sends: every ``processes``-th request from ``index`` on."""

    index: int = 0
    processes: int = 1


@dataclass
class Phase:
    """A stretch of a run: the whole of it, or one rung of a ladder.

    ``rate``: requests/s of all processes, None where users send when they are free. ``label`` is part of
    the names in the statistics. Times are those of ``time.perf_counter``, ``busy`` is CPU time (s)
    without the time spent spinning.
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
        """The name of requests of a kind in the statistics."""
        return f"{kind} @ {self.label}" if self.label else kind

    def begin(self) -> None:
        """Begin with the first user that is ready, so that a slow start of the users adds no latency."""
        lead = LEAD if self.rate else 0.0
        self.started = perf_counter() + lead
        self.busy = -time.process_time()
        self._chance = random.Random(self.share.index)
        self._interval = self.share.processes / self.rate if self.rate else 0.0
        self._sent = 0
        self._due = self.started + self.share.index / self.rate if self.rate else self.started

    def end(self) -> None:
        """Send nothing that is due from now on."""
        # A master has workers that send, and no user of its own to begin the phase.
        self.started = self.started or self.created
        self.ended = perf_counter()
        self.busy += time.process_time()

    @property
    def due(self) -> float:
        """The time of the next request; never, where that is after the end."""
        return math.inf if self.ended and self._due > self.ended else self._due

    @property
    def behind(self) -> bool:
        """Whether a request was due before the end and has not been sent."""
        return self.rate is not None and self.due <= self.ended

    def advance(self) -> None:
        """Go on to the next request."""
        self._sent += 1
        if self.poisson:
            self._due += self._chance.expovariate(1 / self._interval)
        elif self.rate:
            # Counted from the start: a sum of intervals is a sum of their errors.
            self._due = self.started + self.share.index / self.rate + self._sent * self._interval

    def late(self, kind: str, seconds: float) -> None:
        """Count the delay between the moment a request could be sent and the moment it was."""
        self.lateness[kind][bucket(seconds * 1000)] += 1

    @property
    def seconds(self) -> float:
        """The length of the phase."""
        return self.ended - self.started


class Turn(NamedTuple):
    """One request that is to be sent now; its latency counts from ``due``.

    ``free``: when the user was free to send it; a delay before that is the server's, not the generator's.
    """

    phase: Phase
    due: float
    free: float

    @property
    def possible(self) -> float:
        """The first moment at which the request could be sent."""
        return max(self.due, self.free)


@dataclass(eq=False, slots=True)
class Request:
    """A request that was sent. ``kind`` is its name in the statistics of its phase."""

    turn: Turn
    kind: str


class Lost(NamedTuple):
    """A request without an answer at the end. ``kind``: None where it was not sent; ``age`` in s."""

    phase: Phase
    kind: str | None
    age: float
    reason: str


class Arrivals:
    """Hands turns to the users. While all users are busy, turns wait, and their latency counts on.

    ``lost`` is called with each request that was due and has no answer at the end.
    """

    def __init__(self) -> None:
        self.phase: Phase | None = None
        self.phases: list[Phase] = []
        # One user waits for the next time to come, and the others for this lock, so that only one spins.
        self._next = BoundedSemaphore(1)
        self._handed = 0.0
        # Requests that were sent and are neither answered nor lost.
        self.open: set[Request] = set()
        self.lost: Callable[[Lost], None] = lambda _: None

    def reset(self) -> None:
        """Forget all phases."""
        self.stop()
        self.phases = []

    def start(self, phase: Phase) -> None:
        """End the current phase and start another."""
        self.stop()
        if phase.rate is not None and self.open:
            # The users exist, and may all wait for a server that hangs: that must not delay its load.
            phase.begin()
        self.phase = phase
        self.phases.append(phase)

    def stop(self) -> None:
        """End the phase. Requests that were due go out at once, or are lost."""
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
        """Send nothing more, and wait for the open answers."""
        self.stop()
        wait_while(lambda: bool(self.open), GRACE)
        now = perf_counter()
        while self.open:
            turn, kind = (request := self.open.pop()).turn, request.kind
            self.lost(Lost(turn.phase, kind, now - turn.due, UNANSWERED))

    def turn(self) -> Turn | None:
        """Wait for the next turn; None once the run is over."""
        free = perf_counter()
        phase = self.phase
        if phase is not None and phase.rate is None:
            if not phase.started:
                phase.begin()
            return Turn(phase, free, free)
        with self._next:
            return self._next_turn(free)

    def _next_turn(self, free: float) -> Turn | None:
        while (phase := self.phase) is not None:
            if not phase.started:
                phase.begin()
            if self._reached(phase):
                turn = Turn(phase, phase.due, free)
                phase.advance()
                self._handed = perf_counter()
                return turn
        return None

    def _reached(self, phase: Phase) -> bool:
        """Wait until the next request is due; False where the phase ended before."""
        now = perf_counter()
        while (wait := phase.due - now) > 0:
            if self.phase is not phase:
                return False
            if wait > AWAKE and now - self._handed > AWAKE:
                gevent.sleep(min(wait - AWAKE, NAP))
                now = perf_counter()
            else:
                now = self._spin(phase, now)
        return True

    def _spin(self, phase: Phase, now: float) -> float:
        """Run one round of the event loop; the time after it."""
        # gevent.sleep(0) would run again for up to 5 ms before anything is received.
        gevent.idle(HIGHEST)
        after = perf_counter()
        if after - now < EMPTY_ROUND:
            phase.busy -= after - now
        return after


def wait_while(unfinished: Callable[[], bool], seconds: float) -> None:
    """Let the users work while something is unfinished, for so many seconds at most."""
    deadline = perf_counter() + seconds
    while unfinished() and perf_counter() < deadline:
        gevent.sleep(0.001)
