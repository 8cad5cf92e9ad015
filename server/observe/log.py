"""The log of the server on stderr. Whatever becomes of its reader or its disk, no request waits or fails."""

import logging
from array import array
from typing import Any

from unpickled.server.observe.counters import Block, Numbers
from unpickled.server.observe.outlet import Outlet
from unpickled.server.observe.repeats import Repeats

# Series of the lines that were not written, by log: (LOST, "access") and (LOST, "server").
LOST = "log_lines_lost"

STDERR = 2
# Longest entry, in characters; that of a traceback without end.
_LONGEST = 32 * 1024
_FORM = "%(levelname)s %(name)s: %(message)s"


class Log(logging.Handler):
    """Writes entries to a descriptor, or drops and counts them where it takes none.

    Some of the entries that one place in the code logs again and again are left out, and counted too.
    """

    def __init__(self, descriptor: int = STDERR) -> None:
        super().__init__()
        self._outlet = Outlet(descriptor)
        self._repeats = Repeats()
        self._lost: Numbers = memoryview(array("d", [0.0]))

    def count_in(self, block: Block) -> None:
        """Count losses in the memory of all processes from now on."""
        series = block.series((LOST, "server"), 1)
        series[0] += self._lost[0]
        self._lost = series

    def emit(self, record: logging.LogRecord) -> None:
        """Write an entry; raises nothing."""
        try:
            left_out = self._repeats.admit(record)
            if left_out is None:
                self._lost[0] += 1.0
                return
            more = f" ({left_out} more like this one were left out)" if left_out else ""
            text = self.format(record)[:_LONGEST] + more + "\n"
            self._outlet.write(text.encode("utf-8", "backslashreplace"))
        except Exception:
            self._lost[0] += 1.0


def settings(level: str) -> dict[str, Any]:
    """The settings for logging.config.dictConfig that make this log the only one, from a severity on."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"plain": {"format": _FORM}},
        "handlers": {"stderr": {"()": Log, "formatter": "plain"}},
        "root": {"handlers": ["stderr"], "level": level.upper()},
        # granian's messages go to stderr with ours.
        "loggers": {"_granian": {"handlers": [], "propagate": True}},
    }


def count_in(block: Block) -> None:
    """Let the logs of this process count their losses in a block."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, Log):
            handler.count_in(block)
