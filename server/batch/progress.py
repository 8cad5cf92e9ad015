"""How far a job is: rows, rows in a second, rows left and time left, on one line."""

import sys
import time
from collections.abc import Callable
from typing import TextIO

# Seconds between two lines, on a terminal and elsewhere.
_SHORT, _LONG = 0.5, 10.0
# Seconds without a line at the beginning: a short job says nothing.
_FIRST = 1.0


class Progress:
    """Counts rows, and writes a line from time to time; on a terminal it replaces the line before.

    Args:
        total: How many rows there are; None where nobody knows.
        exact: Whether the total is counted, and not estimated.
        stream: The place of the lines; without it, the standard error.
        clock: The time in seconds.
    """

    def __init__(
        self,
        total: int | None,
        exact: bool = True,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total, self._exact = total, exact
        self._stream = stream or sys.stderr
        self._clock = clock
        self._rewrites = self._stream.isatty()
        self._pause = _SHORT if self._rewrites else _LONG
        self._start = clock()
        self._due = self._start + (_FIRST if self._rewrites else _LONG)
        self._written = False
        self.rows = 0

    def told(self, rows: int) -> None:
        """Take note of so many more rows."""
        self.rows += rows
        now = self._clock()
        if now >= self._due:
            self._due = now + self._pause
            self._write(self.line(now - self._start))

    def clear(self) -> None:
        """Remove the line from a terminal."""
        if self._written and self._rewrites:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
        self._written = False

    def line(self, seconds: float) -> str:
        """The line after so many seconds."""
        pace = self.rows / seconds if seconds > 0 else 0.0
        parts = [f"{self.rows:,} rows", f"{pace:,.0f} rows/s"]
        if self._total is not None:
            left = max(0, self._total - self.rows)
            about = "" if self._exact else "about "
            parts.append(f"{about}{left:,} left")
            if pace and left:
                parts.append(f"{duration(left / pace)} to go")
        return ", ".join(parts)

    def _write(self, line: str) -> None:
        self._stream.write(f"\r\x1b[K{line}" if self._rewrites else f"{line}\n")
        self._stream.flush()
        self._written = True


def duration(seconds: float) -> str:
    """A time in words: ``12 s``, ``3 min``, ``2 h 5 min``."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
