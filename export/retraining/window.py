"""The moment from which on logged rows count: a span back from now, or a date."""

import re
from datetime import UTC, datetime

from unpickled.export.errors import DataError
from unpickled.server.quote import quoted

_SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_SPAN = re.compile(r"([0-9]{1,9})([dhms])")


def moment(text: str, now: float) -> float:
    """The moment that a text names, in seconds since 1970.

    Args:
        text: A span back from now, such as 30d, 12h, 90m or 45s; or a date of ISO 8601, perhaps with a time:
            in UTC where it has no offset.
        now: The present, in seconds since 1970.

    Raises:
        DataError: It is neither.

    Example:
        >>> moment("2h", 10_000.0)
        2800.0
        >>> moment("1970-01-02", 10_000.0)
        86400.0
    """
    if span := _SPAN.fullmatch(text):
        return now - int(span[1]) * _SECONDS[span[2]]
    try:
        named = datetime.fromisoformat(text)
    except ValueError:
        raise DataError(
            f"{quoted(text)} is no moment: give a span back from now, such as 30d, 12h, 90m or 45s, or a "
            "date such as 2026-11-30."
        ) from None
    return (named if named.tzinfo else named.replace(tzinfo=UTC)).timestamp()


def written(seconds: float) -> str:
    """A moment in UTC, as ISO 8601 writes it.

    Example:
        >>> written(86_400.5)
        '1970-01-02T00:00:00.500000+00:00'
    """
    return datetime.fromtimestamp(seconds, UTC).isoformat()
