"""A thread that gives memory back to the system after large requests."""

import threading
import time
import weakref

from unpickled.server import heap
from unpickled.server.inference.budget import Budget

# Seconds between two times that memory is given back: it takes some milliseconds.
_PAUSE = 1.0


class Trimmer:
    """Gives freed memory back whenever large requests have ended, once a second at most.

    Args:
        budget: Tells of the end of large requests; the thread ends when it is released.
    """

    def __init__(self, budget: Budget) -> None:
        weakref.finalize(budget, budget.ended.set)
        self._arguments = (weakref.ref(budget), budget.ended)

    def start(self) -> None:
        """Start the thread."""
        threading.Thread(target=_run, args=self._arguments, name="trimmer", daemon=True).start()


def _run(budget: "weakref.ref[Budget]", ended: threading.Event) -> None:
    while True:
        ended.wait()
        if budget() is None:
            return
        time.sleep(_PAUSE)
        ended.clear()
        heap.trim()
