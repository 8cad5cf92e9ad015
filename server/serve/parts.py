"""Long answers in parts: the HTTP server holds a few parts of one that its client does not take, never all.

It would keep a whole answer in memory until the client has taken it, and tells nobody. Parts go through a
short queue of its own, so that the thread that sends them waits for the client; the watchdog sees that, and
closes the connection after ``send_timeout``.
"""

from collections.abc import Callable, Iterator

from unpickled.server.message.answer import Environ
from unpickled.server.message.environ import is_multiplexed
from unpickled.server.observe.inflight import InFlight
from unpickled.server.serve.slots import Slot, Slots

# The queue of the HTTP server takes four parts: an answer of four would not make its thread wait.
_FEW = 4
# On an HTTP/2 connection there may be a hundred answers at once, of which the client takes nothing.
_PART, _PART_OF_MANY = 64 * 1024, 16 * 1024

Headers = tuple[tuple[str, str], ...]


class Parts:
    """Sends long answers in parts. Each counts as a request in flight, and takes a slot, while it is sent.

    Args:
        slots: The streams and long answers that are open.
        in_flight: Counts the requests of this process that are being answered.
    """

    def __init__(self, slots: Slots, in_flight: InFlight) -> None:
        self._slots = slots
        self._in_flight = in_flight

    def of(
        self, content: bytes, environ: Environ, release: Callable[[], None] | None = None
    ) -> tuple[Headers, bytes | Iterator[bytes]]:
        """The headers that an answer needs besides its own, and its content, in parts if it is long.

        Servers other than granian get it whole.

        Args:
            content: The whole content.
            environ: The request.
            release: Called once when nothing of the content is needed any more.

        Raises:
            Busy: Too many clients are taking long answers, or not taking them.
        """
        size = _PART_OF_MANY if is_multiplexed(environ) else _PART
        ours = environ.get("SERVER_SOFTWARE") == "Granian" and environ["REQUEST_METHOD"] != "HEAD"
        if len(content) <= _FEW * size or not ours:
            if release is not None:
                release()
            return (), content
        slot = self._slots.enter_answer(environ)
        self._in_flight.count += 1
        parts = self._parts(content, size, slot, release)
        # Start the generator now, so that its `finally` frees the slot however the response ends.
        next(parts)
        return (("Content-Length", str(len(content))),), parts

    def _parts(
        self, content: bytes, size: int, slot: Slot, release: Callable[[], None] | None
    ) -> Iterator[bytes]:
        try:
            yield b""
            for start in range(0, len(content), size):
                slot.send()
                yield content[start : start + size]
                slot.resume()
        finally:
            self._in_flight.count -= 1
            self._slots.leave(slot)
            if release is not None:
                release()
