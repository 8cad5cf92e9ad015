"""The command ``python -m benchmarks books``: its options, and the summary that it prints."""

import argparse
import importlib.util
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from benchmarks.books.campaign import SETTLES, Campaign, Outcome, Plan
from benchmarks.errors import BenchmarkError
from benchmarks.measuring import pipelines, serving
from benchmarks.overload.outcome import FAILED, GOOD, SHED, UNANSWERED
from benchmarks.progress import Progress
from benchmarks.results import UNPICKLED
from benchmarks.servers import warden
from benchmarks.servers.catalogue import SERVERS

WORKERS = 2
FLAGS = f"--workers {WORKERS} --log-share 1 --log-folder {{folder}}/payloads --shutdown-timeout {SETTLES:.0f}"


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.set_defaults(run=run)
    parser.add_argument("--rate", type=float, default=5000.0, metavar="R", help="requests/s (default: 5000)")
    parser.add_argument("--seconds", type=float, default=600.0, metavar="S", help="default: 600")
    parser.add_argument("--connections", type=int, default=50, metavar="N", help="at most (default: 50)")
    parser.add_argument("--flags", default="", help="more flags of unpickled serve, as --flags='--x 1 --y 2'")


def run(options: argparse.Namespace) -> int:
    """The exit status: 1 where the books are not even; raises BenchmarkError."""
    for name in ("rate", "seconds", "connections"):
        if not 0 < getattr(options, name) < float("inf"):
            raise BenchmarkError(f"--{name} {getattr(options, name):g}: give a number above 0")
    if not importlib.util.find_spec("pyarrow"):
        raise BenchmarkError("pyarrow is missing: pip install '.[log]'")
    warden.guard()
    plan = Plan(options.rate, options.seconds, options.connections)
    with tempfile.TemporaryDirectory(prefix="b-") as folder:
        fitted = pipelines.fit("iris", Path(folder) / "fitted")
        places = serving.places(fitted, Path(folder) / "server", Path(folder))
        flags = [*places.fill(FLAGS).split(), *options.flags.split()]
        with serving.serving(SERVERS[UNPICKLED], places, fitted, None, flags) as server:
            outcome = Campaign(plan, server, places.folder / "payloads", Progress()).measure(fitted)
    print("\n".join(summary(plan, outcome)))
    problems = outcome.differences()
    for problem in problems:
        print(f"wrong: {problem}")
    print("the books are not even" if problems else "the books are even")
    return int(bool(problems))


def summary(plan: Plan, outcome: Outcome) -> Iterator[str]:
    """The lines about requests, rows, files and memory."""
    offered = f"{plan.rate:,.0f} requests/s for {plan.seconds:g} s"
    yield f"{offered}, {WORKERS} workers; the last answer came after {outcome.seconds:.0f} s"
    yield f"killed: {', '.join(outcome.kills)}"
    yield f"requests: {_ends(outcome.ends)}"
    yield f"  in the seconds after a kill: {_ends(outcome.near)}"
    for reason, steps in outcome.reasons.items():
        yield f"  first failure in a step, {steps} times: {reason}"
    statuses = sorted(outcome.counted.statuses.items())
    yield "statuses, as the server counts: " + ", ".join(
        f"{count:,} of {status}" for status, count in statuses
    )
    fates = outcome.counted.fates
    parts = " + ".join(f"{fates[fate]:,} {fate}" for fate in ("written", "dropped", "lost"))
    yield f"rows answered: {outcome.counted.answered:,}; {parts} = {fates.total():,}"
    found = outcome.found
    yield f"rows in {found.count} files: {found.rows:,}, with {found.ids:,} different ids"
    for name, samples in outcome.memory.items():
        yield f"{name}: " + ", ".join(f"{each.resident_mb:.0f} MiB after {each.at:.0f} s" for each in samples)


def _ends(ends: Counter[str]) -> str:
    failed = ", ".join(f"{ends[end]:,} {end}" for end in (SHED, UNANSWERED, FAILED))
    return f"{ends.total():,} sent, {ends[GOOD]:,} good, {failed}"
