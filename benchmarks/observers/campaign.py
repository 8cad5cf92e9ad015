"""One model, served with its observers off, with each of them, and with all, in turns."""

import re
import shutil
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.errors import BenchmarkError
from benchmarks.measuring import generators, machine, pipelines, serving, targets
from benchmarks.measuring.generators import Target
from benchmarks.measuring.pipelines import Fitted
from benchmarks.measuring.saturation import saturated
from benchmarks.reporting.observers import ALL, OFF, Figure, Figures
from benchmarks.results import UNPICKLED
from benchmarks.servers.catalogue import SERVERS
from benchmarks.servers.process import Server

_QUIET = ("--no-drift", "--truth-rows", "0")
_LOGGED = ("--log-share", "1", "--log-folder", "{folder}/payloads")
# Observers -> the flags that leave the others off. Where the range is off, serving.toml accepts everything.
VARIANTS = {
    OFF: _QUIET,
    "range": _QUIET,
    "drift": ("--truth-rows", "0"),
    "truth": ("--no-drift",),
    "payload log": (*_QUIET, *_LOGGED),
    ALL: _LOGGED,
}
_RANGED = ("range", ALL)
_ACCEPTING = '[inputs]\noutside = "accept"\n'
# A stall of the machine decides the p99 of one rung, and so not the median of three.
RUNGS = 3
# Seconds of a rung.
_SHORTEST = 2.0
_FATES = re.compile(r'^unpickled_log_rows_total\{.*fate="(\w+)".*\} (\S+)$', re.M)


@dataclass(frozen=True)
class Campaign:
    """``rate``: requests/s of the open loop; times are in seconds; a core that is None is not pinned."""

    model: str
    repeats: int
    seconds: float
    connections: int
    rate: float
    generator: str
    server_core: int | None
    generator_core: int | None

    def measure(self, say: Callable[[str], None]) -> Figures:
        """Every figure; raises BenchmarkError."""
        figures: list[Figure] = []
        started = datetime.now(UTC).replace(microsecond=0)
        with tempfile.TemporaryDirectory(prefix="b-") as folder:
            fitted = pipelines.fit(self.model, Path(folder) / "fitted")
            for repeat in range(self.repeats):
                # Forwards, then backwards, so that a machine that slows down favours no variant.
                for variant in list(VARIANTS)[:: -1 if repeat % 2 else 1]:
                    with self._serving(variant, fitted, Path(folder)) as server:
                        figures.append(self._figure(variant, repeat, server, fitted))
                    figure = figures[-1]
                    say(
                        f"{variant}: {figure.requests_per_s:,.0f} requests/s, {figure.cpu_us:.1f} us of CPU "
                        f"time each, p99 {figure.p99_us:.0f} us"
                    )
        return Figures(
            started=started,
            machine=machine.describe(self.server_core, self.generator_core),
            versions=machine.versions(self.generator),
            commit=machine.commit(),
            model=fitted.title,
            connections=self.connections,
            rate=self.rate,
            figures=figures,
        )

    def _figure(self, variant: str, repeat: int, server: Server, fitted: Fitted) -> Figure:
        target = targets.target(server, "native", fitted)
        answered = saturated(server, self.generator, target, self.seconds, self.connections)
        latencies = self._latencies(target)
        with urllib.request.urlopen(f"{target.host}/metrics", timeout=60) as answer:
            fates = _FATES.findall(answer.read().decode())
        rows: dict[str, float] = {}
        for fate, count in fates:
            rows[fate] = rows.get(fate, 0.0) + float(count)
        return Figure(
            variant=variant,
            repeat=repeat,
            requests_per_s=answered.load.requests_per_s,
            cpu_us=answered.cpu_us,
            p50s_us=[latency["p50_us"] for latency in latencies],
            p99s_us=[latency["p99_us"] for latency in latencies],
            failures=sum(latency["failures"] for latency in latencies),
            rows=rows,
            memory_mb=server.memory().tree_mb,
        )

    def _latencies(self, target: Target) -> list[dict[str, Any]]:
        """The latencies of each rung; raises BenchmarkError where one is too short for a p99."""
        # Rungs are told apart by their rates, which therefore differ by a thousandth.
        rates = [self.rate * (1 + step / 1000) for step in range(RUNGS)]
        latencies = generators.ladder(target, rates, max(_SHORTEST, self.seconds), self.connections)
        if any(latency["p99_us"] is None for latency in latencies):
            raise BenchmarkError(f"--rate {self.rate:g} sends too few requests for a p99: give a higher one")
        return latencies

    @contextmanager
    def _serving(self, variant: str, fitted: Fitted, folder: Path) -> Iterator[Server]:
        home = Path(tempfile.mkdtemp(dir=folder))
        models = home / "models"
        shutil.copytree(fitted.models, models)
        if variant not in _RANGED:
            for name in models.iterdir():
                (name / "serving.toml").write_text(_ACCEPTING, "utf-8")
        places = serving.places(fitted, home, folder, models=models)
        flags = list(map(places.fill, VARIANTS[variant]))
        with serving.serving(SERVERS[UNPICKLED], places, fitted, self.server_core, flags) as server:
            yield server
