"""The trace that a request belongs to, as its caller says: https://www.w3.org/TR/trace-context."""

import re
from typing import NamedTuple

# Its entry in the WSGI environment.
VARIABLE = "HTTP_TRACEPARENT"

# Version, trace, span of the caller, flags. Versions after 00 may put more behind them.
_FORM = re.compile(
    "(?!ff|00.{54})[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?"
)
_SAMPLED = 1
# The last digit of the flags, and its values in a header of a caller that does not record.
_FLAG, _UNSAMPLED = slice(54, 55), "02468ace"


class Traceparent(NamedTuple):
    """The ids of a trace and of the caller's span, in hexadecimal, and whether the caller records it."""

    trace: str
    span: str
    sampled: bool


def read(header: str) -> Traceparent | None:
    """The parts of a ``traceparent`` header; None where it is malformed, as if it had not been sent."""
    form = _FORM.fullmatch(header)
    if form is None:
        return None
    trace, span, flags = form.groups()
    return Traceparent(trace, span, bool(int(flags, 16) & _SAMPLED))


def unsampled(header: str) -> bool:
    """Whether a header, or "" for none, cannot be one of a caller that records; a quick look."""
    # The empty text is in every text: so are headers that are too short.
    return header[_FLAG] in _UNSAMPLED


def well_formed(header: str) -> bool:
    """Whether ``read`` returns parts."""
    return _FORM.fullmatch(header) is not None


def written(trace: str, span: str) -> str:
    """The header for a span that is recorded."""
    return f"00-{trace}-{span}-01"
