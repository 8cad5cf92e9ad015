"""A server that logs every row, an open loop of single rows, and three kills under it."""

import contextlib
import math
import os
import signal
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.books import ledger
from benchmarks.books.ledger import Counts, Files
from benchmarks.errors import BenchmarkError
from benchmarks.measuring.pipelines import Fitted
from benchmarks.overload.climb import told
from benchmarks.overload.outcome import GOOD
from benchmarks.overload.schedule import arrivals
from benchmarks.overload.surge import Surge
from benchmarks.servers.process import Server
from benchmarks.soak.watch import Sample, Watch
from benchmarks.traffic.connection import Address
from benchmarks.traffic.contracts import CONTRACTS
from benchmarks.traffic.payloads import SINGLE, Encoder
from benchmarks.traffic.subject import sampled

WORKER, WRITER = "worker", "writer"
# The processes that are killed, one after each quarter of the time but the last.
KILLS = (WORKER, WRITER, WORKER)
# Seconds of a step at most, of which a kill is after ``SOON`` or in the middle: what breaks, breaks in it.
STEP, SOON = 10.0, 1.0
# Seconds after which a client gives up, and in which rows settle and the server ends.
LIMIT, SETTLES = 10.0, 300.0


@dataclass(frozen=True)
class Plan:
    """``rate``: requests/s of the open loop, over so many connections at most."""

    rate: float
    seconds: float
    connections: int

    @property
    def steps(self) -> int:
        """The number of steps in each quarter."""
        return max(1, math.ceil(self.seconds / 4 / STEP))


@dataclass
class Outcome:
    """How requests ended, in steps with a kill and in the others, memory, and both sides of the books.

    ``seconds`` is the time that the load took, ``reasons`` has the first failure of each step that has one.
    ``memory``: the first sample of each process, the one after its first step, and the last; processes that
    were killed have some as well.
    """

    seconds: float = 0.0
    kills: list[str] = field(default_factory=list)
    near: Counter[str] = field(default_factory=Counter)
    apart: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    memory: dict[str, list[Sample]] = field(default_factory=dict)
    counted: Counts = field(default_factory=lambda: Counts(0, 0, Counter(), Counter()))
    found: Files = field(default_factory=lambda: Files(0, 0, 0))

    @property
    def ends(self) -> Counter[str]:
        """The requests of all steps by how they ended."""
        return self.near + self.apart

    def differences(self) -> list[str]:
        """Sentences about books that are not even."""
        return list(ledger.differences(self.counted, self.found, self.ends[GOOD]))


class Campaign:
    """The load and the kills; the server logs into ``log``, and ends with ``measure``."""

    def __init__(self, plan: Plan, server: Server, log: Path, say: Callable[..., None]) -> None:
        self._plan = plan
        self._server = server
        self._log = log
        self._say = say
        self._watch = Watch(server.process.pid)
        self._outcome = Outcome()
        self._problem = ""
        self._started = 0.0

    def measure(self, fitted: Fitted) -> Outcome:
        """Load, kill, wait until all rows are settled, end the server, and read its log."""
        contract = CONTRACTS["native"]
        address = Address.of(f"http://127.0.0.1:{self._server.port}")
        deck = Encoder(address, contract, "", sampled(fitted.sample)).deck({SINGLE: 1.0})
        self._first_look()
        with contextlib.closing(Surge(address, {SINGLE: deck}, LIMIT, self._plan.connections)) as surge:
            for quarter in range(4):
                for index in range(self._plan.steps):
                    self._step(surge, "" if index or not quarter else KILLS[quarter - 1])
        self._outcome.seconds = time.monotonic() - self._started
        self._outcome.counted = self._settled(contract.path)
        self._look()
        for pid, samples in self._watch.samples.items():
            self._outcome.memory[self._watch.name(pid)] = [*samples[:2], *samples[2:][-1:]]
        self._end()
        self._say("reading the files of the log")
        self._outcome.found = ledger.files(self._log)
        return self._outcome

    def _step(self, surge: Surge, victim: str) -> None:
        """Load for one step; where a process is to be killed, while requests are under way."""
        seconds = self._plan.seconds / 4 / self._plan.steps
        kill = threading.Timer(min(SOON, seconds / 2), self._kill, (victim,))
        if victim:
            kill.start()
        try:
            step = surge.open_loop(arrivals(self._plan.rate, seconds, {SINGLE: 1.0}, poisson=False), seconds)
        finally:
            kill.cancel()
        if self._problem:
            raise BenchmarkError(self._problem)
        outcome = step.outcomes[SINGLE]
        if outcome.wrong:
            raise BenchmarkError(f"the server answered wrongly: {outcome.wrong}")
        (self._outcome.near if victim else self._outcome.apart).update(outcome.counts)
        if outcome.first:
            self._outcome.reasons[outcome.first] += 1
        self._say(told(step, {SINGLE: 1.0}))
        self._look()

    def _kill(self, victim: str) -> None:
        pids = self._watch.workers() if victim == WORKER else self._watch.writers()
        if not pids:
            self._problem = f"there is no {victim} to kill: {self._server.last_words()}"
            return
        os.kill(pids[0], signal.SIGKILL)
        self._outcome.kills.append(f"{victim} {pids[0]} after {time.monotonic() - self._started:.0f} s")
        self._say(f"killed {victim} {pids[0]}")

    def _first_look(self) -> None:
        """Wait for the writer, which starts beside the first answers, and look; raises BenchmarkError."""
        end = time.monotonic() + LIMIT
        while not self._watch.writers():
            if time.monotonic() > end:
                raise BenchmarkError(f"no process writes the log: {self._server.last_words()}")
            time.sleep(0.05)
        self._started = time.monotonic()
        self._look()

    def _look(self) -> None:
        self._watch.look(time.monotonic() - self._started)

    def _settled(self, path: str) -> Counts:
        """The counts, once each row has its fate, or when the patience is over."""
        end = time.monotonic() + SETTLES
        while True:
            try:
                counted = self._counted(path)
            except OSError as error:
                # The successors of workers that were killed may not listen yet.
                if time.monotonic() > end:
                    raise BenchmarkError(f"/metrics is not answered: {error}") from None
            else:
                if counted.settled or time.monotonic() > end:
                    return counted
            time.sleep(0.2)

    def _counted(self, path: str) -> Counts:
        url = f"http://127.0.0.1:{self._server.port}/metrics"
        with urllib.request.urlopen(url, timeout=60) as answer:
            return ledger.counts(answer.read().decode(), path)

    def _end(self) -> None:
        """Let the server finish its files; raises BenchmarkError."""
        self._say("ending the server")
        self._server.process.terminate()
        try:
            self._server.process.wait(2 * SETTLES)
        except psutil.TimeoutExpired:
            raise BenchmarkError(f"the server did not end within {2 * SETTLES:.0f} s") from None
