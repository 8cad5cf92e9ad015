"""The folders that each scan looks at: all of them, or where there are very many, some in turn.

A look costs some 50 us. So a server of a thousand models that nobody asks takes a hundredth of a processor.
"""

from collections.abc import Mapping

from unpickled.server.lifecycle.shelf import Shelf

# Folders that one scan looks at, beside those in which something is changing.
MOST = 50


class Looks:
    """Chooses folders, so that each gets a look once a round."""

    def __init__(self) -> None:
        self._next = 0

    @staticmethod
    def scans(count: int) -> int:
        """How many scans a round of so many folders takes."""
        return max(1, -(-count // MOST))

    def due(self, shelves: Mapping[str, Shelf]) -> list[Shelf]:
        """The folders for the next scan."""
        every = list(shelves.values())
        if len(every) <= MOST:
            return every
        self._next %= len(every)
        turn = every[self._next : self._next + MOST]
        self._next += MOST
        chosen = {id(shelf) for shelf in turn}
        return turn + [shelf for shelf in every if not shelf.idle and id(shelf) not in chosen]
