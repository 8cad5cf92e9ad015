"""The streams under way in this process: each holds a thread, and they leave some for other requests."""

import threading
from collections.abc import Collection
from time import monotonic

from unpickled.server.errors import Busy

# Seconds within which a stream notices that its connection was shut.
_MOMENT = 1.0


class Place:
    """What one stream is waiting for, in seconds of time.monotonic().

    ``since``: when it began to wait for its client, 0 while it does not; ``sends``: whether it waits
    for it to read, and not for it to write; ``sent``: when the last part of the answer was handed over.
    """

    __slots__ = ("sends", "sent", "since")

    def __init__(self) -> None:
        self.since = 0.0
        self.sent = monotonic()
        self.sends = False

    def listen(self) -> None:
        """It waits for its client to write."""
        self.sends = False
        self.since = monotonic()

    def send(self) -> None:
        """A part of the answer goes out, which may take until the client reads."""
        self.sends = True
        self.since = self.sent = monotonic()

    def go_on(self) -> None:
        """It waits no longer."""
        self.since = 0.0


class Places:
    """The places that are taken, and what became of those that others needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: set[Place] = set()
        self._refused = False
        # When a connection was shut, how long it had been silent, and whose it may have been.
        self._cut: tuple[float, float, frozenset[Place]] | None = None

    def enter(self, most: int) -> Place:
        """A place for one more; Busy where ``most`` are taken."""
        with self._lock:
            if len(self._taken) >= most:
                self._refused = True
                raise Busy(
                    f"{most} streams are under way, and one worker has no more at once: ask again, "
                    "or send lines as rows of one request",
                    headers={"Retry-After": "1"},
                    limit=most,
                )
            place = Place()
            self._taken.add(place)
            return place

    def leave(self, place: Place) -> None:
        """Give it back."""
        with self._lock:
            self._taken.discard(place)
            self._refused = False

    def listed(self) -> list[Place]:
        """Those taken now."""
        with self._lock:
            return list(self._taken)

    def refused(self) -> bool:
        """Whether there was none for somebody since this was last asked, and none was given back."""
        with self._lock:
            refused, self._refused = self._refused, False
            return refused

    def cut(self, among: Collection[Place], seconds: float) -> None:
        """A connection that was silent for ``seconds`` is about to be shut: it belongs to one of these."""
        with self._lock:
            self._cut = monotonic(), seconds, frozenset(among)

    def cutting(self) -> bool:
        """Whether a connection has just been shut, and nobody has noticed."""
        with self._lock:
            return self._cut is not None and monotonic() - self._cut[0] < _MOMENT

    def silence(self, place: Place) -> float:
        """Seconds of silence for which its connection was shut, if it was; asked where its body has ended.

        The first to ask is the one that was cut: what ends by itself seldom does at the same moment.
        """
        with self._lock:
            if self._cut is None:
                return 0.0
            at, seconds, among = self._cut
            if place not in among or monotonic() - at >= _MOMENT:
                return 0.0
            self._cut = None
            return seconds


# Of all models together: what they take are the threads of this process.
PLACES = Places()
