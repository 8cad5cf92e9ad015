"""Dates as text, and as the numbers that they are to a graph: whole seconds since 1970-01-01.

A date without an offset from UTC counts as if it were in UTC. Fractions of a second are read and dropped: no
part of a date that a model learns from is finer than an hour, and whole seconds are exact in a double.
"""

import re
from datetime import date
from typing import Literal, NamedTuple

from unpickled.server.artifact.manifest import Notation
from unpickled.server.quote import quoted

Order = Literal["year first", "day first", "month first"]

# The first second of year 1 and the last one of year 9999.
FIRST, LAST = -62_135_596_800.0, 253_402_300_799.0
DAY = 86_400
_EPOCH = date(1970, 1, 1).toordinal()

_YEAR, _MONTH, _DATE = "(?P<year>[0-9]{4})", "(?P<month>[0-9]{1,2})", "(?P<day>[0-9]{1,2})"
_MARK, _AGAIN = "(?P<mark>[-./])", "(?P=mark)"
_CLOCK = "(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:[.,][0-9]+)?)?"
_HALF = "(?: ?(?P<half>[AaPp])[Mm])?"
_SHIFT = "(?P<sign>[-+])(?P<hours>[0-9]{2})(?::?(?P<minutes>[0-9]{2})(?::?(?P<seconds>[0-9]{2}))?)?"
_TIME = f"(?:[Tt ]{_CLOCK}{_HALF}(?P<offset> ?(?:[Zz]|UTC|{_SHIFT}))?)?"
_PATTERNS: dict[str, re.Pattern[str]] = {
    order: re.compile(first + _MARK + second + _AGAIN + third + _TIME)
    for order, (first, second, third) in {
        "year first": (_YEAR, _MONTH, _DATE),
        "day first": (_DATE, _MONTH, _YEAR),
        "month first": (_MONTH, _DATE, _YEAR),
    }.items()
}
# 2024-01-31 and 12:30, and the same day as text.
_SAMPLE, _HALF_PAST = 1_706_659_200.0, 45_000.0
_EXAMPLES = {"year first": "", "day first": "31/01/2024", "month first": "01/31/2024"}


class Moment(NamedTuple):
    """A date that was read: its seconds, and whether its text has a time of day and an offset from UTC."""

    seconds: float
    has_time: bool
    has_offset: bool


def moment(text: str, order: str) -> Moment | None:
    """The date in a text that is written in this order; None if it is none.

    Example:
        >>> moment("31.12.1969 23:59", "day first")
        Moment(seconds=-60.0, has_time=True, has_offset=False)
    """
    match = _PATTERNS[order].fullmatch(text.strip())
    if match is None:
        return None
    try:
        days = date(int(match["year"]), int(match["month"]), int(match["day"])).toordinal() - _EPOCH
        seconds = float(days * DAY + _time(match) - _offset(match))
    except ValueError:
        return None
    if not FIRST <= seconds <= LAST:
        return None
    return Moment(seconds, match["hour"] is not None, match["offset"] is not None)


def seconds(text: str, notation: Notation) -> float:
    """The seconds of a date in this notation, or with the year first. Raises ValueError where it is none."""
    read = _read(text, notation)
    if read is None or read.has_offset != notation.offset:
        raise ValueError(text)
    return read.seconds


def fault(text: str, notation: Notation) -> str:
    """A clause about a text that is no date in this notation: what is wrong, and what belongs there."""
    if _read(text, notation) is None:
        return f"is text ({quoted(text)}), but a date belongs there, such as {examples(notation)}"
    state = "has no offset" if notation.offset else "has an offset"
    return f"is {quoted(text)}, which {state} from UTC, unlike in training: write it like {example(notation)}"


def example(notation: Notation) -> str:
    """A date as requests write it, in ISO 8601."""
    return written(_SAMPLE + (_HALF_PAST if notation.times else 0.0), notation)


def examples(notation: Notation) -> str:
    """A date in ISO 8601, and as the training table wrote it if that is otherwise."""
    own = _EXAMPLES[notation.date or "year first"]
    time = example(notation).partition("T")[2]
    return f"{example(notation)} or, {notation.date}, {f'{own} {time}'.strip()}" if own else example(notation)


def written(seconds: float, notation: Notation) -> str:
    """The date of this number in ISO 8601, which every notation reads.

    Example:
        >>> written(-1.0, Notation(date="day first", times=True))
        '1969-12-31T23:59:59'
    """
    days, rest = divmod(int(min(max(seconds, FIRST), LAST) // 1), DAY)
    text = date.fromordinal(days + _EPOCH).isoformat()
    if not (notation.times or notation.offset or rest):
        return text
    clock = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{text}T{clock}{'Z' if notation.offset else ''}"


def _read(text: str, notation: Notation) -> Moment | None:
    return moment(text, "year first") or moment(text, notation.date)


def _time(match: re.Match[str]) -> int:
    """The seconds since midnight. Raises ValueError for a time that no clock shows."""
    hour, minute, second = (int(match[name] or 0) for name in ("hour", "minute", "second"))
    half = (match["half"] or "").lower()
    if half:
        if not 1 <= hour <= 12:
            raise ValueError(hour)
        hour = hour % 12 + (12 if half == "p" else 0)
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError(hour, minute, second)
    return hour * 3600 + minute * 60 + second


def _offset(match: re.Match[str]) -> int:
    """The seconds by which a time is ahead of UTC. Raises ValueError for a day or more."""
    hours, minutes, seconds = (int(match[name] or 0) for name in ("hours", "minutes", "seconds"))
    if hours > 23 or minutes > 59 or seconds > 59:
        raise ValueError(hours, minutes, seconds)
    ahead = hours * 3600 + minutes * 60 + seconds
    return -ahead if match["sign"] == "-" else ahead
