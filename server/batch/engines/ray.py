"""Ray: a pool of actors of Ray Data, each with a session, here or on a cluster that runs already."""

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any

from unpickled.server import machine
from unpickled.server.batch.engines import address
from unpickled.server.batch.engines.engine import PATIENCE, RETRIES, first_line
from unpickled.server.batch.engines.outcome import Orders, Outcomes, score
from unpickled.server.batch.engines.start import quiet
from unpickled.server.batch.task import Part, Result, Task
from unpickled.server.errors import ServingError
from unpickled.server.quote import listed

# Bytes of shared memory: the parts and their outcomes are short texts.
_STORE = 100_000_000


class Ray:
    """Scores parts in a pool of actors.

    Args:
        address: That of a cluster to which this machine belongs, such as 10.0.0.1:6379 or auto; None starts
            Ray on this machine.
        workers: The number of actors, each on a processor; all processors of the cluster if None.
    """

    def __init__(self, address: str | None = None, workers: int | None = None) -> None:
        self._address = address
        self._workers = workers
        _prepare(os.environ, address is None)
        # A missing library is an error at once.
        import ray.data  # noqa: F401

    def run(self, task: Task, parts: Sequence[Part], told: Callable[[int], None]) -> Iterator[Result]:
        """The result of each part: see ``Engine``."""
        if parts:
            orders = Orders(task, parts)
            with self._connected() as processors:
                actors = max(1, min(self._workers or processors, len(parts)))
                yield from orders.settled(_outcomes(orders, actors), told)

    @contextmanager
    def _connected(self) -> Iterator[int]:
        """The processors of Ray, connected to in the block; it ends then, if it was started for the block."""
        import ray

        if self._address is not None:
            _check(self._address)
        with quiet("Ray"):
            ray.init(**self._settings(), log_to_driver=False, logging_level=logging.CRITICAL)
        try:
            # It tells of a process that has died on stdout, which has the result of the command.
            with redirect_stdout(sys.stderr):
                yield int(ray.cluster_resources().get("CPU", 1))
        finally:
            ray.shutdown()

    def _settings(self) -> dict[str, Any]:
        if self._address is not None:
            return {"address": self._address}
        return {
            "address": "local",
            "num_cpus": self._workers or machine.processors(),
            "object_store_memory": _STORE,
            "include_dashboard": False,
        }


def _prepare(environ: MutableMapping[str, str], local: bool) -> None:
    """Set what Ray reads when it is imported, and what the processes that it starts inherit."""
    # It reports nothing to its makers, and its logs in C++ stay in files.
    environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    if local:
        # Only so, whatever the system, it listens on 127.0.0.1 alone.
        environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"


class Actor:
    """Scores the parts that it is given, one after the other."""

    def __init__(self, task: str) -> None:
        self._task = task

    def __call__(self, row: dict[str, str]) -> dict[str, str]:
        """The outcome of the part of a row."""
        return {**row, "outcome": score(row["part"], self._task)}


def _check(cluster: str) -> None:
    if cluster.startswith("ray://"):
        raise ServingError(
            f"{cluster} is the address of Ray's client: start the job on a machine of the cluster, as with "
            "ray job submit, and name --engine-address auto"
        )
    if cluster != "auto":
        address.check(cluster, "Ray", "10.0.0.1:6379")


def _outcomes(orders: Orders, actors: int) -> Outcomes:
    """The outcome of each part, in the order of their ends. Ray scores a part anew whose process has died."""
    from ray.exceptions import RayError

    left = dict(zip(orders.parts, orders.sources, strict=True))
    try:
        for row in _dataset(orders, actors).iter_rows():
            del left[row["part"]]
            yield row["outcome"]
    except RayError as error:
        raise ServingError(f"Ray has not scored {listed(left.values(), 3)}: {first_line(error)}") from error


def _dataset(orders: Orders, actors: int) -> Any:
    """The outcomes as a dataset, with a block for each part."""
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.wait_for_min_actors_s = PATIENCE
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    rows = ray.data.from_items(
        [{"part": part} for part in orders.parts], override_num_blocks=len(orders.parts)
    )
    with warnings.catch_warnings():
        # The argument with the retries goes with 2.64, which setup.cfg leaves out.
        warnings.simplefilter("ignore")
        return rows.map(
            Actor,
            fn_constructor_args=[orders.task],
            # A second part that waits for an actor is none that another one takes.
            compute=ray.data.ActorPoolStrategy(
                min_size=1, max_size=actors, initial_size=actors, max_tasks_in_flight_per_actor=1
            ),
            num_cpus=1,
            ray_remote_args_fn=_retried,
        )


def _retried() -> dict[str, int]:
    """Dead actors are replaced; a part that ends every actor is an error: Ray Data would never give up."""
    return {"max_restarts": -1, "max_task_retries": RETRIES}
