# mypy: disallow-untyped-calls=False, disallow-untyped-decorators=False
"""Rungs of load, one after the other, each with its own rows in the statistics.

locust -f benchmarks/locustfile.py,benchmarks/ladder.py --host http://127.0.0.1:8000 \
    --arrival constant --rungs 100,200,400
"""

import argparse
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from locust import LoadTestShape, events
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import MasterRunner, Runner, WorkerRunner

# Locust is started from anywhere, and the folder it puts on the path is not the package's parent.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.traffic.arrivals import CLOSED
from benchmarks.traffic.load import LOAD, SENDERS

# Users per second; Locust warns beyond this rate.
SPAWN_RATE = 100.0
# Seconds: Locust calls a shape once a second.
SHORTEST = 1.0


class Ladder(LoadTestShape):
    """Rungs are requests/s with --arrival constant or poisson, and users in a closed loop."""

    use_common_options = True

    def __init__(self) -> None:
        super().__init__()
        self.rung = -1
        # Seconds of the run in which no user was ready yet.
        self.lost = 0.0

    def reset_time(self) -> None:
        """Begin a run."""
        super().reset_time()
        self.rung, self.lost = -1, 0.0
        LOAD.arrivals.reset()

    def tick(self) -> tuple[int, float] | None:
        """(users, users to start per second); None at the end."""
        assert self.runner is not None
        options = self.runner.environment.parsed_options
        assert options is not None
        rungs = heights(options.rungs)
        if self._waits():
            self.lost = self.get_run_time() - self.rung * options.rung_time
        # No rung is skipped, even where this process did not run for longer than a rung.
        rung = min(int((self.get_run_time() - self.lost) // options.rung_time), self.rung + 1)
        if rung >= len(rungs):
            return None
        if rung != self.rung:
            self.rung = rung
            _climb(self.runner, rungs[rung], options)
        users = int(rungs[rung]) if options.arrival == CLOSED else options.num_users or 1
        return users, min(users, SPAWN_RATE)

    def _waits(self) -> bool:
        """Whether the rung has not begun, because its users are still about to start."""
        arrivals = LOAD.arrivals
        begun = arrivals.phase is None or arrivals.phase.started or arrivals.open
        return not begun and not isinstance(self.runner, MasterRunner)


def _climb(runner: Runner, height: float, options: Namespace) -> None:
    """Begin a rung in this process and in its workers."""
    unit = " users" if options.arrival == CLOSED else "/s"
    rate, label = None if options.arrival == CLOSED else height, f"{height:g}{unit}"
    if isinstance(runner, MasterRunner):
        message = {"rate": rate, "label": label, "options": vars(options), SENDERS: runner.worker_count}
        runner.send_message("rung", message)
    LOAD.arrivals.start(LOAD.phase(rate, label, options))


def _follow(environment: Environment, msg: Any, **_: Any) -> None:
    """Begin the master's rung in a worker."""
    LOAD.take_share(environment.runner, msg.data)
    options = Namespace(**msg.data["options"])
    LOAD.arrivals.start(LOAD.phase(msg.data["rate"], msg.data["label"], options))


def heights(text: str) -> list[float]:
    """100,200,400 -> numbers; raises ValueError."""
    numbers = [float(word) for word in text.split(",")]
    if not all(0 < number < float("inf") for number in numbers) or len(set(numbers)) < len(numbers):
        raise ValueError(text)
    return numbers


def rungs(text: str) -> str:
    """The text of an option that names rungs."""
    try:
        heights(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} names no rungs: give different rates or numbers of users, like 100,200,400"
        ) from None
    return text


def seconds(text: str) -> float:
    """The seconds of a rung."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not SHORTEST <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a time: give {SHORTEST:g} second or more")
    return value


@events.init_command_line_parser.add_listener
def declare(parser: LocustArgumentParser, **_: Any) -> None:
    """Add the options to those of Locust."""
    parser.add_argument(
        "--rungs",
        default="100,200,400",
        type=rungs,
        help="requests per second or, in a closed loop, users, one after the other",
    )
    parser.add_argument("--rung-time", default=10.0, type=seconds, help="seconds on each rung")


@events.init.add_listener
def begin(environment: Environment, runner: Runner, **_: Any) -> None:
    if isinstance(runner, WorkerRunner):
        runner.register_message("rung", _follow)
