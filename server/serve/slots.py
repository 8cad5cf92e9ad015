"""Slots for open streams, long answers and refused bodies: each holds a thread, which others need too."""

import threading
from collections.abc import Collection
from enum import Enum
from time import monotonic

from unpickled.server.errors import Busy
from unpickled.server.inference.turn import Turn
from unpickled.server.message.answer import Environ
from unpickled.server.message.environ import is_multiplexed, peer

# Longest time that a stream needs to notice that its connection was shut, in seconds.
_NOTICE = 1.0
# Longest time that a long answer waits for a slot, in seconds: a client that reads gives one back sooner.
_PATIENCE = 0.25


class Slot:
    """One open stream, and whether it waits for its client; times are seconds of time.monotonic().

    ``waiting_since``: when it began to wait for its client, 0 while it does not wait; ``sending``: it waits
    for the client to read, not to write; ``sent``: when the HTTP server got the last part of the answer;
    ``begun``: when the slot was taken. ``peer``: the address of the client; ``multiplexed``: it may have
    other requests on the same connection (HTTP/2). ``thread``: the one that answers it. While it waits, its
    turn to compute is another's.
    """

    __slots__ = (
        "_cuts",
        "_turn",
        "begun",
        "multiplexed",
        "peer",
        "sending",
        "sent",
        "thread",
        "waiting_since",
    )

    def __init__(self, cuts: "Cuts", environ: Environ, turn: Turn | None = None) -> None:
        self._cuts = cuts
        self._turn = turn
        self.thread = threading.get_ident()
        self.peer = peer(environ)
        self.multiplexed = is_multiplexed(environ)
        self.waiting_since = 0.0
        self.begun = self.sent = monotonic()
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


class _Kind(Enum):
    STREAM = "stream"
    ANSWER = "answer"
    REFUSAL = "refusal"


class Slots:
    """Admits streams, long answers and refused bodies: each takes a thread of this process while it is open.

    Streams take half of the threads at most, refused bodies a quarter, so that strangers leave room for those
    who may ask; all together three quarters.

    Attributes:
        cuts: The connection that was shut last.
        brief: Is acquired while a refused body that is short is waited for, beside the slots.
    """

    def __init__(self, threads: int) -> None:
        self.cuts = Cuts()
        self.brief = threading.BoundedSemaphore(max(1, threads // 8))
        self._streams = max(1, threads // 2)
        self._refusals = max(1, threads // 4)
        self._all = max(1, threads * 3 // 4)
        self._left = threading.Condition()
        self._open: dict[Slot, _Kind] = {}
        self._refused = False

    def enter(self, environ: Environ, turn: Turn | None = None) -> Slot:
        """Take a slot for one more stream, which computes in a turn; Busy if all are taken."""
        with self._left:
            if self._are_taken(_Kind.STREAM, self._streams):
                raise self._busy(
                    f"{self._streams} streams are open, and one worker takes no more at a time: ask again, "
                    "or send lines as rows of one request",
                    self._streams,
                )
            return self._taken(environ, _Kind.STREAM, turn)

    def enter_refusal(self, environ: Environ) -> Slot | None:
        """Take a slot for the body of one more request that is refused; None if all are taken."""
        with self._left:
            if self._are_taken(_Kind.REFUSAL, self._refusals):
                self._refused = True
                return None
            return self._taken(environ, _Kind.REFUSAL)

    def enter_answer(self, environ: Environ) -> Slot:
        """Take a slot for one more long answer; waits a moment, then Busy if all are taken."""
        with self._left:
            if not self._left.wait_for(lambda: len(self._open) < self._all, _PATIENCE):
                raise self._busy(
                    f"the clients of {self._all} long answers and streams have not taken them yet, and one "
                    "worker sends no more at a time: ask again, or send fewer rows per request",
                    self._all,
                )
            return self._taken(environ, _Kind.ANSWER)

    def _are_taken(self, kind: _Kind, most: int) -> bool:
        """Whether all slots of a kind are taken, or all slots."""
        return [*self._open.values()].count(kind) >= most or len(self._open) >= self._all

    def _busy(self, sentence: str, limit: int) -> Busy:
        """The error of a request for which no slot is left; the watchdog learns of it."""
        self._refused = True
        return Busy(sentence, headers={"Retry-After": "1"}, limit=limit)

    def _taken(self, environ: Environ, kind: _Kind, turn: Turn | None = None) -> Slot:
        slot = Slot(self.cuts, environ, turn)
        self._open[slot] = kind
        return slot

    def leave(self, slot: Slot) -> None:
        """Give a slot back."""
        slot.end()
        with self._left:
            self._open.pop(slot, None)
            self._refused = False
            self._left.notify()

    def open(self) -> list[Slot]:
        """The slots that are taken now."""
        with self._left:
            return list(self._open)

    def take_refused(self) -> bool:
        """Whether a slot was refused since the last call, and none was given back."""
        with self._left:
            refused, self._refused = self._refused, False
            return refused
