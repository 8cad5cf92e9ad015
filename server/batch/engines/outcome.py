"""The work of one process of a cluster: a part is scored there, and its outcome travels back as text.

An error travels as a value. Raised there, it would be scored again as often as a process that has died, and
would come back as the engine's own error with the traces of two languages.
"""

import functools
import platform
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from importlib.metadata import PackageNotFoundError, version

import msgspec
from msgspec.structs import replace

from unpickled.server.batch.engines import sight
from unpickled.server.batch.engines.sight import SHARED
from unpickled.server.batch.places.paths import absolute
from unpickled.server.batch.task import Part, Result, Task
from unpickled.server.batch.worker import Worker
from unpickled.server.errors import ServingError, UnpickledError

# The texts that ``score`` has returned, as their engine has them.
Outcomes = Generator[str, None, None]


class _Order(msgspec.Struct, frozen=True):
    """The job, and the release of this package that the job was started with."""

    task: Task
    release: str


class _Outcome(msgspec.Struct, frozen=True):
    """The result, or the sentence that says why there is none, and the machine where it was made."""

    node: str
    result: Result | None = None
    failure: str = ""


def score(part: str, order: str) -> str:
    """Score a part in this process, which keeps the model for the next one, and return the outcome."""
    try:
        result = _scored(order, msgspec.json.decode(part, type=Part))
    except UnpickledError as error:
        return _text(_Outcome(platform.node(), failure=str(error)))
    return _text(_Outcome(platform.node(), result))


class Orders:
    """A job as text for processes that may have another working folder, and their outcomes.

    Attributes:
        task: The task, for ``score``.
        parts: The parts, for ``score``, in their order.
        sources: Their sources.
    """

    def __init__(self, task: Task, parts: Sequence[Part]) -> None:
        self.task = _text(_Order(task, _release()))
        self._logged = task.logged
        self._parts = {absolute(part.target): part for part in parts}
        self.parts = [_text(_located(part)) for part in parts]
        self.sources = [part.source for part in parts]

    def settled(self, outcomes: Outcomes, told: Callable[[int], None]) -> Iterator[Result]:
        """The result in each outcome, once its file is seen on this machine.

        Args:
            outcomes: The texts that ``score`` has returned.
            told: Is told how many rows each has.

        Raises:
            ServingError: There is none; the sentence names the part and the node.
        """
        # Where a part has failed, the engine ends the others before the cluster is left.
        with sight.shown(self._logged), closing(outcomes):
            for text in outcomes:
                result = self._result(text)
                told(result.rows + result.refused)
                yield result

    def _result(self, text: str) -> Result:
        outcome = msgspec.json.decode(text, type=_Outcome)
        if outcome.result is None:
            raise ServingError(f"{outcome.failure} (on node {outcome.node})")
        target = outcome.result.part.target
        if not sight.appears(target):
            raise ServingError(f"{target} was written on node {outcome.node}, but is not seen here: {SHARED}")
        return replace(outcome.result, part=self._parts[target])


def _scored(order: str, part: Part) -> Result:
    if not sight.exists(part.source):
        raise ServingError(f"{part.source} is not there: {SHARED}")
    try:
        return _worker(order).score(part)
    except UnpickledError:
        raise
    except Exception as error:
        raise ServingError(f"{part.source} cannot be scored: {type(error).__name__}: {error}") from error


@functools.lru_cache(maxsize=1)
def _worker(order: str) -> Worker:
    """The worker of this process; it lasts until another job is done here."""
    asked = msgspec.json.decode(order, type=_Order)
    if asked.release != _release():
        raise ServingError(
            f"unpickled {_release()} is installed, and the job was started with {asked.release}: "
            "install the same release on every node"
        )
    if not sight.exists(asked.task.model):
        raise ServingError(f"{asked.task.model} is not there: {SHARED}")
    sight.check_log(asked.task.logged)
    # Where signatures are required, the driver has checked that of the file whose digest is in the task, and
    # Worker compares the digest: a node needs no keys, and its own settings do not count.
    return Worker(asked.task)


def _located(part: Part) -> Part:
    return replace(
        part,
        source=absolute(part.source),
        target=absolute(part.target),
        refused=absolute(part.refused),
    )


def _release() -> str:
    try:
        return version("unpickled")
    except PackageNotFoundError:
        return "(a checkout)"


def _text(value: msgspec.Struct) -> str:
    return msgspec.json.encode(value).decode()
