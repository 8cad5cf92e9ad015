"""The streams that are open in this process: each holds a thread, and they leave some for other requests."""

import threading
from collections.abc import Collection
from time import monotonic

from unpickled.server.errors import Busy

# Seconds within which a stream notices that its connection was shut.
_NOTICE = 1.0


class Slot:
    """One open stream, and what it waits for; times are seconds of time.monotonic().

    ``waiting_since``: when it began to wait for its client, 0 while it does not; ``sending``: whether it
    waits for the client to read, and not for it to write; ``sent``: when the last part of the answer was
    handed to the HTTP server.
    """

    __slots__ = ("_cuts", "sending", "sent", "waiting_since")

    def __init__(self, cuts: "Cuts") -> None:
        self._cuts = cuts
        self.waiting_since = 0.0
        self.sent = monotonic()
        self.sending = False

    def receive(self) -> None:
        """The stream waits for its client to write."""
        self.sending = False
        self.waiting_since = monotonic()

    def send(self) -> None:
        """A part of the answer goes out, which may take until the client reads."""
        self.sending = True
        self.waiting_since = self.sent = monotonic()

    def resume(self) -> None:
        """The stream waits no longer."""
        self.waiting_since = 0.0

    def silence(self) -> float:
        """Seconds of silence for which the stream's connection was shut; 0 where it ended by itself."""
        return self._cuts.claim(self)


class Cuts:
    """The connection that was shut last, until its stream notices.

    The one that shuts it knows which streams it may belong to, and not which of them it is.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # When the connection was shut, how long it had been silent, and the slots it may belong to.
        self._cut: tuple[float, float, frozenset[Slot]] | None = None

    def announce(self, candidates: Collection[Slot], seconds: float) -> None:
        """A connection that was silent for ``seconds`` is about to be shut: it is one of the candidates'."""
        with self._lock:
            self._cut = monotonic(), seconds, frozenset(candidates)

    def pending(self) -> bool:
        """Whether a connection has just been shut, and no stream has noticed."""
        with self._lock:
            return self._cut is not None and monotonic() - self._cut[0] < _NOTICE

    def claim(self, slot: Slot) -> float:
        """Seconds of silence for which a slot's connection was shut, 0 if it was not; asked at a body's end.

        Assume that the first stream to ask is the one that was cut: another ending by itself within that
        second is unlikely.
        """
        with self._lock:
            if self._cut is None:
                return 0.0
            shut, seconds, candidates = self._cut
            if slot not in candidates or monotonic() - shut >= _NOTICE:
                return 0.0
            self._cut = None
            return seconds


class Slots:
    """At most ``limit`` streams at once, of all models together: each takes a thread of this process."""

    def __init__(self, limit: int) -> None:
        self.cuts = Cuts()
        self._limit = limit
        self._lock = threading.Lock()
        self._open: set[Slot] = set()
        self._refused = False

    def enter(self) -> Slot:
        """A slot for one more stream; Busy where there is none."""
        with self._lock:
            if len(self._open) >= self._limit:
                self._refused = True
                raise Busy(
                    f"{self._limit} streams are under way, and one worker has no more at once: ask again, "
                    "or send lines as rows of one request",
                    headers={"Retry-After": "1"},
                    limit=self._limit,
                )
            slot = Slot(self.cuts)
            self._open.add(slot)
            return slot

    def leave(self, slot: Slot) -> None:
        """Give a slot back."""
        with self._lock:
            self._open.discard(slot)
            self._refused = False

    def open(self) -> list[Slot]:
        """The slots that are taken now."""
        with self._lock:
            return list(self._open)

    def take_refused(self) -> bool:
        """Whether a stream was refused since the last call, and no slot was given back."""
        with self._lock:
            refused, self._refused = self._refused, False
            return refused
