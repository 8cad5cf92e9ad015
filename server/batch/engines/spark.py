"""Spark: each part is a job of one task, in mapInArrow, on this machine or on a cluster.

One job of many tasks would give back no outcome before its end, or with ``toLocalIterator`` score one part
after the other. Spark runs the jobs of several threads side by side, and knows which part has failed.
"""

import re
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from unpickled.server import machine
from unpickled.server.batch.engines import address
from unpickled.server.batch.engines.engine import PATIENCE, RETRIES, first_line
from unpickled.server.batch.engines.outcome import Orders, Outcomes, score
from unpickled.server.batch.engines.start import quiet
from unpickled.server.batch.task import Part, Result, Task
from unpickled.server.errors import ServingError

# The master that spark-submit has chosen.
SUBMITTED = "submitted"
_LOOPBACK = "127.0.0.1"
# Java hands parts to Python, and little else: compiling less for it halves the work of a start.
_JAVA = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
_PYTHON_ERROR = re.compile(r"^\w[\w.]*(?:Error|Exception): .*$", re.M)
_JAVA_ERROR = re.compile(r"^(?:: )?.*Exception: (.*)$", re.M)


class Spark:
    """Scores parts as tasks of Spark.

    Args:
        address: The master, such as spark://10.0.0.1:7077, yarn or k8s://...; SUBMITTED where spark-submit
            has started this process; None runs Spark on this machine.
        workers: How many parts are scored at a time; as many as Spark has processors if None.
    """

    def __init__(self, address: str | None = None, workers: int | None = None) -> None:
        self._address = address
        self._workers = workers

    def run(self, task: Task, parts: Sequence[Part], told: Callable[[int], None]) -> Iterator[Result]:
        """The result of each part: see ``Engine``."""
        if not parts:
            return
        orders = Orders(task, parts)
        with warnings.catch_warnings():
            # Spark warns of releases of pandas, which no part goes through.
            warnings.simplefilter("ignore")
            with self._session() as session:
                yield from orders.settled(_Jobs(session, orders, self._workers).outcomes(), told)

    @contextmanager
    def _session(self) -> Iterator[Any]:
        """A session; it ends with the block."""
        if self._address is not None and self._address.startswith("spark://"):
            address.check(self._address, "Spark", "spark://10.0.0.1:7077")
        with quiet("Spark", _reason):
            session = self._builder().getOrCreate()
        try:
            yield session
        finally:
            session.stop()

    def _builder(self) -> Any:
        builder = SparkSession.builder.appName("unpickled").config("spark.ui.showConsoleProgress", "false")
        if self._address == SUBMITTED:
            return builder
        if self._address is not None:
            return builder.master(self._address)
        # Spark on one machine begins no task anew, unless the number of failures is said.
        builder = builder.master(f"local[{self._workers or machine.processors()},{RETRIES + 1}]")
        for key in ("spark.driver.host", "spark.driver.bindAddress"):
            builder = builder.config(key, _LOOPBACK)
        return builder.config("spark.ui.enabled", "false").config("spark.driver.extraJavaOptions", _JAVA)


class _Jobs:
    """The jobs of a session: as many at a time as it has processors."""

    def __init__(self, session: Any, orders: Orders, workers: int | None) -> None:
        self._session = session
        self._context = session.sparkContext
        if self._context.master.startswith("local"):
            # Otherwise the first python3 of the shell, which may be another one.
            self._context.pythonExec = sys.executable
        self._orders = orders
        self._workers = workers

    def outcomes(self) -> Outcomes:
        """The outcome of each part, in the order of their ends."""
        waiting = deque(zip(self._orders.parts, self._orders.sources, strict=True))
        running: dict[Future[str], str] = {}
        pool = ThreadPoolExecutor(len(waiting))
        try:
            while waiting or running:
                while waiting and len(running) < self._slots():
                    part, source = waiting.popleft()
                    running[pool.submit(self._scored, part)] = source
                for job in self._ended(running):
                    yield _outcome(job, running.pop(job))
        finally:
            # A job that a thread begins only now is ended with the session: nothing waits for it here.
            self._context.cancelAllJobs()
            pool.shutdown(wait=False, cancel_futures=True)

    def _slots(self) -> int:
        """How many jobs run at a time; a cluster that grows has more of them later."""
        return self._workers or max(1, int(self._context.defaultParallelism))

    def _ended(self, running: dict[Future[str], str]) -> set[Future[str]]:
        ended = wait(running, PATIENCE, FIRST_COMPLETED).done
        if not ended and not self._has_executors():
            raise ServingError(
                f"Spark at {self._context.master} has given no executor for {PATIENCE:.0f} s: "
                "start workers, or wait until others have ended"
            )
        return ended

    def _has_executors(self) -> bool:
        # The driver itself is counted; on one machine it is the executor.
        nodes = int(self._context._jsc.sc().getExecutorMemoryStatus().size())
        return nodes > 1 or self._context.master.startswith("local")

    def _scored(self, part: str) -> str:
        frame = self._session.createDataFrame([(part,)], "part string")
        rows = frame.mapInArrow(_scorer(self._orders.task), "outcome string").collect()
        return str(rows[0]["outcome"])


def _outcome(job: Future[str], source: str) -> str:
    try:
        return job.result()
    except (PySparkException, Py4JError) as error:
        raise ServingError(f"Spark has not scored {source}: {_reason(error)}") from error


def _scorer(task: str) -> Callable[[Iterator[Any]], Iterator[Any]]:
    """The function that Spark calls in its Python processes with batches of Arrow."""

    def scored(batches: Iterator[Any]) -> Iterator[Any]:
        for batch in batches:
            parts = batch.column("part").to_pylist()
            yield batch.from_pydict({"outcome": [score(part, task) for part in parts]})

    return scored


def _reason(error: Exception) -> str:
    """The line of an error in two languages that says most."""
    text = str(error)
    python, java = _PYTHON_ERROR.findall(text), _JAVA_ERROR.findall(text)
    return first_line(Exception(python[-1] if python else java[0] if java else text))
