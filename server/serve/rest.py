"""The rest of a body that nobody reads: it is discarded, so that its client gets the answer.

A client that sends a long body reads no answer before it is done. If the connection closed on it meanwhile,
it would meet a broken pipe, and never learn the reason. https://www.rfc-editor.org/rfc/rfc9112#section-9.6
A short body, which many clients send right behind the head, is waited for: the HTTP server would end the
connection where the answer was faster. Over HTTP/2 a longer one is waited for as well, as far as there is
room: a client that sees an answer may break its body off, and then no read in pieces would ever return
(ending.py). None of them may take more than a part of the threads, as anybody can send what is refused.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from time import monotonic, sleep

from unpickled.server.message import body
from unpickled.server.message.answer import Answer, Environ, Whole
from unpickled.server.message.environ import is_multiplexed
from unpickled.server.observe.inflight import InFlight
from unpickled.server.serve.slots import Slot, Slots

# A body up to this length is short; others are read in such pieces.
_PIECE = 64 * 1024
# At most this much is discarded, within this many seconds.
_MOST_BYTES = 1024**3
_MOST_SECONDS = 30.0
# Over HTTP/2, bodies of at most this length in all are held at a time. An answer to any other stays open for
# so many seconds, in which its client can stop by itself: some lose an answer whose stream is reset.
_MOST_HELD, _PAUSE = 32 * 1024**2, 0.25
_BODILESS = frozenset({"GET", "HEAD", "OPTIONS"})


class Rest:
    """Sends an answer, then discards what is left of the request's body.

    While it does, the request counts as an open stream: a client that sends nothing more loses its place as
    a silent stream does, once the place is needed.

    Args:
        slots: The streams that are open; where none is free, nothing is discarded.
        in_flight: Counts the requests of this process that are being answered.
    """

    def __init__(self, slots: Slots, in_flight: InFlight) -> None:
        self._slots = slots
        self._in_flight = in_flight
        # Bytes of the bodies that are waited for over HTTP/2.
        self._held, self._lock = 0, Lock()

    def discarded(self, answer: Whole, environ: Environ) -> Answer:
        """The same answer; where a long body may still come, it ends when the body does."""
        if not _comes(environ):
            return answer
        announced = environ.get("CONTENT_LENGTH") or ""
        length = int(announced) if announced.isdigit() else None
        if length is not None and length <= _PIECE:
            self._pass_over(environ, length)
            return answer
        slot = self._slots.enter_refusal(environ)
        if slot is None:
            return answer
        if length is not None and is_multiplexed(environ) and self._has_waited(environ, length, slot):
            return answer
        status, headers, content = answer
        parts = self._parts(content, slot, environ)
        # Start the generator now, so that its end frees the slot however the response ends.
        next(parts)
        return status, (*headers, ("Content-Length", str(len(content)))), parts

    def _pass_over(self, environ: Environ, length: int) -> None:
        """Wait for a short body; not if many clients let others wait with theirs."""
        if self._slots.brief.acquire(blocking=False):
            try:
                body.pass_over(environ, length)
            finally:
                self._slots.brief.release()

    def _has_waited(self, environ: Environ, length: int, slot: Slot) -> bool:
        """Wait for a long body over HTTP/2 where there is room for it; whether there was."""
        with self._lock:
            if self._held + length > _MOST_HELD:
                return False
            self._held += length
        try:
            with self._open(slot):
                slot.receive()
                # Not body.pass_over: the watchdog would count this thread twice, as it knows the slot.
                environ["wsgi.input"].read()
                # If the watchdog has shut the connection, this takes note of it.
                slot.silence()
        finally:
            with self._lock:
                self._held -= length
        return True

    def _parts(self, content: bytes, slot: Slot, environ: Environ) -> Iterator[bytes]:
        with self._open(slot):
            yield b""
            slot.send()
            yield content
            if is_multiplexed(environ):
                sleep(_PAUSE)
            else:
                _discard(environ, slot)

    @contextmanager
    def _open(self, slot: Slot) -> Iterator[None]:
        """Count a request whose body is waited for; then its slot is free again."""
        self._in_flight.count += 1
        try:
            yield
        finally:
            self._in_flight.count -= 1
            self._slots.leave(slot)


def _comes(environ: Environ) -> bool:
    """Whether the client sends a body in any case.

    One that waits for a go-ahead does not, and servers other than granian discard the rest themselves.
    """
    if environ.get("SERVER_SOFTWARE") != "Granian" or "HTTP_EXPECT" in environ:
        return False
    announced = environ.get("CONTENT_LENGTH") or ""
    if announced.isdigit():
        return int(announced) > 0
    # Over HTTP/2 nothing tells whether a body without a length comes.
    hidden = is_multiplexed(environ) and environ["REQUEST_METHOD"] not in _BODILESS
    return hidden or "HTTP_TRANSFER_ENCODING" in environ


def _discard(environ: Environ, slot: Slot) -> None:
    read, size, deadline = environ["wsgi.input"].read, 0, monotonic() + _MOST_SECONDS
    while size < _MOST_BYTES and monotonic() < deadline:
        slot.receive()
        length = len(read(_PIECE))
        if length < _PIECE:
            # If the watchdog has shut the connection, this takes note of it.
            slot.silence()
            return
        size += length
