"""How far a long work is: a count, its total, and the time that is left if it goes on at its pace."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

Say = Callable[[str], None]
# Called with how many of how many things are done.
Tick = Callable[[int, int], None]

# Seconds between two lines about the same work, and between two about work that cannot be counted.
PAUSE, LONG_PAUSE = 2.0, 10.0


def silent(line: str) -> None:
    """Say nothing."""


def uncounted(done: int, total: int) -> None:
    """Count nothing."""


class Passing(str):
    """A line of text that the next one replaces where lines can be rewritten."""

    __slots__ = ()


class Counter:
    """Says how much of a work is done, once it takes longer than two seconds and then every two seconds."""

    def __init__(self, say: Say, work: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._say, self._work, self._clock = say, work, clock
        self._start = self._said = clock()

    def __call__(self, done: int, total: int) -> None:
        """Take note that ``done`` of ``total`` are done."""
        now = self._clock()
        if now - self._said < PAUSE or done >= total:
            return
        self._said = now
        left = (now - self._start) / done * (total - done) if done else None
        estimate = "" if left is None else f", about {duration(left)} left"
        self._say(Passing(f"{self._work}: {done:,} of {total:,}{estimate}"))


@contextmanager
def running(say: Say, work: str, pause: float = LONG_PAUSE) -> Iterator[None]:
    """Say after two seconds, and then every ten, how long the work within the block has taken so far.

    At the end an empty line takes the place of the last one.
    """
    ended, start = Event(), time.monotonic()

    def tell() -> None:
        wait = min(PAUSE, pause)
        while not ended.wait(wait):
            say(Passing(f"{work}: {duration(time.monotonic() - start)} so far"))
            wait = pause
        if time.monotonic() - start > min(PAUSE, pause):
            say(Passing(""))

    thread = Thread(target=tell, name="progress", daemon=True)
    # Where memory is too scarce for a thread, the work goes on without a word.
    with suppress(RuntimeError):
        thread.start()
    try:
        yield
    finally:
        ended.set()
        if thread.ident is not None:
            thread.join()


def duration(seconds: float) -> str:
    """A time in words: ``12 s``, ``3 min``."""
    return f"{max(1, round(seconds))} s" if seconds < 100 else f"{round(seconds / 60)} min"
