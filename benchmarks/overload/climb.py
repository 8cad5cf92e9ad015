"""The steps of one server: its capacity first, then shares and multiples of it."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import cycle

from benchmarks.errors import BenchmarkError
from benchmarks.measuring.pipelines import Fitted
from benchmarks.overload.outcome import FAILED, GOOD, SHED, UNANSWERED, Outcome, quantile_ms
from benchmarks.overload.schedule import arrivals
from benchmarks.overload.surge import PROBE, Probe, Step, Surge
from benchmarks.reporting.overload import Figure
from benchmarks.servers.catalogue import Entry
from benchmarks.servers.process import Server
from benchmarks.traffic.connection import Address
from benchmarks.traffic.contracts import CONTRACTS
from benchmarks.traffic.payloads import SINGLE, Encoder, Payload, batch
from benchmarks.traffic.subject import sampled

BATCH_ROWS = 1000
# Share of the requests by kind, by the name of a mix.
MIXES: Mapping[str, Mapping[str, float]] = {
    "single rows": {SINGLE: 1.0},
    "5% batches": {SINGLE: 0.95, batch(BATCH_ROWS): 0.05},
}
# Single rows that differ; each answer to them is judged once, before it is timed.
ROWS = 500
# Clients that keep a server busy, without a queue that it would have to shorten.
CLIENTS = 2
# Seconds in which a server gets over a step, and the share of the limit in which it then answers.
PATIENCE, SOON = 30.0, 0.25
# A generator that sends later than that (ms, at p99) tells nothing about a server.
LATE_MS = 20.0


@dataclass(frozen=True)
class Plan:
    """Multiples of the capacity, ``seconds`` at each; clients give up after ``limit`` seconds."""

    times: tuple[float, ...]
    seconds: float
    limit: float
    connections: int
    poisson: bool
    mixes: tuple[str, ...]


class Climb:
    """The steps of one server with one model; ``add`` takes each figure, ``say`` each sentence."""

    def __init__(
        self,
        plan: Plan,
        fitted: Fitted,
        server: tuple[str, Entry],
        add: Callable[[Figure], None],
        say: Callable[[str], None],
    ) -> None:
        self._plan = plan
        self._fitted = fitted
        self._server, self._entry = server
        self._add = add
        self._say = say

    def climb(self, running: Server, probes: Address, repeat: int) -> None:
        """Measure every mix; raises BenchmarkError for a wrong answer, and for none."""
        address = Address.of(f"http://127.0.0.1:{running.port}")
        message = probes.message("GET", self._entry.probe)
        decks = self._decks(address)
        surge = Surge(
            address,
            {kind: cycle(deck) for kind, deck in decks.items()},
            self._plan.limit,
            self._plan.connections,
            Probe(probes, message),
        )
        with contextlib.closing(surge):
            self._warm(surge, decks)
            for mix in self._plan.mixes:
                self._mix(surge, running, mix, repeat)

    def _decks(self, address: Address) -> dict[str, list[Payload]]:
        contract, subject = CONTRACTS[self._entry.contract], sampled(self._fitted.sample)
        encoder = Encoder(address, contract, "", subject)
        kinds = {kind for mix in self._plan.mixes for kind in MIXES[mix]}
        return {kind: _first(encoder.deck({kind: 1.0}), ROWS if kind == SINGLE else 10) for kind in kinds}

    def _warm(self, surge: Surge, decks: Mapping[str, list[Payload]]) -> None:
        """Have every payload answered and judged, one after the other."""
        for kind, deck in decks.items():
            seen = 0
            while seen < len(deck):
                step = surge.closed_loop([kind], 1, 0.5)
                outcome = step.outcomes[kind]
                _refuse_wrong(self._server, outcome)
                if not outcome.counts[GOOD]:
                    raise BenchmarkError(f"{self._server} answers no {kind} within {self._plan.limit:g} s")
                seen += outcome.requests

    def _mix(self, surge: Surge, running: Server, mix: str, repeat: int) -> None:
        shares = dict(MIXES[mix])
        capacity = self._capacity(surge, shares)
        self._say(f"{self._server}, {mix}: {capacity:,.0f} requests/s")
        for multiple in self._plan.times:
            rate = multiple * capacity
            plan = arrivals(rate, self._plan.seconds, shares, self._plan.poisson, seed=repeat)
            before = running.cpu_seconds()
            started = time.monotonic()
            step = surge.open_loop(plan, self._plan.seconds)
            cpu = (running.cpu_seconds() - before) / (time.monotonic() - started)
            recovered = self._recover(surge)
            for kind in shares:
                self._add(self._figure(step, mix, kind, repeat, multiple, capacity, cpu, recovered))
            self._say(f"{self._server}, {mix}, x{multiple:g}: {told(step, shares)}")

    def _capacity(self, surge: Surge, shares: Mapping[str, float]) -> float:
        """Right answers/s to clients that wait for each other, in the proportions of a mix."""
        kinds = _sequence(shares)
        surge.closed_loop(kinds, CLIENTS, 1.0)
        step = surge.closed_loop(kinds, CLIENTS, self._plan.seconds)
        for kind in shares:
            _refuse_wrong(self._server, step.outcomes[kind])
        good = sum(step.outcomes[kind].counts[GOOD] for kind in shares)
        if not good:
            raise BenchmarkError(f"{self._server} answers nothing within {self._plan.limit:g} s")
        return good / step.seconds

    def _recover(self, surge: Surge) -> float:
        """Seconds after a step until a row is answered soon, and a probe on a new connection too."""
        started, soon = time.monotonic(), SOON * self._plan.limit
        while time.monotonic() - started < PATIENCE:
            row = surge.closed_loop([SINGLE], 1, 0.05).outcomes[SINGLE]
            probe = surge.open_loop((), 0.1).outcomes[PROBE]
            if row.good and max(row.good) < soon and probe.good and max(probe.good) < soon:
                break
        return round(time.monotonic() - started, 2)

    def _figure(
        self,
        step: Step,
        mix: str,
        kind: str,
        repeat: int,
        multiple: float,
        capacity: float,
        cpu: float,
        recovered: float,
    ) -> Figure:
        outcome, probes = step.outcomes[kind], step.outcomes[PROBE]
        _refuse_wrong(self._server, outcome)
        return Figure(
            model=self._fitted.name,
            server=self._server,
            mix=mix,
            kind=kind,
            repeat=repeat,
            times=multiple,
            capacity=round(capacity, 1),
            seconds=step.seconds,
            requests=outcome.requests,
            good=outcome.counts[GOOD],
            shed=outcome.counts[SHED],
            unanswered=outcome.counts[UNANSWERED],
            failed=outcome.counts[FAILED],
            failure=outcome.first,
            p50_ms=quantile_ms(outcome.good, 0.5),
            p99_ms=quantile_ms(outcome.good, 0.99),
            p999_ms=quantile_ms(outcome.good, 0.999),
            shed_p99_ms=quantile_ms(outcome.shed, 0.99),
            probe_p99_ms=quantile_ms(probes.good, 0.99)
            or (round(1000 * max(probes.good), 3) if probes.good else None),
            probes=probes.requests,
            probes_failed=probes.requests - probes.counts[GOOD],
            cpu=round(cpu, 3),
            late_p99_ms=quantile_ms(step.late, 0.99),
            generator_busy=step.busy,
            connections=step.lines,
            recovered_s=recovered,
        )


def told(step: Step, shares: Mapping[str, float]) -> str:
    """A step in one line."""
    parts = []
    for kind in shares:
        outcome = step.outcomes[kind]
        p99 = quantile_ms(outcome.good, 0.99)
        parts.append(
            f"{kind}: {outcome.requests} sent, {outcome.counts[GOOD]} good"
            + (f" (p99 {p99:.1f} ms)" if p99 else "")
            + "".join(
                f", {outcome.counts[end]} {end}" for end in (SHED, UNANSWERED, FAILED) if outcome.counts[end]
            )
        )
    late = quantile_ms(step.late, 0.99)
    if late and late > LATE_MS:
        parts.append(f"the generator was {late:.0f} ms late at p99: its core is too busy for this step")
    return "; ".join(parts)


def _sequence(shares: Mapping[str, float]) -> list[str]:
    """Twenty kinds or one, in the proportions of a mix."""
    return [
        kind for kind, share in shares.items() for _ in range(round(share * 20) if len(shares) > 1 else 1)
    ]


def _first(deck: Iterator[Payload], count: int) -> list[Payload]:
    """The first payloads of a deck that begins anew after its last."""
    return [next(deck) for _ in range(count)]


def _refuse_wrong(server: str, outcome: Outcome) -> None:
    if outcome.wrong:
        raise BenchmarkError(f"{server} answered wrongly: {outcome.wrong}")
