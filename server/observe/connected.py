"""How many connections this process holds, and how often they were as many as it takes."""

import logging

from unpickled.server.observe.counters import Block

logger = logging.getLogger("unpickled")

# The kinds of these series.
OPEN, FULL = "connections", "connections_full"


class Connected:
    """Counts the connections of one worker.

    Args:
        block: The counters of this process.
        limit: Connections that it holds at most.
    """

    def __init__(self, block: Block, limit: int) -> None:
        self._open = block.series((OPEN, str(block.number)), 1, gauge=True)
        self._reached = block.series((FULL,), 1)
        self._limit = limit
        self._full = self._told = False

    def note(self, count: int) -> None:
        """Take over how many are open; the first time that the limit is reached, the log tells it."""
        self._open[0] = float(count)
        full = count >= self._limit
        if full and not self._full:
            self._reached[0] += 1.0
            if not self._told:
                self._told = True
                logger.warning(
                    "a worker holds %d connections, the most that max_connections lets it: further ones "
                    "wait until others end",
                    count,
                )
        self._full = full
