"""Replacing workers that serve, one by one: the successor serves before the old one is told to end."""

import logging
import signal
from collections import deque
from collections.abc import Callable
from typing import Protocol

from unpickled.server.config import Listening
from unpickled.server.process.orders import DRAIN
from unpickled.server.process.place import Place

logger = logging.getLogger("unpickled")

# Beats after which a worker takes connections: the first comes before it listens.
_BEATS = 5


class Order(Protocol):
    """Sends a signal to the worker of a place."""

    def __call__(self, place: Place, number: signal.Signals, /) -> None: ...


class Renewal:
    """Replaces the workers of a list of places; ``step`` is to be called again and again.

    The successor starts in the spare place. Once it serves, the two places change their roles, and the old
    worker drains and ends as the whole server would.

    Args:
        places: The places of the workers.
        spare: One place more.
        listening: How long a worker drains and ends.
        fill: Starts a worker in a place.
        order: Sends a signal to the worker of a place.
    """

    def __init__(
        self,
        places: list[Place],
        spare: Place,
        listening: Listening,
        fill: Callable[[Place, float], None],
        order: Order,
    ) -> None:
        self.spare = spare
        self._places = places
        self._listening = listening
        self._fill = fill
        self._order = order
        self._wanted: deque[Place] = deque()
        # The next orders to the old worker, each with the time.monotonic() at which it is due.
        self._orders: deque[tuple[float, signal.Signals]] = deque()

    def want(self) -> None:
        """Replace every worker from now on, those included that are just being started."""
        self._wanted = deque(self._places)

    @property
    def due(self) -> bool:
        """Whether there is anything to be done soon."""
        return bool(self._wanted or self.spare.process)

    def step(self, now: float) -> None:
        """Do what can be done now."""
        spare = self.spare
        if spare.process is None:
            if self._wanted and spare.due <= now:
                self._fill(spare, now)
        elif self._orders:
            due, number = self._orders[0]
            if due <= now:
                self._orders.popleft()
                self._order(spare, number)
        elif self._wanted and spare.beats >= _BEATS:
            self._change(now)

    def ended(self, now: float) -> None:
        """The process in the spare place has ended: the old worker or, before it served, its successor."""
        if not self._orders:
            logger.error("the successor of a worker ended before it served: the next one is tried soon")
        self._orders.clear()
        self.spare.empty(now)

    def _change(self, now: float) -> None:
        old = self._wanted.popleft()
        if old not in self._places:
            return
        self._places[self._places.index(old)] = self.spare
        self.spare = old
        if old.process is None:
            return
        drained = now + self._listening.drain_delay
        self._orders.extend(
            [
                (now, DRAIN),
                (drained, signal.SIGTERM),
                (drained + self._listening.shutdown_timeout, signal.SIGKILL),
            ]
        )
