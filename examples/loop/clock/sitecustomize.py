"""A clock that another process moves: Python imports this before anything else, if it is on PYTHONPATH.

The file that LOOP_CLOCK names has the seconds by which the date is ahead of that of the machine (negative:
behind). Every process reads it whenever it asks for the date, so that a day passes as the file is written.
Time that is measured, as by time.monotonic(), goes on as it does: waits and deadlines of a server are real.
"""

import ctypes
import gc
import os
import time
from datetime import datetime, tzinfo
from pathlib import Path


def move(path: Path) -> None:
    """Have time.time(), time.time_ns() and datetime.now() follow the file."""
    seconds, nanoseconds = time.time, time.time_ns

    def ahead() -> float:
        return float(path.read_text())

    def now(tz: tzinfo | None = None) -> datetime:
        return datetime.fromtimestamp(time.time(), tz)

    time.time = lambda: seconds() + ahead()
    time.time_ns = lambda: nanoseconds() + int(ahead() * 1e9)
    # The type itself stays: other libraries compare with it. Only its dictionary takes another method.
    gc.get_referents(datetime.__dict__)[0]["now"] = staticmethod(now)
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(datetime))


if "LOOP_CLOCK" in os.environ:
    move(Path(os.environ["LOOP_CLOCK"]))
