"""Slots for the open streams of this process: a stream holds a thread, and requests need threads too."""

import threading
from collections.abc import Collection
from time import monotonic

from unpickled.server.errors import Busy
from unpickled.server.inference.admission import Turn

# Longest time that a stream needs to notice that its connection was shut, in seconds.
_NOTICE = 1.0


class Slot:
    """One open stream, and whether it waits for its client; times are seconds of time.monotonic().

    ``waiting_since``: when it began to wait for its client, 0 while it does not wait; ``sending``: it waits
    for the client to read, not to write; ``sent``: when the HTTP server got the last part of the answer.
    While it waits, its turn to compute is another's.
    """

    __slots__ = ("_cuts", "_turn", "sending", "sent", "waiting_since")

    def __init__(self, cuts: "Cuts", turn: Turn | None = None) -> None:
        self._cuts = cuts
        self._turn = turn
        self.waiting_since = 0.0
        self.sent = monotonic()
        self.sending = False

    def receive(self) -> None:
        """Note that the stream waits for its client to write."""
        self._pause()
        self.sending = False
        self.waiting_since = monotonic()

    def send(self) -> None:
        """Note that the stream sends a part of the answer, which may wait until the client reads."""
        self._pause()
        self.sending = True
        self.waiting_since = self.sent = monotonic()

    def resume(self) -> None:
        """Note that the stream no longer waits; returns once it is its turn to compute."""
        self.waiting_since = 0.0
        if self._turn is not None:
            self._turn.resume()

    def end(self) -> None:
        """Give the turn up."""
        self._pause()

    def _pause(self) -> None:
        if self._turn is not None:
            self._turn.pause()

    def silence(self) -> float:
        """Seconds of silence after which the connection was shut; 0 if the client ended the body itself."""
        return self._cuts.claim(self)


class Cuts:
    """The connection that was shut last, until its stream notices.

    The watchdog knows the streams to which the connection may belong, but not to which of them it does.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # When the connection was shut, how long it had been silent, and the slots it may belong to.
        self._cut: tuple[float, float, frozenset[Slot]] | None = None

    def announce(self, candidates: Collection[Slot], seconds: float) -> None:
        """Note that a connection of one of the candidates, silent for ``seconds``, is about to be shut."""
        with self._lock:
            self._cut = monotonic(), seconds, frozenset(candidates)

    def pending(self) -> bool:
        """Whether a connection was shut a moment ago, and its stream has not noticed yet."""
        with self._lock:
            return self._cut is not None and monotonic() - self._cut[0] < _NOTICE

    def claim(self, slot: Slot) -> float:
        """Seconds of silence after which the connection of a slot was shut; 0 if it was not.

        Streams ask at the end of a body. The first to ask is taken for the one that was cut: it is unlikely
        that another one ends by itself within that second.
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
    """Admits at most ``limit`` streams of all models at a time: each takes a thread of this process."""

    def __init__(self, limit: int) -> None:
        self.cuts = Cuts()
        self._limit = limit
        self._lock = threading.Lock()
        self._open: set[Slot] = set()
        self._refused = False

    def enter(self, turn: Turn | None = None, spare: bool = False) -> Slot:
        """Take a slot for one more stream, which computes in a turn; Busy if all are taken.

        With ``spare`` it may be one of half as many more, for refusals when all of the others are taken.
        """
        with self._lock:
            if len(self._open) >= self._limit + spare * (self._limit // 2):
                self._refused = True
                raise Busy(
                    f"{self._limit} streams are open, and one worker takes no more at a time: ask again, "
                    "or send lines as rows of one request",
                    headers={"Retry-After": "1"},
                    limit=self._limit,
                )
            slot = Slot(self.cuts, turn)
            self._open.add(slot)
            return slot

    def leave(self, slot: Slot) -> None:
        """Give a slot back."""
        slot.end()
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
