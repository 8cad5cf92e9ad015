"""A thread that looks after something now and then, and at once when it is woken."""

import logging
import threading
import weakref
from typing import Protocol

logger = logging.getLogger("unpickled")

# Seconds between two looks at files of keys and certificates, or at what is asked of others.
INTERVAL = 1.0


class Followed(Protocol):
    """Anything that follows what changes outside of this process."""

    @property
    def interval(self) -> float | None:
        """Seconds until the next look; None for none before the thread is woken."""

    def refresh(self) -> None:
        """Look for a change, and follow it."""


def follow(followed: Followed, name: str, woken: threading.Event | None = None) -> threading.Event:
    """Start the thread, which ends when the object is released; returns the event that wakes it."""
    woken = woken or threading.Event()
    weakref.finalize(followed, woken.set)
    arguments = (weakref.ref(followed), woken, followed.interval)
    threading.Thread(target=_run, args=arguments, name=name, daemon=True).start()
    return woken


def _run(reference: "weakref.ref[Followed]", woken: threading.Event, interval: float | None) -> None:
    while True:
        woken.wait(interval)
        woken.clear()
        followed = reference()
        if followed is None:
            return
        try:
            followed.refresh()
        except Exception:
            logger.exception("a look for changes failed; what was known stays")
        interval = followed.interval
        del followed
