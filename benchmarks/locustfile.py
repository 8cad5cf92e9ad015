# mypy: disallow-untyped-calls=False, disallow-untyped-decorators=False
"""Load on a prediction server, with Locust: every answer is checked, times are true below a millisecond.

locust -f benchmarks/locustfile.py --host http://127.0.0.1:8000
"""

import argparse
import logging
import math
import os
import signal
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, ClassVar

import gevent
from locust import User, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.exception import CatchResponseError
from locust.runners import STATE_INIT, MasterRunner, Runner, WorkerRunner

# Locust is started from anywhere, and the folder it puts on the path is not the package's parent.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.traffic import digits, latencies
from benchmarks.traffic.arrivals import (
    CLOSED,
    CONSTANT,
    GRACE,
    POISSON,
    UNANSWERED,
    UNSENT,
    Lost,
    Request,
    Turn,
    wait_while,
)
from benchmarks.traffic.connection import FAULTS, Response
from benchmarks.traffic.contracts import CONTRACTS, WrongAnswer
from benchmarks.traffic.load import LOAD, SENDERS
from benchmarks.traffic.payloads import RECORD, SINGLE, Payload, batch

# Connections of an open loop without --users; a request waits for a free one.
USERS = 32

# One exception for each reason: at the end of an overloaded run there may be 100,000 lost requests.
LOST = {reason: CatchResponseError(reason) for reason in (UNANSWERED, UNSENT)}

# Workers that still wait for answers at the end.
busy: set[str] = set()

logger = logging.getLogger("locust.predictions")
console = logging.getLogger("locust.stats_logger")
digits.install()

# During the start, when Locust could swallow a KeyboardInterrupt.
signal.signal(signal.SIGINT, lambda *_: os._exit(130))


def _end_with(parent: int) -> None:
    """End a worker that Locust forked with its parent: without one it would go on for minutes."""
    while os.getppid() == parent:
        gevent.sleep(1)
    os._exit(1)


os.register_at_fork(after_in_child=partial(gevent.spawn, _end_with, os.getpid()))


class Client(User):
    """A user with one keep-alive connection. ``kinds``: the kinds of its payloads, by weight."""

    abstract = True
    kinds: ClassVar[Mapping[str, float]] = {}

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.connection = LOAD.connection()

    @classmethod
    def sends(cls, rows: int) -> Mapping[str, float]:
        """The kinds of its payloads; ``rows`` is the number of rows in a request of Array."""
        return cls.kinds

    def on_start(self) -> None:
        try:
            self.connection.open()
        except OSError:
            # The first request meets the same error, and is counted.
            self.connection.close()

    def on_stop(self) -> None:
        self.connection.close()

    @task
    def predict(self) -> None:
        """Send one request when it is due."""
        turn = LOAD.arrivals.turn()
        if turn is not None:
            self._send(LOAD.payload(type(self).__name__), turn)

    def _send(self, payload: Payload, turn: Turn) -> None:
        started = perf_counter()
        answer = self._exchange(payload, turn)
        # Read before the check of the answer, which is not the server's time.
        seconds = perf_counter() - turn.due
        if turn.phase.rate is not None:
            turn.phase.late(payload.kind, started - turn.possible)
        if answer is not None:
            length = len(answer.content) if isinstance(answer, Response) else 0
            name, fault = turn.phase.name(payload.kind), _fault(payload, answer)
            _count(self.environment, name, seconds, fault, length)

    def _exchange(self, payload: Payload, turn: Turn) -> Response | Exception | None:
        """The response or the error; None where the request has been counted as lost."""
        waiting = LOAD.arrivals.open
        request = Request(turn, payload.kind)
        waiting.add(request)
        answer: Response | Exception
        try:
            answer = self.connection.exchange(payload.message)
        except FAULTS as error:
            answer = error
        except BaseException:
            waiting.discard(request)
            raise
        if request not in waiting:
            return None
        waiting.remove(request)
        return answer


def _count(
    environment: Environment, name: str, seconds: float, fault: CatchResponseError | None, length: int = 0
) -> None:
    environment.events.request.fire(
        request_type=latencies.METHOD,
        name=name,
        response_time=seconds * 1000,
        response_length=length,
        exception=fault,
        context={},
    )


def _fault(payload: Payload, answer: Response | Exception) -> CatchResponseError | None:
    """The fault of an answer; errors with the same fault share the first sentence, so that they add up."""
    if isinstance(answer, Exception):
        return CatchResponseError(f"no answer: {answer or type(answer).__name__}")
    try:
        payload.check(answer)
    except WrongAnswer as error:
        return CatchResponseError(LOAD.faults.setdefault(error.fault, str(error)))
    return None


class Array(Client):
    """One row per request, as a list of values; --rows sets another number."""

    kinds: ClassVar = {SINGLE: 1}

    @classmethod
    def sends(cls, rows: int) -> Mapping[str, float]:
        return {batch(rows): 1} if rows > 1 else cls.kinds


class Record(Client):
    """One row per request, by feature name."""

    kinds: ClassVar = {RECORD: 1}


class Batch10(Client):
    """10 rows per request."""

    kinds: ClassVar = {batch(10): 1}


class Batch100(Client):
    """100 rows per request."""

    kinds: ClassVar = {batch(100): 1}


class Batch1000(Client):
    """1000 rows per request."""

    kinds: ClassVar = {batch(1000): 1}


class Mixed(Client):
    """Mostly single rows, and now and then a batch: the default."""

    kinds: ClassVar = {SINGLE: 60, RECORD: 30, batch(10): 7, batch(100): 2, batch(1000): 1}


def rate(text: str) -> float:
    """Requests per second; 0 is the default, which sets no rate."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a rate: give requests per second, like 500")
    return value


def rows(text: str) -> int:
    """A number of rows."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of rows: give 1 or more, like 100")
    return int(text)


@events.init_command_line_parser.add_listener
def declare(parser: LocustArgumentParser, **_: Any) -> None:
    """Add the options to those of Locust."""
    # The web page sends text, so the defaults are "" and 0 rather than None.
    parser.add_argument(
        "--model", default="", help="model to load, at /models/NAME/predict (default: /predict)"
    )
    parser.add_argument(
        "--contract", default="native", choices=list(CONTRACTS), help="form of requests and answers"
    )
    parser.add_argument(
        "--sample", default="", help="file with rows and scikit-learn's answers, to compare with"
    )
    parser.add_argument("--features", default="", help="saved answer of GET /models, for a server without it")
    parser.add_argument(
        "--arrival",
        default=CLOSED,
        choices=[CLOSED, CONSTANT, POISSON],
        help="closed: users send as soon as they have their answer; constant, poisson: requests come at "
        "--rate whatever the server does, and latency counts from when they were due",
    )
    parser.add_argument(
        "--rate", default=0.0, type=rate, help="requests per second of all users, in an open loop"
    )
    parser.add_argument(
        "--rows", default=1, type=rows, help="different rows in each request of the user class Array"
    )
    parser.add_argument("--latencies", default="", help="file for the latencies, as JSON")


@events.init.add_listener
def begin(environment: Environment, runner: Runner, **_: Any) -> None:
    """Set the defaults, and check the options before anything is sent."""
    _drain_first(runner)
    LOAD.arrivals.lost = partial(_lose, environment)
    # In a greenlet of its own, not in the one that happens to run.
    gevent.signal_handler(signal.SIGINT, _interrupt, environment)
    if isinstance(runner, WorkerRunner):
        _follow(environment, runner)
        return
    options = _options(environment)
    if not options.user_classes and not options.class_picker:
        environment.user_classes[:] = [Mixed]
    if options.arrival != CLOSED and options.num_users is None:
        options.num_users = USERS
    if options.arrival != CLOSED and options.spawn_rate is None:
        options.spawn_rate = min(options.num_users, 100)
    if isinstance(runner, MasterRunner):
        environment.events.worker_report.add_listener(_reported)
        runner.register_message("drained", _drained)
    if options.headless:
        _prepare(environment)
        if LOAD.problem:
            sys.exit(f"error: {LOAD.problem}")


def _follow(environment: Environment, runner: WorkerRunner) -> None:
    """Make a worker follow the master."""
    runner.register_message("drain", _drain)
    environment.events.report_to_master.add_listener(_report)


def _interrupt(environment: Environment) -> None:
    """Ctrl-C: end in order, or at once during a headless start, where Locust would leave its workers."""
    runner = environment.runner
    assert runner is not None
    starting = runner.state == STATE_INIT and not isinstance(runner, WorkerRunner)
    if starting and _options(environment).headless:
        os._exit(130)
    raise KeyboardInterrupt


@events.test_start.add_listener
def start(environment: Environment, **_: Any) -> None:
    runner = environment.runner
    assert runner is not None
    if isinstance(runner, MasterRunner):
        # Part of the options: a message of its own may arrive before a worker listens for it.
        vars(_options(environment))[SENDERS] = max(runner.worker_count, 1)
    elif isinstance(runner, WorkerRunner):
        LOAD.take_share(runner, vars(_options(environment)))
    _prepare(environment)
    if LOAD.problem:
        LOAD.arrivals.reset()
        logger.error(LOAD.problem)
        gevent.spawn(runner.stop)
    elif environment.shape_class is None:
        options = _options(environment)
        LOAD.arrivals.reset()
        LOAD.arrivals.start(LOAD.phase(options.rate or None, "", options))


@events.quitting.add_listener
def finish(environment: Environment, **_: Any) -> None:
    """Write the latencies, also after Ctrl-C."""
    runner = environment.runner
    if runner is None or isinstance(runner, WorkerRunner):
        return
    runner.quit()
    alone = not isinstance(runner, MasterRunner)
    measured = latencies.measured(environment.stats, LOAD.arrivals.phases, alone)
    # Printed last, after the output of Locust.
    lines = latencies.table(measured) if measured else ["Nothing was measured."]
    environment.events.quit.add_listener(lambda **_: console.info("\n".join(lines)))
    path = _options(environment).latencies
    try:
        if path:
            latencies.write(measured, Path(path))
    except OSError as error:
        print(f"error: --latencies {path} cannot be written: {error.strerror}", file=sys.stderr)
        environment.process_exit_code = 1


def _drain_first(runner: Runner) -> None:
    """Drain before Locust stops: it then reads sources for some 20 ms, with requests in flight."""
    changed: Any = runner
    original = runner.stop

    def stop(*args: Any, **kwargs: Any) -> None:
        workers = runner.clients.all if isinstance(runner, MasterRunner) and LOAD.arrivals.phase else []
        if workers:
            busy.update(worker.id for worker in workers)
            changed.send_message("drain", {})
        LOAD.arrivals.drain()
        if workers:
            # Locust waits half a second for the last report, which has to include the requests in flight.
            wait_while(lambda: any(worker.id in busy for worker in changed.clients.all), 2 * GRACE)
        original(*args, **kwargs)

    changed.stop = stop


def _drain(environment: Environment, **_: Any) -> None:
    """Drain a worker, then report that to the master."""
    LOAD.arrivals.drain()
    if environment.runner is not None:
        environment.runner.send_message("drained", {})


def _drained(msg: Any, **_: Any) -> None:
    busy.discard(msg.node_id)


def _lose(environment: Environment, lost: Lost) -> None:
    name = lost.phase.name(lost.kind or LOAD.kind())
    _count(environment, name, lost.age, LOST[lost.reason])


def _prepare(environment: Environment) -> None:
    options = _options(environment)
    classes = [user for user in environment.user_classes if issubclass(user, Client)]
    users = {user.__name__: user.sends(options.rows) for user in classes}
    LOAD.prepare(environment.host, options, users)


def _options(environment: Environment) -> argparse.Namespace:
    options = environment.parsed_options
    assert isinstance(options, argparse.Namespace)
    return options


def _report(data: dict[str, Any], **_: Any) -> None:
    """Add to a worker's report how late its requests were sent since the last one."""
    data["lateness"] = [
        (phase.label, kind, dict(late))
        for phase in LOAD.arrivals.phases
        for kind, late in phase.lateness.items()
    ]
    for phase in LOAD.arrivals.phases:
        phase.lateness.clear()


def _reported(data: dict[str, Any], **_: Any) -> None:
    phases = {phase.label: phase for phase in LOAD.arrivals.phases}
    for label, kind, late in data.get("lateness", []):
        if label in phases:
            phases[label].lateness[kind].update(late)
