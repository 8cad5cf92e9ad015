"""Entries of a log that come again and again: some are written, the others are counted."""

import logging
from time import monotonic
from types import TracebackType

# The line of code that logs, the exception's type, and the line of code that raised it.
_Kind = tuple[str, int, type[BaseException] | None, int]

# Entries of one kind that are written in so many seconds.
MOST = 50
_PERIOD = 10.0


class Repeats:
    """Admits a bounded number of entries from each place in the code: a request that always fails must not
    fill a disk."""

    def __init__(self) -> None:
        self._until = 0.0
        self._counts: dict[_Kind, int] = {}
        self._left_out: dict[_Kind, int] = {}

    def admit(self, record: logging.LogRecord) -> int | None:
        """None for an entry that is left out; otherwise, how many of its kind were since the last one."""
        now = monotonic()
        if now >= self._until:
            self._until = now + _PERIOD
            self._left_out |= {
                kind: count - MOST + self._left_out.get(kind, 0)
                for kind, count in self._counts.items()
                if count > MOST
            }
            self._counts = {}
        kind = _kind(record)
        count = self._counts[kind] = self._counts.get(kind, 0) + 1
        return self._left_out.pop(kind, 0) if count <= MOST else None


def _kind(record: logging.LogRecord) -> _Kind:
    kind, _, trace = record.exc_info or (None, None, None)
    return record.pathname, record.lineno, kind, _last_line(trace)


def _last_line(trace: TracebackType | None) -> int:
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_lineno if trace else 0
