"""The spans of recorded requests, sent to a collector by a thread; what finds no place is lost, and counted.

("spans_sent",)    ("spans_lost",)
"""

import logging
import os
import socket
import threading
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from time import monotonic

from unpickled.server.observe.collector import Collector, Reply
from unpickled.server.observe.counters import Block
from unpickled.server.observe.spans import Attributes, Span, document

logger = logging.getLogger("unpickled")

SENT, LOST = "spans_sent", "spans_lost"

# Spans that may wait, and that are sent at a time, roughly.
_MOST = 16_384
_BATCH = 512
# Seconds after which a smaller batch is sent, and between two looks at the queue: polling costs requests
# nothing, a wake-up would.
_AGE = 1.0
_PAUSE = 0.2
# Seconds before the second attempt to send a batch, the third, and so on; a server that ends makes one.
_WAITS = (0.5, 1.0, 2.0)


class Traces:
    """Takes the spans of one process, and sends them from a thread that the first of them starts.

    The thread ends with this object or with the main thread, after it has sent the spans that wait.

    Args:
        endpoint: The address of the collector.
        block: Counts the spans that are sent and lost.

    Raises:
        ConfigError: The address is none.
    """

    def __init__(self, endpoint: str, block: Block) -> None:
        self._sender = _Sender(Collector(endpoint), block)
        self._lock = threading.Lock()
        self._process = 0
        weakref.finalize(self, self._sender.closing.set).atexit = False

    def offer(self, spans: Sequence[Span]) -> None:
        """Queue the spans of one request, or drop and count them; neither blocks nor raises."""
        if self._process != os.getpid() and not self._start():
            self.lose(len(spans))
        else:
            self._sender.offer(spans)

    def lose(self, count: int) -> None:
        """Count spans that could not be made."""
        self._sender.lost[0] += count

    def close(self) -> None:
        """End the thread, once it has sent the spans that wait."""
        self._sender.closing.set()

    def _start(self) -> bool:
        """Start the thread of this process; a fork has none."""
        with self._lock:
            if self._process == os.getpid():
                return True
            self._sender.clear()
            try:
                # No daemon, as the thread of a request may be: it could not send the last spans.
                threading.Thread(target=self._sender.work, name="traces", daemon=False).start()
            except RuntimeError:
                # The system has no thread left; the next request tries again.
                return False
            self._process = os.getpid()
            return True


class _Sender:
    """The queue, and the thread's work."""

    def __init__(self, collector: Collector, block: Block) -> None:
        self.closing = threading.Event()
        self.lost = block.series((LOST,), 1)
        self._sent = block.series((SENT,), 1)
        self._collector = collector
        self._queue: deque[Sequence[Span]] = deque()
        self._waiting = 0
        self._failing = False
        self._scope = {"name": "unpickled.server", "version": _release()}
        self._resource = _resource(self._scope["version"])

    def offer(self, spans: Sequence[Span]) -> None:
        count = len(spans)
        if self._waiting + count > _MOST:
            self.lost[0] += count
            return
        # No lock: see counters.py.
        self._waiting += count
        self._queue.append(spans)

    def clear(self) -> None:
        """Forget what the process from which this one was forked has to send."""
        self._queue.clear()
        self._waiting = 0
        self._resource = _resource(self._scope["version"])

    def work(self) -> None:
        """Send batches until the process, or the object that offers them, ends."""
        sent = monotonic()
        while not self._ends(_PAUSE):
            if self._waiting >= _BATCH or monotonic() - sent >= _AGE:
                self._send_all()
                sent = monotonic()
        self._send_all()
        self._collector.close()

    def _send_all(self) -> None:
        while batch := list(self._batch()):
            try:
                self._send(batch)
            except Exception as error:
                self._lose(len(batch), f"{type(error).__name__}: {error}")

    def _batch(self) -> Iterator[Span]:
        size = 0
        while self._queue and size < _BATCH:
            spans = self._queue.popleft()
            size += len(spans)
            self._waiting -= len(spans)
            yield from spans

    def _send(self, batch: Sequence[Span]) -> None:
        content = document(self._resource, self._scope, batch)
        reply = self._collector.send(content)
        for wait in _WAITS:
            if not reply.again or self._ends(reply.wait or wait):
                break
            reply = self._collector.send(content)
        self._count(reply, len(batch))

    def _count(self, reply: Reply, count: int) -> None:
        if reply.reason:
            self._lose(count, reply.reason)
            return
        rejected = min(reply.rejected, count)
        self._sent[0] += count - rejected
        self.lost[0] += rejected
        if self._failing:
            self._failing = False
            logger.warning("%s takes spans again", self._collector.address)

    def _lose(self, count: int, reason: str) -> None:
        self.lost[0] += count
        if not self._failing:
            self._failing = True
            logger.warning(
                "%s takes no spans (%s): they are lost until it does", self._collector.address, reason
            )

    def _ends(self, seconds: float) -> bool:
        """Wait, and return whether it is time to end."""
        return self.closing.wait(seconds) or not threading.main_thread().is_alive()


def _release() -> str:
    try:
        return version("unpickled")
    except PackageNotFoundError:
        return "unknown"


def _resource(release: str) -> Attributes:
    """The attributes of this process, by the conventions of OpenTelemetry."""
    host = socket.gethostname()
    return {
        "service.name": "unpickled",
        "service.version": release,
        "service.instance.id": f"{host}:{os.getpid()}",
        "host.name": host,
        "process.pid": os.getpid(),
    }
