"""The gate of one process, through which its endpoints let requests: limits, deadlines, turns."""

import math
from collections.abc import Mapping
from time import perf_counter
from typing import Any

import msgspec

from unpickled.server.errors import InvalidInput
from unpickled.server.inference.admission import Admission
from unpickled.server.inference.budget import Budget
from unpickled.server.inference.work import Cost, Work
from unpickled.server.observe.inflight import InFlight
from unpickled.server.quote import quoted

# The header in which a client says how many milliseconds it waits for the answer.
DEADLINE = "HTTP_REQUEST_TIMEOUT"


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """The limits, counts and turns that the endpoints of one process share.

    Attributes:
        in_flight: Counts the requests that are being answered.
        admission: Gives requests their turns.
        budget: Bounds the memory that large requests hold.
        limit: The longest body, in bytes.
        timeout: Seconds after which a request is refused that has no answer yet; None for no limit.
    """

    in_flight: InFlight
    admission: Admission
    budget: Budget
    limit: int
    timeout: float | None

    def deadline(self, environ: Mapping[str, Any], started: float) -> float:
        """The time.perf_counter() at which the answer to a request is too late; InvalidInput."""
        seconds = math.inf if self.timeout is None else self.timeout
        asked = environ.get(DEADLINE)
        return started + (seconds if asked is None else min(seconds, _seconds(asked)))

    def check_time(self, model: str, environ: Mapping[str, Any], started: float, now: float) -> None:
        """DeadlineExceeded where the time of a brief request is over: it waits for nothing any more."""
        if now > self.deadline(environ, started):
            raise self.admission.expired(model)

    def check(self, model: str, cost: Cost, environ: Mapping[str, Any], deadline: float) -> None:
        """Raise Overloaded or DeadlineExceeded where a request could only wait in vain, before it is read."""
        announced = environ.get("CONTENT_LENGTH") or ""
        length = int(announced) if announced.isascii() and announced.isdigit() else 0
        if length <= self.limit:
            started = perf_counter()
            self.admission.check(Work(model, cost.seconds(length), cost.is_single(length), deadline, started))


def _seconds(asked: str) -> float:
    """A time in milliseconds, as the header has it, in seconds."""
    try:
        milliseconds = float(asked)
    except ValueError:
        milliseconds = math.nan
    if not 0 < milliseconds < math.inf:
        raise InvalidInput(f"Request-Timeout is {quoted(asked)}, not a number of milliseconds above 0")
    return milliseconds / 1000
