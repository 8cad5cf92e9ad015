"""The interface of all engines."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from unpickled.server.batch.task import Part, Result, Task
from unpickled.server.quote import printable, shortened

# How often a part is begun anew after its process has died: a part may be what ends every process.
RETRIES = 3
# Seconds for the first process of a cluster, which may have to start a machine first.
PATIENCE = 300.0


class Engine(Protocol):
    """Scores parts, each with batch/worker.py, wherever its processes run.

    A part may be scored twice where a process dies in the middle: its files are the same, and appear whole.
    """

    def run(self, task: Task, parts: Sequence[Part], told: Callable[[int], None]) -> Iterator[Result]:
        """The result of each part, as soon as it is there, in any order.

        Args:
            task: The job.
            parts: The parts that are not done yet.
            told: Is told how many more rows have been scored, where the engine knows that before
                a part is done.

        Raises:
            ServingError: A part cannot be read or written, or the engine fails; the sentence names it.
        """


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its kind where that is empty; further lines trace a stack."""
    lines = (line.strip() for line in str(error).splitlines())
    return printable(shortened(next(filter(None, lines), type(error).__name__), 200))
