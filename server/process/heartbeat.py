"""Signs of life: each worker writes into shared memory that it runs, and the main process looks there."""

from enum import IntEnum
from typing import Any

from unpickled.server.shared import Shared

# Words of 8 bytes for each worker: how often it has beaten, its state, whether it asks for another one, and
# whether it listens.
_WORD, _WORDS = 8, 4


class State(IntEnum):
    """How a worker is, by its own account."""

    STARTING = 0
    READY = 1
    NOT_READY = 2
    DRAINING = 3


class Heartbeat(Shared):
    """The beats of ``workers`` workers; each of them writes its own, at its ``slot`` from 0."""

    def __init__(self, workers: int) -> None:
        super().__init__(workers * _WORDS * _WORD)

    def beat(self, slot: int, state: State) -> None:
        """Show that the worker at ``slot`` runs, and how it is."""
        words = self._words
        words[_WORDS * slot + 1] = state
        words[_WORDS * slot] += 1

    def wear(self, slot: int) -> None:
        """Ask for another worker in place of the one at ``slot``, which goes on meanwhile."""
        self._words[_WORDS * slot + 2] = 1

    def worn(self, slot: int) -> bool:
        """Whether the worker at ``slot`` asks for another one."""
        return bool(self._words[_WORDS * slot + 2])

    def listen(self, slot: int) -> None:
        """Show that the worker at ``slot`` takes connections."""
        self._words[_WORDS * slot + 3] = 1

    def listens(self, slot: int) -> bool:
        """Whether the worker at ``slot`` takes connections."""
        return bool(self._words[_WORDS * slot + 3])

    def reset(self, slot: int) -> None:
        """Forget what the last worker at ``slot`` has shown, before the next one starts."""
        self._words[_WORDS * slot : _WORDS * slot + _WORDS] = memoryview(bytes(_WORDS * _WORD)).cast("Q")

    def beats(self, slot: int) -> int:
        """How often the worker at ``slot`` has beaten; 0 while it starts."""
        return int(self._words[_WORDS * slot])

    def state(self, slot: int) -> State:
        """How the worker at ``slot`` is, as of its last beat."""
        return State(self._words[_WORDS * slot + 1])

    def _map(self, descriptor: int, size: int) -> None:
        super()._map(descriptor, size)
        self._words: Any = memoryview(self._memory).cast("Q")
