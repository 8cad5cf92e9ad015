"""Attempts at what is away for a while: a broker, or the version of a model."""

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from unpickled.server.errors import NotReady, UnpickledError
from unpickled.server.observe.streamed import Streamed
from unpickled.server.quote import counted
from unpickled.server.streams.broker import BrokerAway

logger = logging.getLogger("unpickled")

Result = TypeVar("Result")

# Seconds between attempts, doubled each time up to the last; each is up to a fifth longer or shorter, so
# that many consumers do not come back at once.
_FIRST, _LONGEST, _SPREAD = 0.5, 30.0, 0.2
# Seconds between two looks whether to go on.
_LOOK = 0.1


class Stopped(UnpickledError):
    """The process is to end, and what it waits for is away."""


class Attempts:
    """Calls one end again and again until it is there; says once that it is away, and once that it is back.

    Args:
        end: The end, one of streamed.ENDS.
        place: Names it in the log.
        streamed: Counts the attempts.
        meanwhile: Called again and again during a pause; True ends the attempts.

    Attributes:
        place: As given.
    """

    def __init__(self, end: str, place: str, streamed: Streamed, meanwhile: Callable[[], bool]) -> None:
        self._end = end
        self.place = place
        self._streamed = streamed
        self._meanwhile = meanwhile
        self._failures = 0
        self._since = 0.0

    @property
    def is_away(self) -> bool:
        """Whether the last attempt failed."""
        return self._failures > 0

    def call(self, action: Callable[[], Result]) -> Result:
        """The result of an action that may raise BrokerAway or NotReady; Stopped."""
        while True:
            try:
                result = action()
            except (BrokerAway, NotReady) as error:
                self._wait(self.failed(error))
            else:
                self.worked()
                return result

    def failed(self, error: Exception) -> float:
        """Note a failure; returns the seconds until the next attempt."""
        pause: float = min(_FIRST * 2.0 ** min(self._failures, 10), _LONGEST)
        pause *= random.uniform(1 - _SPREAD, 1 + _SPREAD)
        if not self._failures:
            self._since = time.monotonic()
            self._streamed.set_away(self._end, True)
            logger.warning(
                "%s is away (%s): trying again in %.1f s, then less often", self.place, error, pause
            )
        self._failures += 1
        return pause

    def worked(self) -> None:
        """Note that it is there."""
        if self._failures:
            seconds, attempts = time.monotonic() - self._since, counted(self._failures, "failed attempt")
            logger.warning("%s is back after %.1f s and %s", self.place, seconds, attempts)
            self._streamed.set_away(self._end, False)
            self._failures = 0

    def _wait(self, pause: float) -> None:
        until = time.monotonic() + pause
        while True:
            if self._meanwhile():
                raise Stopped(self.place)
            left = until - time.monotonic()
            if left <= 0:
                break
            time.sleep(min(_LOOK, left))
        self._streamed.retry(self._end)
