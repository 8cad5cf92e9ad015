"""The turn of one server: its answers are checked, then it is timed."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.errors import BenchmarkError
from benchmarks.measuring import generators, targets
from benchmarks.measuring.generators import Target
from benchmarks.measuring.pipelines import Fitted
from benchmarks.measuring.saturation import saturated
from benchmarks.results import TUTORIAL, Alone, AnyRecord, Batch, Latency, Saturation, Stage, Start
from benchmarks.servers.catalogue import Entry
from benchmarks.servers.process import Server
from benchmarks.traffic.checks import Expected, judge
from benchmarks.traffic.contracts import CONTRACTS, WrongAnswer

# At a higher share of its saturation rate, the latency of a server is that of its queue.
HIGHEST_LOAD = 0.9
# A p99.9 needs so many requests; a measurement is no longer than the second number (s).
ENOUGH_REQUESTS, LONGEST_S = 1000, 5.0
CHECKED_ROWS = 100


@dataclass(frozen=True)
class Plan:
    """A run to measure. Times are in seconds, rates in requests/s; a core that is None is not pinned.

    ``headline``: the models for the peers, and for latency on the ``ladder`` of rates.
    """

    models: tuple[str, ...]
    servers: tuple[str, ...]
    repeats: int
    seconds: float
    connections: int
    ladder: tuple[float, ...]
    headline: tuple[str, ...]
    batches: tuple[int, ...]
    generator: str
    server_core: int | None
    generator_core: int | None


class Turn:
    """One turn; ``add`` takes each record, ``stage`` is the step that it has reached."""

    def __init__(
        self,
        plan: Plan,
        fitted: Fitted,
        repeat: int,
        server: tuple[str, Entry],
        add: Callable[[AnyRecord], None],
    ) -> None:
        self._plan = plan
        self._fitted = fitted
        self._server, self._entry = server
        self._contract = CONTRACTS[self._entry.contract]
        self._key: dict[str, Any] = {"model": fitted.name, "server": self._server, "repeat": repeat}
        self._add = add
        self.stage: Stage = "start"
        self.requests_per_s = 0.0

    def check(self, running: Server) -> None:
        """Compare answers to single rows, and to a batch of each size, with scikit-learn's."""
        self.stage = "check"
        self._check_rows(running, CHECKED_ROWS)
        for size in self._batches():
            self._compare(running, 0, size)

    def _check_rows(self, running: Server, count: int) -> None:
        for index in range(count if self._contract.checked else 0):
            self._compare(running, index, index + 1)

    def _compare(self, running: Server, first: int, last: int) -> None:
        fitted = self._fitted
        status, content = running.post(self._contract.path, self._contract.request(fitted.rows[first:last]))
        if status != 200:
            raise BenchmarkError(f"it answers {status} to {last - first} rows: {content[:200]!r}")
        expected = Expected(fitted.labels[first:last], fitted.probabilities[first:last])
        try:
            judge(self._contract, content, last - first, fitted.classes, expected)
        except WrongAnswer as error:
            rows = f"{last - first} rows from row {first}"
            raise BenchmarkError(f"its answer to {rows} is wrong: {error}") from None

    def measure(self, running: Server, halves: dict[str, float]) -> None:
        """Measure every figure; ``halves`` holds half of the tutorial's rate (requests/s), by model."""
        self.stage = "measure"
        self._saturate(running)
        # Checked once more: load must not mix up answers.
        self._check_rows(running, CHECKED_ROWS // 5)
        self._alone(running)
        self._start(running)
        if self._server == TUTORIAL:
            halves.setdefault(self._fitted.name, float(f"{self.requests_per_s / 2:.2g}"))
        half = halves.get(self._fitted.name)
        if half:
            enough = max(self._plan.seconds, ENOUGH_REQUESTS / half)
            self._latency(running, [half], min(LONGEST_S, enough), True)
        if self._entry.ladder and self._fitted.name in self._plan.headline:
            self._latency(running, self._plan.ladder, self._plan.seconds, False)
        for size in self._batches():
            self._batch(running, size)

    def _batches(self) -> tuple[int, ...]:
        return self._plan.batches if self._entry.batches else ()

    def _saturate(self, running: Server) -> None:
        plan, target = self._plan, self._target(running, 1)
        answered = saturated(running, plan.generator, target, plan.seconds, plan.connections)
        load = answered.load
        self.requests_per_s = load.requests_per_s
        self._add(
            Saturation(
                **self._key,
                connections=plan.connections,
                seconds=load.seconds,
                requests=load.requests,
                requests_per_s=load.requests_per_s,
                cpu_us=answered.cpu_us,
                p50_us=load.p50_us,
                p99_us=load.p99_us,
                generator_busy=load.generator_busy,
            )
        )

    def _start(self, running: Server) -> None:
        memory = running.memory()
        self._add(
            Start(
                **self._key,
                ready_s=round(running.ready_s, 3),
                rss_mb=memory.resident_mb,
                tree_mb=memory.tree_mb,
                processes=memory.processes,
            )
        )

    def _alone(self, running: Server) -> None:
        load = generators.closed_loop(self._plan.generator, self._target(running, 1), 1.0, connections=1)
        self._add(
            Alone(**self._key, requests_per_s=load.requests_per_s, p50_us=load.p50_us, p99_us=load.p99_us)
        )

    def _latency(self, running: Server, rates: Sequence[float], seconds: float, half: bool) -> None:
        rates = [rate for rate in rates if rate <= HIGHEST_LOAD * self.requests_per_s]
        if not rates:
            return
        plan = self._plan
        target = self._target(running, 1)
        for latency in generators.ladder(target, rates, seconds, plan.connections):
            members = {name: value for name, value in latency.items() if name in Latency.__struct_fields__}
            self._add(Latency(**self._key, half_of=TUTORIAL if half else None, **members))

    def _batch(self, running: Server, size: int) -> None:
        times = generators.one_by_one(self._target(running, size), seconds=1.0)
        requests_per_s = len(times) / sum(times)
        self._add(
            Batch(
                **self._key,
                rows=size,
                requests_per_s=round(requests_per_s, 2),
                rows_per_s=round(requests_per_s * size, 1),
                p50_us=round(1e6 * statistics.median(times), 1),
            )
        )

    def _target(self, running: Server, size: int) -> Target:
        return targets.target(running, self._entry.contract, self._fitted, size)
