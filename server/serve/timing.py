"""The header by which an endpoint tells how long each phase of a prediction took, in milliseconds.

An endpoint adds it where the request has a header of that name. Layers around it that want to know set that
entry of the WSGI environment, and remove the header if the client has not asked for it.
"""

import re

HEADER = "Server-Timing"
VARIABLE = "HTTP_SERVER_TIMING"
# The sum of all phases.
TOTAL = "total"

_PHASE = re.compile(r"(\w+);dur=([0-9.]+)")


def phases(header: str) -> list[tuple[str, float]]:
    """(phase, milliseconds) in the order of the header."""
    return [(name, float(duration)) for name, duration in _PHASE.findall(header)]


def without(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The same headers, but for this one."""
    return [pair for pair in headers if pair[0] != HEADER]
