"""Where predictions come from, and what became of their rows.

    ("taken", model, version)       CONSUMED, DROPPED and LOST rows

All rows that are answered are one of the three, or wait in the queue of an intake. LOST are those that were
in the queue of a worker that died: its successor counts them. The answered ones are in the series of the
tally.
"""

from typing import NamedTuple

from unpickled.server.lifecycle.versions import Served
from unpickled.server.observe.counters import Block, Numbers

# (TAKEN, model, version)
TAKEN = "taken"
# Offsets in such a series.
CONSUMED_ROWS, DROPPED_ROWS, LOST_ROWS = range(3)
SIZE = 3


class Source(NamedTuple):
    """The version and the route that answer, and the counts of the rows that are taken from them.

    ``route`` is a pattern ("/models/<name>/predict").
    """

    served: Served
    route: str
    counts: Numbers

    @classmethod
    def of(cls, served: Served, route: str, block: Block) -> "Source":
        return cls(served, route, block.series((TAKEN, served.name, str(served.version)), SIZE))
