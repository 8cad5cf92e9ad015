"""Requests of each caller that has a name, by the class of their status: 2 for 200 to 299, and so on.

("key", name)      requests with a status of 0xx, 1xx, ... 5xx
"""

from unpickled.server.observe.counters import Block, Numbers

KEYED = "key"
CLASSES = 6
# Names that one process counts apart; tokens may bring any number of them. The others share OTHERS.
MOST = 1000
OTHERS = "(others)"
# First digit of a status -> the place of its number.
PLACES = {str(digit): digit for digit in range(CLASSES)}


class Keyed:
    """The series of this process for names."""

    def __init__(self, block: Block) -> None:
        self._block = block
        self._names = {key[1] for key in block.keys() if key[0] == KEYED}  # noqa: SIM118

    def of(self, name: str) -> Numbers:
        """The numbers of a name: the one at the first digit of a status grows by 1 with each."""
        if name not in self._names and len(self._names) >= MOST:
            name = OTHERS
        self._names.add(name)
        return self._block.series((KEYED, name), CLASSES)
