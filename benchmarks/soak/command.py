"""The command ``python -m benchmarks soak``: a server under everything at once, and a verdict."""

import argparse
import os
import shutil
import signal
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.errors import BenchmarkError
from benchmarks.measuring import pipelines, serving
from benchmarks.measuring.pipelines import RECIPES, Fitted, Recipe
from benchmarks.results import UNPICKLED
from benchmarks.servers import warden
from benchmarks.servers.catalogue import SERVERS, own_bin
from benchmarks.servers.process import Server
from benchmarks.soak import counts
from benchmarks.soak.changes import Changes
from benchmarks.soak.clients import Clients
from benchmarks.soak.faults import LONGEST, faults
from benchmarks.soak.forms import VERTEX, forms
from benchmarks.soak.truth import Truth
from benchmarks.soak.watch import Watch

WORKERS, CLIENTS = 2, 8
# Kills, as shares of the whole time.
KILLS = (1 / 3, 2 / 3)
# Seconds after a kill in which connections to the killed worker may break, and in which it is replaced.
BREAKS, REPLACED = 10.0, 60.0
# The most that a process may grow once it has settled: MiB, and descriptors beside one for each client.
GROWTH_MB, GROWTH_DESCRIPTORS = 32.0, 8
# Share of all requests that a machine with other work may refuse as too many at once.
SHED = 0.05
# The second pipeline on the same rows, so that a mixed-up version shows in every answer.
FOREST = Recipe("iris", "random forest of 100 trees", 1, RECIPES["forest"].make)


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.set_defaults(run=run)
    parser.add_argument("--minutes", type=float, default=10.0, help="default: 10")
    parser.add_argument("--clients", type=int, default=CLIENTS, help=f"default: {CLIENTS}")
    parser.add_argument("--flags", default="", help="more flags of unpickled serve, as --flags='--x 1 --y 2'")


def run(options: argparse.Namespace) -> int:
    """The exit status: 1 where something was wrong; raises BenchmarkError."""
    if not 0 < options.minutes < float("inf"):
        raise BenchmarkError(f"--minutes {options.minutes:g}: give a number above 0")
    warden.guard()
    with tempfile.TemporaryDirectory(prefix="b-") as folder:
        home = Path(folder)
        fitted = [pipelines.fit("iris", home / "first"), pipelines.fit("iris", home / "second", FOREST)]
        shutil.copytree(fitted[0].models, home / "models")
        with _serving(home, fitted[0], options.flags) as server:
            verdict = Soak(server, home / "models", fitted, options.clients).run(60 * options.minutes)
    for line in verdict:
        print(f"wrong: {line}")
    print("soaked: nothing is wrong" if not verdict else f"soaked: {_counted(len(verdict), 'thing')} wrong")
    return int(bool(verdict))


@contextmanager
def _serving(home: Path, fitted: Fitted, flags: str) -> Iterator[Server]:
    own = ["--workers", str(WORKERS), "--max-body-bytes", str(LONGEST), "--predict-route", VERTEX]
    places = serving.places(fitted, home / "server", home, models=home / "models")
    with serving.serving(SERVERS[UNPICKLED], places, fitted, None, [*own, *flags.split()]) as server:
        yield server


@dataclass
class Soak:
    """One soak; the server has answered one row of version 1 already."""

    server: Server
    models: Path
    fitted: list[Fitted]
    count: int
    kills: list[float] = field(default_factory=list)

    def run(self, seconds: float) -> list[str]:
        """Sentences about everything that was wrong; it prints progress."""
        clients = Clients(
            self.server.port,
            Truth(self.fitted),
            forms(self.fitted[0].features),
            faults(self.fitted[0].features),
            self.count,
        )
        pause = min(2.0, seconds / 60)
        changes = Changes(
            own_bin(), self.models, [each.onnx for each in self.fitted], self.server.process.pid, pause
        )
        watch = Watch(self.server.process.pid)
        # The server's first answer, to the one who waited for it.
        clients.account.requests["/predict", 200, "1"] += 1
        clients.account.rows["1"] += 1
        clients.start()
        changes.start()
        try:
            slow = self._watch(watch, clients, changes, seconds)
        finally:
            changes.stop()
            clients.stop()
        return slow + self._verdict(clients, changes, watch, seconds)

    def _watch(self, watch: Watch, clients: Clients, changes: Changes, seconds: float) -> list[str]:
        started, problems, told = time.monotonic(), [], 0.0
        due = [share * seconds for share in KILLS]
        while (passed := time.monotonic() - started) < seconds and not changes.problem:
            if due and passed > due[0]:
                due.pop(0)
                problems += self._kill(watch)
            watch.look(passed)
            if passed - told >= min(30.0, seconds / 6):
                told = passed
                self._tell(passed, watch, clients, changes)
            time.sleep(min(1.0, seconds / 60))
        watch.look(time.monotonic() - started)
        return problems

    def _kill(self, watch: Watch) -> list[str]:
        """Kill a worker, and wait until another has taken its place."""
        before = watch.workers()
        self.kills.append(time.monotonic())
        os.kill(before[0], signal.SIGKILL)
        end = time.monotonic() + REPLACED
        while time.monotonic() < end:
            if len(set(watch.workers()) - {before[0]}) == WORKERS:
                print(f"killed worker {before[0]}: replaced after {time.monotonic() - self.kills[-1]:.1f} s")
                return []
            time.sleep(0.05)
        return [f"the killed worker {before[0]} was not replaced within {REPLACED:.0f} s"]

    def _tell(self, passed: float, watch: Watch, clients: Clients, changes: Changes) -> None:
        account = clients.account
        latest = [samples[-1] for pid, samples in watch.samples.items() if pid in watch.workers()]
        print(
            f"[{passed / 60:4.1f} min] {account.answers:,} right, {len(account.wrong)} wrong, "
            f"{len(account.lost)} lost, {changes.made} changes; workers: "
            + ", ".join(f"{each.resident_mb:.0f} MiB, {each.descriptors} descriptors" for each in latest),
            flush=True,
        )

    def _verdict(self, clients: Clients, changes: Changes, watch: Watch, seconds: float) -> list[str]:
        account = clients.account
        problems = [f"answers ({len(account.wrong)}), first: {account.wrong[0]}"] if account.wrong else []
        problems += [f"the changes ended: {changes.problem}"] if changes.problem else []
        problems += [f"{name} was never asked" for name in _missing(clients, self.fitted[0].features)]
        problems += self._losses(clients)
        if account.shed > SHED * account.answers:
            problems.append(f"{account.shed:,} requests were refused as too many at once")
        with urllib.request.urlopen(f"http://127.0.0.1:{self.server.port}/metrics", timeout=60) as answer:
            differing = counts.differences(account, answer.read().decode())
        problems += differing
        problems += self._growth(watch, min(120.0, seconds / 5))
        rows = sum(account.rows.values())
        print(
            f"{account.answers:,} requests in {len(account.forms)} forms, {rows:,} rows, versions "
            f"{', '.join(sorted(account.rows, key=int))}; {changes.made} changes, {len(self.kills)} kills, "
            f"{len(account.lost)} lost with them; {account.shed:,} refused as too many at once; "
            f"counts {'differ' if differing else 'are equal'}",
            flush=True,
        )
        return problems

    def _losses(self, clients: Clients) -> list[str]:
        """Losses at other moments than a kill, or more of them than the killed worker can have taken along.

        A client loses the request under way, and the next one if the kernel gives its new connection to the
        socket of the worker, which has not ended yet.
        """
        problems, remaining = [], list(clients.account.lost)
        for kill in self.kills:
            near = [lost for lost in remaining if kill - 0.5 <= lost.at <= kill + BREAKS]
            remaining = [lost for lost in remaining if lost not in near]
            if len(near) > 2 * clients.count:
                problems.append(f"{len(near)} requests of {clients.count} clients were lost with one kill")
        if remaining:
            problems.append(
                f"{len(remaining)} requests were lost without a kill, first: {remaining[0].reason}"
            )
        return problems

    def _growth(self, watch: Watch, settled: float) -> list[str]:
        problems = []
        for pid, (first, last) in watch.grown(settled).items():
            name = watch.name(pid)
            print(
                f"{name}: {first.resident_mb:.0f} MiB, {first.descriptors} descriptors after {first.at:.0f} "
                f"s; {last.resident_mb:.0f} MiB, {last.descriptors} at the end"
            )
            if last.resident_mb > first.resident_mb + GROWTH_MB:
                problems.append(f"{name} has grown by {last.resident_mb - first.resident_mb:.0f} MiB")
            if last.descriptors > first.descriptors + self.count + GROWTH_DESCRIPTORS:
                problems.append(f"{name} has {last.descriptors - first.descriptors} descriptors more")
        return problems


def _counted(count: int, noun: str) -> str:
    """The count, the noun, and the verb that goes with both."""
    return f"{count} {noun} is" if count == 1 else f"{count} {noun}s are"


def _missing(clients: Clients, names: list[str]) -> list[str]:
    """The forms and faults that no client came to; a very short soak has some."""
    return [name for name in [*forms(names), *faults(names)] if not clients.account.forms[name]]
