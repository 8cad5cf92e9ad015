"""Load generators as processes, on the cores of this one: wrk, h2load and Locust."""

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
# A generator that found too few answers is given twice the time, so often.
LONGER = 5
# Far beyond the slowest answer: a batch of 10,000 rows, 32 clients waiting.
ANSWER_TIMEOUT = 60


@dataclass(frozen=True)
class Load:
    """What a closed loop found. ``generator_busy``: share of its core that the generator used."""

    seconds: float
    requests: int
    p50_us: float
    p99_us: float
    generator_busy: float

    @property
    def requests_per_s(self) -> float:
        return round(self.requests / self.seconds, 2)


@dataclass(frozen=True)
class Target:
    """Where to send what: ``bodies`` is a file, one JSON body a line; ``locust`` are the same as flags."""

    host: str
    path: str
    bodies: Path
    locust: tuple[str, ...]

    @property
    def url(self) -> str:
        return self.host + self.path


def saturating() -> str:
    """The best generator for saturation that is installed."""
    return next((name for name in SATURATION[:2] if shutil.which(name)), "locust")


def version(name: str) -> str:
    """Of wrk or h2load, as it says itself."""
    done = subprocess.run([name, "--version"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    found = re.search(r"(\d+\.\d[\w.-]*)", done.stdout + done.stderr)
    return found[1] if found else "unknown"


def closed_loop(generator: str, target: Target, seconds: float, connections: int) -> Load:
    """Every connection sends its next request when its last is answered; BenchmarkError if one is refused."""
    measure = {"wrk": _wrk, "h2load": _h2load, "locust": _locust_closed}[generator]
    return measure(target, seconds, connections)


def one_by_one(target: Target, seconds: float, at_least: int = 20) -> list[float]:
    """How long each request took (s), one connection, for ``seconds`` and ``at_least`` so many.

    Sent from this process: with a batch, what the generator costs is nothing beside what the server does.
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
    """Locust at each arrival rate (requests/s) in turn, latency from the intended send time."""
    shape = f"{LOCUSTFILE},{LOCUSTFILE.with_name('ladder.py')}"
    rungs = ",".join(f"{rate:g}" for rate in rates)
    flags = ["--arrival", "constant", "--rungs", rungs, "--rung-time", f"{seconds:g}"]
    found = _locust(target, [*flags, "--users", str(connections)], shape)
    if len(found) != len(rates):
        raise BenchmarkError(f"locust measured {len(found)} of the {len(rates)} rates {rungs}")
    return found


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
    for trouble in re.findall(r"Non-2xx.*|Socket errors:.*", text):
        raise BenchmarkError(f"wrk reports for {target.url}: {trouble}")
    counted = re.search(r"(\d+) requests in ([\d.]+\w+)", text)
    percentiles = dict(re.findall(r"^ +(50|99)% +(\S+)", text, re.M))
    if not counted or counted[1] == "0" or len(percentiles) < 2:
        raise BenchmarkError(f"{target.url} answered nothing within {seconds:g} s")
    took = _microseconds(counted[2]) / 1e6
    p50, p99 = (_microseconds(percentiles[share]) for share in ("50", "99"))
    return Load(took, int(counted[1]), p50, p99, round(busy / took, 3))


def _h2load(target: Target, seconds: float, connections: int) -> Load:
    with tempfile.TemporaryDirectory() as folder:
        # It sends one body only.
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
    took = float(max(1, round(seconds)))
    p50, p99 = np.percentile(figures[:, 2], (50, 99))
    return Load(took, len(figures), float(p50), float(p99), round(busy / took, 3))


def _locust_closed(target: Target, seconds: float, connections: int) -> Load:
    flags = ["--users", str(connections), "--spawn-rate", str(connections), "--run-time"]
    for doubled in range(LONGER):
        found = _locust(target, [*flags, f"{round(seconds) << doubled}s"], str(LOCUSTFILE))
        if found and found[0]["failures"]:
            raise BenchmarkError(f"locust at {target.url}: {found[0]['failure']}")
        if found and found[0]["p99_us"]:
            break
    else:
        raise BenchmarkError(f"locust at {target.url}: too few answers")
    figures = (found[0][name] for name in ("seconds", "requests", "p50_us", "p99_us", "generator_busy"))
    return Load(*figures)


def _locust(target: Target, flags: Sequence[str], files: str) -> list[dict[str, Any]]:
    """Array users, headless; the entries of the file that it writes."""
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "latencies.json"
        command = [sys.executable, "-m", "locust", "-f", files, "--headless", "--only-summary"]
        command += ["--host", target.host, "--latencies", str(written), *target.locust, *flags, "Array"]
        # Locust's status is 1 where a request failed, and the file says which.
        _output(command, 600.0, fine=(0, 1))
        if not written.exists():
            raise BenchmarkError(f"locust measured nothing at {target.url}")
        found: list[dict[str, Any]] = json.loads(written.read_text("utf-8"))
    return found


def _output(command: Sequence[str], timeout: float, fine: tuple[int, ...] = (0,)) -> tuple[str, float]:
    """(what it printed, CPU seconds it used); BenchmarkError where it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        done = subprocess.run(
            list(command),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired:
        raise BenchmarkError(f"{command[0]} did not end within {timeout:.0f} s") from None
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in fine:
        said = last_line(done.stderr, done.stdout)
        raise BenchmarkError(f"{Path(command[0]).name} ended with status {done.returncode}: {said}")
    return done.stdout, (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime)


def _microseconds(text: str) -> float:
    """Of a time as wrk writes it: 82.00us, 1.23ms, 3.00s, 1.50m."""
    number, unit = re.fullmatch(r"([\d.]+)([a-z]+)", text).groups()  # type: ignore[union-attr]
    return round(float(number) * {"us": 1, "ms": 1e3, "s": 1e6, "m": 6e7}[unit], 1)
