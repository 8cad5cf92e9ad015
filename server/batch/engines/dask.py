"""Dask: each part is a task, in processes of this machine or on a cluster that runs already."""

import logging
import secrets
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from distributed import Client, LocalCluster, WorkerPlugin, as_completed

from unpickled.server import machine
from unpickled.server.batch.engines import address
from unpickled.server.batch.engines.engine import PATIENCE, first_line
from unpickled.server.batch.engines.outcome import Orders, Outcomes, score
from unpickled.server.batch.engines.start import quiet
from unpickled.server.batch.task import Part, Result, Task
from unpickled.server.errors import ServingError

_LOOPBACK = "127.0.0.1"


class Dask:
    """Scores parts as tasks of Dask.

    Args:
        address: That of a scheduler, such as tcp://10.0.0.1:8786; None starts processes on this machine.
        workers: How many processes are started here; those of a cluster that runs already are its own.
    """

    def __init__(self, address: str | None = None, workers: int | None = None) -> None:
        self._address = address
        self._workers = workers

    def run(self, task: Task, parts: Sequence[Part], told: Callable[[int], None]) -> Iterator[Result]:
        """The result of each part: see ``Engine``."""
        if parts:
            orders = Orders(task, parts)
            with self._client() as client:
                yield from orders.settled(_outcomes(client, orders), told)

    @contextmanager
    def _client(self) -> Iterator[Any]:
        """A client; it ends with the block, and so does a cluster that was started for it."""
        # A process that has died is replaced, and its part is scored again: nobody has to read of it.
        for name in ("distributed", "distributed.client"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        if self._address is None:
            with _started(self._workers or machine.processors()) as cluster, Client(cluster) as client:
                yield client
        else:
            address.check(self._address, "Dask", "tcp://10.0.0.1:8786")
            with _connected(self._address) as client:
                yield client


class Undisturbed(WorkerPlugin):  # type: ignore[misc]
    """Lets a process of this machine ignore Ctrl-C, which its driver answers: it would print a traceback."""

    def setup(self, worker: Any) -> None:
        """Dask calls it at the start of a process, of one that takes the place of another too."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _started(workers: int) -> Any:
    with quiet("Dask"):
        return LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            host=_LOOPBACK,
            # Any free port: another job may have Dask's own.
            dashboard_address=f"{_LOOPBACK}:0",
            plugins=[Undisturbed()],
            # Dask would stop a process for good that uses most of an equal share of the memory.
            memory_limit=0,
            silence_logs=logging.CRITICAL,
        )


@contextmanager
def _connected(scheduler: str) -> Iterator[Any]:
    try:
        client = Client(scheduler, timeout=PATIENCE)
    except (OSError, ValueError) as error:
        raise ServingError(f"Dask does not connect to {scheduler}: {first_line(error)}") from error
    with client:
        try:
            client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError as error:
            raise ServingError(f"the Dask cluster at {scheduler} has no worker: start one") from error
        yield client


def _outcomes(client: Any, orders: Orders) -> Outcomes:
    """The outcome of each part, in the order of their ends. A part whose process has died is scored anew."""
    job = secrets.token_hex(4)
    sources = {f"score-{job}-{number}": source for number, source in enumerate(orders.sources)}
    # They are not kept: an outcome that its worker still had to hold would be made again if that died.
    futures = as_completed(
        client.map(score, orders.parts, order=orders.task, key=list(sources), pure=False),
        with_results=True,
        raise_errors=False,
    )
    for future, text in futures:
        if future.status != "finished":
            raise ServingError(f"Dask has not scored {sources[future.key]}: {_reason(future)}")
        yield text


def _reason(future: Any) -> str:
    error = future.exception() if future.status == "error" else None
    return first_line(error) if error is not None else "the cluster is gone, or has cancelled it"
