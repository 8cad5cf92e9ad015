"""Load generators as processes on the core of this one: wrk, h2load and Locust."""

import itertools
import json
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.errors import BenchmarkError, last_line
from benchmarks.traffic.connection import Address, Connection

SCRIPT = Path(__file__).with_name("wrk.lua")
LOCUSTFILE = Path(__file__).parent.parent / "locustfile.py"
SATURATION = ("wrk", "h2load", "locust")
# The number of times that a generator with too few answers, or without the last ones, runs for twice as long.
LONGER = 5
# Locust's failure of requests that wait at the end, as a machine that is busy for seconds lets them.
UNANSWERED = "no answer before the end"
# Seconds, far more than the slowest answer: to a batch of 10,000 rows while 32 clients wait.
ANSWER_TIMEOUT = 60


@dataclass(frozen=True)
class Load:
    """The result of a closed loop. ``generator_busy``: share of its core that the generator used."""

    seconds: float
    requests: int
    p50_us: float
    p99_us: float
    generator_busy: float

    @property
    def requests_per_s(self) -> float:
        """The rate over the whole time."""
        return round(self.requests / self.seconds, 2)


@dataclass(frozen=True)
class Target:
    """A server and the bodies for it: a file with a JSON body per line, and flags for Locust."""

    host: str
    path: str
    bodies: Path
    locust: tuple[str, ...]

    @property
    def url(self) -> str:
        """The address that predicts."""
        return self.host + self.path


def saturating() -> str:
    """The best generator for saturation that is installed."""
    return next((name for name in SATURATION[:2] if shutil.which(name)), "locust")


def version(name: str) -> str:
    """The version that wrk or h2load prints."""
    process = subprocess.run([name, "--version"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    match = re.search(r"(\d+\.\d[\w.-]*)", process.stdout + process.stderr)
    return match[1] if match else "unknown"


def closed_loop(generator: str, target: Target, seconds: float, connections: int) -> Load:
    """Load by connections that each wait for the answer; BenchmarkError if a request fails."""
    measure = {"wrk": _wrk, "h2load": _h2load, "locust": _locust_closed}[generator]
    return measure(target, seconds, connections)


def one_by_one(target: Target, seconds: float, at_least: int = 20) -> list[float]:
    """The times (s) of requests over one connection, for ``seconds`` and at least ``at_least`` of them.

    This process sends them: beside a batch, its own cost is negligible.
    """
    address = Address.of(target.host)
    messages = [
        address.message("POST", target.path, body) for body in target.bodies.read_bytes().split(b"\n")
    ]
    connection, times = Connection(address), []
    try:
        connection.exchange(messages[0])
        for message in itertools.cycle(messages):
            started = time.perf_counter()
            answer = connection.exchange(message)
            times.append(time.perf_counter() - started)
            if answer.status != 200:
                raise BenchmarkError(f"{target.url} answers {answer.status} to a batch")
            if sum(times) >= seconds and len(times) >= at_least:
                break
    finally:
        connection.close()
    return times


def ladder(target: Target, rates: Sequence[float], seconds: float, connections: int) -> list[dict[str, Any]]:
    """Locust at each arrival rate (requests/s) in turn, with latency counted from when a request was due."""
    shape = f"{LOCUSTFILE},{LOCUSTFILE.with_name('ladder.py')}"
    rungs = ",".join(f"{rate:g}" for rate in rates)
    flags = ["--arrival", "constant", "--rungs", rungs, "--rung-time", f"{seconds:g}"]
    latencies = _locust(target, [*flags, "--users", str(connections)], shape)
    if len(latencies) != len(rates):
        raise BenchmarkError(f"locust measured {len(latencies)} of the {len(rates)} rates {rungs}")
    return latencies


def _wrk(target: Target, seconds: float, connections: int) -> Load:
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency"]
    command += [
        f"--timeout={ANSWER_TIMEOUT}s",
        "-s",
        str(SCRIPT),
        target.url,
        "--",
        str(target.bodies),
    ]
    text, busy = _output(command, seconds + 2 * ANSWER_TIMEOUT)
    for problem in re.findall(r"Non-2xx.*|Socket errors:.*", text):
        raise BenchmarkError(f"wrk reports for {target.url}: {problem}")
    counted = re.search(r"(\d+) requests in ([\d.]+\w+)", text)
    percentiles = dict(re.findall(r"^ +(50|99)% +(\S+)", text, re.M))
    if not counted or counted[1] == "0" or len(percentiles) < 2:
        raise BenchmarkError(f"{target.url} answered nothing within {seconds:g} s")
    duration = _microseconds(counted[2]) / 1e6
    p50, p99 = (_microseconds(percentiles[share]) for share in ("50", "99"))
    return Load(duration, int(counted[1]), p50, p99, round(busy / duration, 3))


def _h2load(target: Target, seconds: float, connections: int) -> Load:
    with tempfile.TemporaryDirectory() as folder:
        # h2load sends one body only.
        body, log = Path(folder) / "body.json", Path(folder) / "log"
        with target.bodies.open("rb") as lines:
            body.write_bytes(lines.readline().rstrip(b"\n"))
        command = ["h2load", "--h1", "-t1", f"-c{connections}", f"-D{max(1, round(seconds))}"]
        command += ["-d", str(body), "-H", "content-type: application/json", f"--log-file={log}", target.url]
        _, busy = _output(command, seconds + 2 * ANSWER_TIMEOUT)
        figures = np.loadtxt(log, dtype=np.int64, ndmin=2)
    if not len(figures):
        raise BenchmarkError(f"{target.url} answered nothing within {seconds:g} s")
    if (figures[:, 1] != 200).any():
        raise BenchmarkError(f"h2load got status {figures[figures[:, 1] != 200][0, 1]} from {target.url}")
    duration = float(max(1, round(seconds)))
    p50, p99 = np.percentile(figures[:, 2], (50, 99))
    return Load(duration, len(figures), float(p50), float(p99), round(busy / duration, 3))


def _locust_closed(target: Target, seconds: float, connections: int) -> Load:
    flags = ["--users", str(connections), "--spawn-rate", str(connections), "--run-time"]
    for doubled in range(LONGER):
        latencies = _locust(target, [*flags, f"{round(seconds) << doubled}s"], str(LOCUSTFILE))
        failure = latencies[0]["failure"] if latencies else None
        if failure and UNANSWERED not in failure:
            raise BenchmarkError(f"locust at {target.url}: {failure}")
        if latencies and latencies[0]["p99_us"] and not failure:
            break
    else:
        raise BenchmarkError(f"locust at {target.url}: {failure or 'too few answers'}")
    figures = (latencies[0][name] for name in ("seconds", "requests", "p50_us", "p99_us", "generator_busy"))
    return Load(*figures)


def _locust(target: Target, flags: Sequence[str], files: str) -> list[dict[str, Any]]:
    """Run Array users without a page; the entries of the file that Locust writes."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "latencies.json"
        command = [sys.executable, "-m", "locust", "-f", files, "--headless", "--only-summary"]
        command += ["--host", target.host, "--latencies", str(report), *target.locust, *flags, "Array"]
        # Locust's status is 1 where a request failed; the file counts the failures.
        _output(command, 600.0, fine=(0, 1))
        if not report.exists():
            raise BenchmarkError(f"locust measured nothing at {target.url}")
        latencies: list[dict[str, Any]] = json.loads(report.read_text("utf-8"))
    return latencies


def _output(command: Sequence[str], timeout: float, fine: tuple[int, ...] = (0,)) -> tuple[str, float]:
    """(stdout, CPU seconds) of a command; BenchmarkError where it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        process = subprocess.run(
            list(command),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired:
        raise BenchmarkError(f"{command[0]} did not end within {timeout:.0f} s") from None
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode not in fine:
        reason = last_line(process.stderr, process.stdout)
        raise BenchmarkError(f"{Path(command[0]).name} ended with status {process.returncode}: {reason}")
    return process.stdout, (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime)


def _microseconds(text: str) -> float:
    """Microseconds of a time as wrk writes it: 82.00us, 1.23ms, 3.00s, 1.50m."""
    number, unit = re.fullmatch(r"([\d.]+)([a-z]+)", text).groups()  # type: ignore[union-attr]
    return round(float(number) * {"us": 1, "ms": 1e3, "s": 1e6, "m": 6e7}[unit], 1)
