"""An open loop in one process: requests leave when they are due, whatever became of those before.

Each of a thousand clients would be a connection of its own here. A request takes a free connection or opens
one; where all are taken, it waits for the first that is free, and its latency counts from when it was due.
A request without an answer within the limit is given up, and its connection is closed, as its client would.
"""

import select
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from time import perf_counter

from benchmarks.overload.line import Answer, Line
from benchmarks.overload.outcome import REFUSALS, Outcome
from benchmarks.overload.schedule import Arrival
from benchmarks.traffic.connection import Address, Response
from benchmarks.traffic.contracts import WrongAnswer
from benchmarks.traffic.payloads import Payload

PROBE = "probe"
# epoll sleeps in whole milliseconds; closer to the next request, the loop spins.
AWAKE = 0.002
# The most requests that are sent before answers are read again.
BURST = 32
READS = select.EPOLLIN | select.EPOLLRDHUP
WRITES = READS | select.EPOLLOUT


@dataclass(frozen=True)
class Probe:
    """A question that is asked on a connection of its own, so many times a second."""

    address: Address
    message: bytes
    rate: float = 10.0


@dataclass(eq=False, slots=True)
class Request:
    """A request under way; ``payload`` is None for a probe. Times are those of perf_counter."""

    kind: str
    due: float
    payload: Payload | None
    line: Line | None = None
    again: bool = False


@dataclass
class Step:
    """The figures of one step. ``late``: delays (s) of requests that had a connection when they were due.

    ``busy`` is the share of the time in which the generator worked; ``lines`` the most connections at once.
    """

    seconds: float = 0.0
    outcomes: dict[str, Outcome] = field(default_factory=lambda: defaultdict(Outcome))
    late: list[float] = field(default_factory=list)
    busy: float = 0.0
    lines: int = 0


class Surge:
    """Sends the payloads of each kind in turn, and counts how each request ends.

    Args:
        address: The server.
        decks: Kind -> its payloads.
        limit: Seconds after which a client gives up.
        most: The most connections at once, probes apart.
        probe: A question that is asked beside them.
    """

    def __init__(
        self,
        address: Address,
        decks: Mapping[str, Iterator[Payload]],
        limit: float,
        most: int,
        probe: Probe | None = None,
    ) -> None:
        self._address = address
        self._decks = decks
        self._limit = limit
        self._most = most
        self._probe = probe
        self._poll = select.epoll()
        self._lines: dict[int, Line] = {}
        # The last that became free is the next that is taken, so that few are open where few suffice.
        self._free: dict[int, Line] = {}
        self._requests: dict[int, Request] = {}
        self._flying: deque[Request] = deque()
        self._waiting: deque[Request] = deque()
        self._kinds: Iterator[str] | None = None
        self._clients = 0
        self._idle = 0.0
        self._step = Step()

    def close(self) -> None:
        """Close every connection."""
        for line in self._lines.values():
            line.close()
        self._poll.close()

    def open_loop(self, arrivals: Sequence[Arrival], seconds: float) -> Step:
        """Send each request when it is due, and wait until the last is answered or given up."""
        self._begin()
        started = perf_counter() + 0.01
        plan = self._with_probes(arrivals, seconds)
        at, count = 0, len(plan)
        while at < count or self._requests or self._waiting:
            now = perf_counter()
            burst = min(at + BURST, count)
            while at < burst and started + plan[at].due <= now:
                self._send(self._request(plan[at].kind, started + plan[at].due))
                at += 1
            self._give_up()
            self._refill()
            following = started + plan[at].due if at < count else now + 0.02
            self._turn(following - perf_counter())
        return self._end(started, seconds)

    def closed_loop(self, kinds: Sequence[str], clients: int, seconds: float) -> Step:
        """Let clients send as soon as they have their answer, kinds in turn; none is given up earlier."""
        self._begin(cycle(kinds), clients)
        started = perf_counter()
        while perf_counter() < started + seconds:
            self._give_up()
            self._refill()
            self._turn(0.01)
        self._kinds = None
        while self._requests or self._waiting:
            self._give_up()
            self._turn(0.01)
        return self._end(started, seconds)

    def _begin(self, kinds: Iterator[str] | None = None, clients: int = 0) -> None:
        self._kinds, self._clients = kinds, clients
        self._idle = 0.0
        self._step = Step()

    def _end(self, started: float, seconds: float) -> Step:
        passed = perf_counter() - started
        self._step.seconds = seconds
        self._step.busy = round(max(0.0, 1 - self._idle / passed), 3)
        return self._step

    def _with_probes(self, arrivals: Sequence[Arrival], seconds: float) -> list[Arrival]:
        if self._probe is None:
            return list(arrivals)
        count = int(seconds * self._probe.rate)
        return sorted([*arrivals, *(Arrival(index / self._probe.rate, PROBE) for index in range(count))])

    def _request(self, kind: str, due: float) -> Request:
        return Request(kind, due, None if kind == PROBE else next(self._decks[kind]))

    def _send(self, request: Request) -> None:
        """Send a request on a free connection or a new one; where there is none, it waits."""
        if request.payload is None:
            self._take(request, self._opened(self._probed.address))
        elif self._free:
            self._take(request, self._free.popitem()[1])
        elif len(self._lines) < self._most:
            self._take(request, self._opened(self._address))
        else:
            self._waiting.append(request)
            return
        self._step.late.append(perf_counter() - request.due)

    @property
    def _probed(self) -> Probe:
        assert self._probe is not None
        return self._probe

    def _opened(self, address: Address) -> Line:
        line = Line(address)
        self._lines[line.fd] = line
        self._poll.register(line.fd, READS)
        self._step.lines = max(self._step.lines, len(self._lines))
        return line

    def _take(self, request: Request, line: Line) -> None:
        message = request.payload.message if request.payload else self._probed.message
        request.line = line
        self._requests[line.fd] = request
        self._flying.append(request)
        try:
            if not line.send(message):
                self._poll.modify(line.fd, WRITES)
        except OSError as error:
            self._broken(line, request, error)

    def _turn(self, seconds: float) -> None:
        """Wait for answers, for so long at most, and read those that are there."""
        before = perf_counter()
        events = self._poll.poll(seconds - AWAKE / 2 if seconds > AWAKE else 0)
        self._idle += perf_counter() - before
        for fd, event in events:
            line = self._lines.get(fd)
            if line is not None:
                self._serve(line, event)

    def _serve(self, line: Line, event: int) -> None:
        request = self._requests.get(line.fd)
        if request is None:
            # The server ends a connection that was silent.
            self._drop(line)
            return
        try:
            if event & select.EPOLLOUT and line.flush():
                self._poll.modify(line.fd, READS)
            answer = line.receive() if event & ~select.EPOLLOUT else None
        except OSError as error:
            self._broken(line, request, error)
            return
        if answer is not None:
            self._answered(line, request, answer)

    def _answered(self, line: Line, request: Request, answer: Answer) -> None:
        seconds = perf_counter() - request.due
        request.line = None
        del self._requests[line.fd]
        if answer.closes or request.payload is None:
            self._drop(line)
        else:
            self._free[line.fd] = line
        self._count(request, answer, seconds)

    def _count(self, request: Request, answer: Answer, seconds: float) -> None:
        outcome = self._step.outcomes[request.kind]
        if seconds > self._limit:
            outcome.unanswered()
        elif answer.status in REFUSALS:
            outcome.refused(seconds)
        elif request.payload is None:
            outcome.answered(seconds) if answer.status == 200 else outcome.failed(f"status {answer.status}")
        else:
            try:
                request.payload.check(Response(answer.status, answer.content))
            except WrongAnswer as error:
                outcome.failed(str(error))
                if answer.status == 200:
                    outcome.wrong = outcome.wrong or str(error)
            else:
                outcome.answered(seconds)

    def _refill(self) -> None:
        """Send what waits for a connection, and the next requests of a closed loop."""
        while self._waiting and (self._free or len(self._lines) < self._most):
            line = self._free.popitem()[1] if self._free else self._opened(self._address)
            self._take(self._waiting.popleft(), line)
        if self._kinds is not None:
            # No more than are missing now: where none can be sent, the loop goes on.
            for _ in range(self._clients - len(self._requests)):
                self._send(self._request(next(self._kinds), perf_counter()))

    def _broken(self, line: Line, request: Request, error: OSError) -> None:
        """Send a request once more where the server had ended the connection before it came; else count."""
        request.line = None
        again = line.used and line.silent and not request.again
        self._drop(line)
        if again:
            request.again = True
            self._take(request, self._opened(self._address))
            return
        self._step.outcomes[request.kind].failed(f"{type(error).__name__}: {error}")

    def _drop(self, line: Line) -> None:
        self._lines.pop(line.fd, None)
        self._free.pop(line.fd, None)
        self._requests.pop(line.fd, None)
        line.close()

    def _give_up(self) -> None:
        """End the requests that are over the limit; they were sent in the order in which they were due."""
        before = perf_counter() - self._limit
        while self._waiting and self._waiting[0].due < before:
            self._step.outcomes[self._waiting.popleft().kind].unanswered()
        while self._flying and (self._flying[0].line is None or self._flying[0].due < before):
            request = self._flying.popleft()
            if request.line is not None:
                self._drop(request.line)
                request.line = None
                self._step.outcomes[request.kind].unanswered()
