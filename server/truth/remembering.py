"""The consumer of an intake that remembers rows until their truth is known, and counts what was predicted."""

from unpickled.server.observe import ids
from unpickled.server.observe.counters import Block
from unpickled.server.observe.lot import Lot
from unpickled.server.truth.joined import Joined
from unpickled.server.truth.recent import Recent


class Remembering:
    """Remembers the rows of the worker that has a block."""

    name = "recent predictions"

    def __init__(self, block: Block, recent: Recent, joined: Joined) -> None:
        self._block = block
        self._place = block.number or 0
        self._recent = recent
        self._joined = joined

    def consume(self, lot: Lot) -> None:
        """Remember some rows."""
        # Counted first: rows with a truth are never more than rows that were predicted.
        if lot.shadow is None:
            self._joined.predict(lot.source.served, lot.labels, lot.times)
        self._recent.remember(self._place, lot)

    def rest(self) -> None:
        """Tell those who wait for a row that all which were answered before this pass have come."""
        self._recent.settle(self._place, ids.noted(self._block))

    def close(self) -> None:
        """Nothing is open."""
