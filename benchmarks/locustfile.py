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

# Connections of an open loop, unless --users says so: requests wait for a free one.
USERS = 32

# One exception for all of a sort: at the end of an overloaded run there may be 100,000.
LOST = {reason: CatchResponseError(reason) for reason in (UNANSWERED, UNSENT)}

# Workers that still wait for answers at the end.
busy: set[str] = set()

logger = logging.getLogger("locust.predictions")
console = logging.getLogger("locust.stats_logger")
digits.install()

# Workers that Locust forks leave it with this number as their parent's.
FORKED_BY = os.getpid()
# Until there is something to be ended in order: an exception may be swallowed by whatever Locust does then.
signal.signal(signal.SIGINT, lambda *_: os._exit(130))


class Client(User):
    """One keep-alive connection. ``kinds``: what its users send, by weight."""

    abstract = True
    kinds: ClassVar[Mapping[str, float]] = {}

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.connection = LOAD.connection()

    @classmethod
    def sends(cls, rows: int) -> Mapping[str, float]:
        """Its kinds, given how many rows a request of Array has."""
        return cls.kinds

    def on_start(self) -> None:
        try:
            self.connection.open()
        except OSError:
            # The first request will find the same, and is counted.
            self.connection.close()

    def on_stop(self) -> None:
        self.connection.close()

    @task
    def predict(self) -> None:
        """Send one request when its time has come."""
        turn = LOAD.arrivals.turn()
        if turn is not None:
            self._send(LOAD.payload(type(self).__name__), turn)

    def _send(self, payload: Payload, turn: Turn) -> None:
        started = perf_counter()
        answer = self._ask(payload, turn)
        # Taken before the answer is looked at: checking is not the server's time.
        seconds = perf_counter() - turn.due
        if turn.phase.rate is not None:
            turn.phase.late(payload.kind, started - turn.possible)
        if answer is not None:
            length = len(answer.content) if isinstance(answer, Response) else 0
            name, fault = turn.phase.name(payload.kind), _fault(payload, answer)
            _count(self.environment, name, seconds, fault, length)

    def _ask(self, payload: Payload, turn: Turn) -> Response | Exception | None:
        """What came; None where the request was counted as lost before."""
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
    """What is wrong with an answer; the first sentence of its sort stands for all, so that they add up."""
    if isinstance(answer, Exception):
        return CatchResponseError(f"no answer: {answer or type(answer).__name__}")
    try:
        payload.check(answer)
    except WrongAnswer as wrong:
        return CatchResponseError(LOAD.faults.setdefault(wrong.what, str(wrong)))
    return None


class Array(Client):
    """One row per request, as a list of values; with --rows, as many."""

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
    """Mostly single rows, now and then a batch. What runs when no class is named."""

    kinds: ClassVar = {SINGLE: 60, RECORD: 30, batch(10): 7, batch(100): 2, batch(1000): 1}


def rate(text: str) -> float:
    """Requests per second, 0 where none is given."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no rate: give requests per second, like 500")
    return value


def rows(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of rows: give one from 1 on, like 100")
    return int(text)


@events.init_command_line_parser.add_listener
def declare(parser: LocustArgumentParser, **_: Any) -> None:
    # The web page hands back text: an option that is not given is "" or 0 rather than None.
    parser.add_argument(
        "--model", default="", help="model to ask, at /models/NAME/predict; without, /predict is asked"
    )
    parser.add_argument("--contract", default="native", choices=list(CONTRACTS), help="how the server speaks")
    parser.add_argument(
        "--sample", default="", help="file with rows and scikit-learn's answers, which all answers must equal"
    )
    parser.add_argument(
        "--features", default="", help="saved answer of GET /models, for a server that has none"
    )
    parser.add_argument(
        "--arrival",
        default=CLOSED,
        choices=[CLOSED, CONSTANT, POISSON],
        help="closed: users send as soon as they have their answer; constant, poisson: requests come at "
        "--rate whatever the server does, and latency counts from when they were to be sent",
    )
    parser.add_argument(
        "--rate", default=0.0, type=rate, help="requests per second of all users, in an open loop"
    )
    parser.add_argument(
        "--rows", default=1, type=rows, help="rows in each request of the user class Array, all different"
    )
    parser.add_argument("--latencies", default="", help="file to write what was measured to, as JSON")


@events.init.add_listener
def begin(environment: Environment, runner: Runner, **_: Any) -> None:
    """Defaults; and what can be found wrong before anything is sent."""
    _drain_first(runner)
    LOAD.arrivals.lost = partial(_lose, environment)
    # Not from within whatever greenlet runs at that moment.
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
    """A worker does what the master tells it, for as long as there is one."""
    if _options(environment).processes:
        gevent.spawn(_end_with_parent)
    runner.register_message("drain", _drain)
    environment.events.report_to_master.add_listener(_report)


def _interrupt(environment: Environment) -> None:
    """Ctrl-C: Locust ends in order, but for a start without a page, of which it would leave its workers."""
    runner = environment.runner
    assert runner is not None
    starts = runner.state == STATE_INIT and not isinstance(runner, WorkerRunner)
    if starts and _options(environment).headless:
        os._exit(130)
    raise KeyboardInterrupt


def _end_with_parent() -> None:
    """A worker that Locust forked is of no use without it, and would go on for minutes."""
    while os.getppid() == FORKED_BY:
        gevent.sleep(1)
    os._exit(1)


@events.test_start.add_listener
def start(environment: Environment, **_: Any) -> None:
    runner = environment.runner
    assert runner is not None
    if isinstance(runner, MasterRunner):
        # Sent along with the options; a message of its own may come before a worker listens for it.
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
    """Write what was found; with Ctrl-C too."""
    runner = environment.runner
    if runner is None or isinstance(runner, WorkerRunner):
        return
    runner.quit()
    alone = not isinstance(runner, MasterRunner)
    found = latencies.found(environment.stats, LOAD.arrivals.phases, alone)
    # Said when Locust has said everything else.
    lines = latencies.table(found) if found else ["Nothing was measured."]
    environment.events.quit.add_listener(lambda **_: console.info("\n".join(lines)))
    path = _options(environment).latencies
    try:
        if path:
            latencies.write(found, Path(path))
    except OSError as error:
        print(f"error: --latencies {path} cannot be written: {error.strerror}", file=sys.stderr)
        environment.process_exit_code = 1


def _drain_first(runner: Runner) -> None:
    """Locust begins to stop by reading sources for some 20 ms: nothing may be in flight meanwhile."""
    changed: Any = runner
    original = runner.stop

    def stop(*args: Any, **kwargs: Any) -> None:
        workers = runner.clients.all if isinstance(runner, MasterRunner) and LOAD.arrivals.phase else []
        if workers:
            busy.update(worker.id for worker in workers)
            changed.send_message("drain", {})
        LOAD.arrivals.drain()
        if workers:
            # Locust waits half a second for the last report, which requests in flight are to be part of.
            wait_while(lambda: any(worker.id in busy for worker in changed.clients.all), 2 * GRACE)
        original(*args, **kwargs)

    changed.stop = stop


def _drain(environment: Environment, **_: Any) -> None:
    """A worker ends its part, and says when it has."""
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
    """What a worker tells the master besides Locust's statistics: how late it was since the last time."""
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
