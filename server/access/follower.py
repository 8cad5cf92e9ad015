"""A thread that looks after something once a second, and at once when it is woken."""

import logging
import threading
import weakref
from typing import Protocol

logger = logging.getLogger("unpickled")

# Seconds between two looks.
INTERVAL = 1.0


class Followed(Protocol):
    """Anything that follows what changes outside of this process."""

    def refresh(self) -> None:
        """Look for a change, and follow it."""


def follow(followed: Followed, name: str) -> threading.Event:
    """Start the thread, which ends when the object is released; returns the event that wakes it."""
    woken = threading.Event()
    weakref.finalize(followed, woken.set)
    arguments = (weakref.ref(followed), woken)
    threading.Thread(target=_run, args=arguments, name=name, daemon=True).start()
    return woken


def _run(reference: "weakref.ref[Followed]", woken: threading.Event) -> None:
    while True:
        woken.wait(INTERVAL)
        woken.clear()
        followed = reference()
        if followed is None:
            return
        try:
            followed.refresh()
        except Exception:
            logger.exception("a look for changes failed; what was known stays")
        del followed
