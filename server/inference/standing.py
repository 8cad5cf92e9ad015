"""Whether a queue stands: a burst passes, an overload goes on."""

# Seconds for which somebody has waited without a break once a queue stands.
_INTERVAL = 0.1
# It stands until nobody waited for at least this share of a window of so many seconds. Requests that come as
# fast as they are answered leave less; those of a load of nine tenths leave more.
_FREE, _WINDOW = 0.3, 0.5


class Standing:
    """Whether one queue stands; ``now`` is always the time of perf_counter(). Its callers hold a lock.

    A queue that stands is kept short, so that it is empty at times; this ends neither at once nor with one
    quiet moment, because the next burst of the same overload would then be let in whole.
    """

    __slots__ = ("_began", "_changed", "_free", "_stands", "_waits")

    def __init__(self, now: float) -> None:
        self._stands = self._waits = False
        # When it last changed whether somebody waits; when the window began, and its seconds without a wait.
        self._changed = self._began = now
        self._free = 0.0

    def note(self, waits: bool, now: float) -> None:
        """Note the change: somebody waits from ``now`` on, or nobody does."""
        if waits:
            self._free += now - max(self._changed, self._began)
        self._waits, self._changed = waits, now

    def lasts(self, now: float) -> bool:
        """Whether the queue stands."""
        if not self._stands:
            if self._waits and now - self._changed >= _INTERVAL:
                self._stands, self._began, self._free = True, now, 0.0
        elif now - self._began >= _WINDOW:
            free = self._free + (0.0 if self._waits else now - max(self._changed, self._began))
            self._stands = free < _FREE * (now - self._began)
            self._changed, self._began, self._free = now, now, 0.0
        return self._stands
