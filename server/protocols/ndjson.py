"""Newline-delimited JSON: each line a request of the native protocol, each answered by a line.

    {"features": [5.1, 3.5, 1.4, 0.2]}    {"prediction": [0], "predicted_class": ["setosa"], ...}
    {"features": [5.1, 3.5, "x", 0.2]}    {"error": "...", "code": "invalid_input", ..., "line": 2}

A line is answered before the next is waited for, a wrong one with an error that has its number (from 1),
and the stream goes on. Blank lines get no answer, but count. Nothing is kept but one line, or a block of
short ones: files may have any length (https://github.com/ndjson/ndjson-spec).
"""

import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import islice, repeat, takewhile
from time import monotonic, perf_counter
from typing import Any

from server import body
from server.answer import Answer, Environ, failure
from server.errors import BodyTimeout, BodyTooLarge, Busy, IncompleteBody, InvalidInput, RequestError
from server.lifecycle.versions import Served
from server.metrics.shadow import Shadow
from server.metrics.tally import Tally
from server.protocols.prediction import Predict

MEDIA = ("application/x-ndjson", "application/jsonl", "application/jsonlines")

# Bytes read at a time where the length is announced, and roughly the longest part of an answer.
_BLOCK = 64 * 1024
# Seconds that an answer may wait for others to go out with it.
_PAUSE = 0.05
_WITHIN = frozenset(bytes((code,)) for code in range(256)) - {b"\n"}

# Without its end; None where it was longer than a line may be.
Line = bytes | None


class Progress:
    """How far one stream has come, in seconds of time.monotonic().

    ``since``: when it began to wait for its client, 0 while it does not; ``sends``: whether it waits
    for it to read, and not for it to write; ``sent``: when the last part of the answer was handed
    over; ``cut``: whether its connection may have been shut for that.
    """

    __slots__ = ("cut", "sends", "sent", "since")

    def __init__(self) -> None:
        self.since = 0.0
        self.sent = monotonic()
        self.sends = False
        self.cut = False


class Streams:
    """The streams under way in this process; ``refused``: whether one was since somebody last asked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: set[Progress] = set()
        self._refused = False

    def enter(self, most: int) -> Progress:
        """A place for one more; Busy where there are ``most``."""
        with self._lock:
            if len(self._open) >= most:
                self._refused = True
                raise Busy(
                    f"{most} streams are under way, and one worker has no more at once: ask again, "
                    "or send lines as rows of one request",
                    headers={"Retry-After": "1"},
                    limit=most,
                )
            progress = Progress()
            self._open.add(progress)
            return progress

    def leave(self, progress: Progress) -> None:
        """Give the place back."""
        with self._lock:
            self._open.discard(progress)

    def listed(self) -> list[Progress]:
        """Those under way now."""
        with self._lock:
            return list(self._open)

    def refused(self) -> bool:
        """Whether there was no place for one since this was last asked."""
        with self._lock:
            refused, self._refused = self._refused, False
            return refused


# Of all models together: what they take are the threads of this process.
STREAMS = Streams()


class Stream:
    """Answers the streams of one route with one version, whatever is served next.

    ``predict`` answers one line, of ``limit`` bytes at most; ``most`` streams may be under way in
    this process at once. Each line counts as a request.
    """

    def __init__(
        self,
        served: Served,
        predict: Predict,
        limit: int,
        most: int,
        tally: Tally,
        shadow: Shadow | None = None,
    ) -> None:
        self._served = served
        self._predict = predict
        self._limit = limit
        self._most = most
        self._tally = tally
        self._shadow = shadow
        self._who = (("Model-Name", served.name), ("Model-Version", str(served.version)))
        self._headers = (("Content-Type", MEDIA[0]), *self._who)

    def __call__(self, environ: Environ) -> Answer:
        """The answer, which is made while it is sent; errors before the first line included."""
        started = perf_counter()
        try:
            client = Client(environ)
            expand = body.expander(environ.get("HTTP_CONTENT_ENCODING", ""))
            client.progress = STREAMS.enter(self._most)
        except Exception as error:
            status, headers, content = failure(error)
            self._tally.failed(int(status[:3]), started)
            return status, (*headers, *self._who), content
        answers = self._answers(client, client.lines(self._limit, expand), environ)
        # From here on its end, of whatever kind, gives the place back.
        next(answers)
        return "200 OK", self._headers, answers

    def _answers(self, client: "Client", batches: Iterator[list[Line]], environ: Environ) -> Iterator[bytes]:
        count = 0
        try:
            # Who waits for a go-ahead gets it when the first byte is read, and only before the answer begins.
            if "HTTP_EXPECT" in environ:
                client.look_ahead()
            yield b""
            for lines in batches:
                for part in self._parts(lines, count, environ):
                    client.hand_over()
                    yield part
                    client.progress.since = 0.0
                count += len(lines)
        except RequestError as error:
            client.hand_over()
            yield self._failed(error, count + 1, perf_counter())
        except OSError:
            # The client is gone; granian says that by an end of the body.
            return
        finally:
            STREAMS.leave(client.progress)

    def _parts(self, lines: list[Line], count: int, environ: Environ) -> Iterator[bytes]:
        """The answers to lines that came together, in parts that nobody waits long for."""
        parts, size, begun = [], 0, perf_counter()
        for number, line in enumerate(lines, count + 1):
            if line is not None and (not line or line.isspace()):
                continue
            parts.append(self._answer(line, number, environ))
            size += len(parts[-1])
            if size > _BLOCK or perf_counter() - begun > _PAUSE:
                yield b"".join(parts)
                parts, size, begun = [], 0, perf_counter()
        if parts:
            yield b"".join(parts)

    def _answer(self, line: Line, number: int, environ: Environ) -> bytes:
        started = perf_counter()
        try:
            if line is None:
                raise self._too_long()
            content, decoded, ran, rows, labels, scores, _ = self._predict(line, environ)
        except Exception as error:
            return self._failed(error, number, started)
        self._tally.answered(started, started, decoded, ran, labels)
        if self._shadow is not None:
            self._shadow.offer(self._served, rows, labels, scores)
        return content + b"\n"

    def _failed(self, error: Exception, number: int, started: float) -> bytes:
        status, _, content = failure(error)
        self._tally.failed(int(status[:3]), started)
        return content[:-1] + b',"line":%d}\n' % number

    def _too_long(self) -> BodyTooLarge:
        return BodyTooLarge(
            f"the line is longer than {self._limit} bytes: send fewer rows per line, or raise max_body_bytes",
            limit=self._limit,
        )


class Client:
    """The client's side of one stream: what it sends, and since when it is waited for."""

    def __init__(self, environ: Environ) -> None:
        announced = environ.get("CONTENT_LENGTH")
        if announced and not (announced.isascii() and announced.isdigit()):
            raise InvalidInput(f"Content-Length is {announced[:60]!r}, not a number of bytes")
        self.progress: Progress
        self._read: Callable[[int], bytes] = environ["wsgi.input"].read
        self._ahead = b""
        self._announced = int(announced) if announced else None
        self._endless = not announced and bool(environ.get("wsgi.input_terminated"))

    def look_ahead(self) -> None:
        """Wait until the client begins to send."""
        self._begin_to_wait()
        self._ahead = self._read(1)
        self.progress.since = 0.0

    def hand_over(self) -> None:
        """A part of the answer is about to go out, which may take until the client reads."""
        self.progress.sends = True
        self.progress.since = self.progress.sent = monotonic()

    def lines(self, limit: int, expand: Any) -> Iterator[list[Line]]:
        """Lines as they come, those together that came together; IncompleteBody, InvalidInput, BodyTimeout.

        ``expand`` is a decompressor, or None. Where no length is announced, a client may wait for the
        answer to one line before it sends the next; the server's read waits until it has as many
        bytes as it is asked for, so it is asked for one after the other.
        """
        if expand is not None:
            return _split(_expanded(self._pieces(), expand), limit)
        return self._typed(limit) if self._endless else _split(self._pieces(), limit)

    def _typed(self, limit: int) -> Iterator[list[Line]]:
        while first := self._wait(1):
            if first == b"\n":
                yield [b""]
            else:
                yield [self._line(first, limit)]

    def _line(self, first: bytes, limit: int) -> Line:
        """A line; Python never sees its bytes one by one, which would take three times as long."""
        self._begin_to_wait()
        rest = takewhile(_WITHIN.__contains__, map(self._read, repeat(1)))
        pieces, size, more = [first], 1, True
        while more:
            piece = b"".join(islice(rest, _BLOCK))
            size += len(piece)
            pieces = [*pieces, piece] if size <= limit else []
            more = len(piece) == _BLOCK
        self._end_to_wait()
        return b"".join(pieces) if size <= limit else None

    def _pieces(self) -> Iterator[bytes]:
        if self._announced is None:
            while self._endless and (piece := self._wait(1)):
                yield piece
            return
        left = self._announced
        while left:
            size = min(left, _BLOCK)
            piece = self._wait(size)
            left -= len(piece)
            if len(piece) < size:
                raise self._incomplete(self._announced - left)
            yield piece

    def _incomplete(self, received: int) -> IncompleteBody:
        return IncompleteBody(
            f"the body ended after {received} of the {self._announced} bytes that Content-Length announced",
            received=received,
            announced=self._announced,
        )

    def _wait(self, size: int) -> bytes:
        self._begin_to_wait()
        piece = self._ahead + self._read(size - len(self._ahead))
        self._ahead = b""
        waited = self._end_to_wait()
        if self.progress.cut:
            self.progress.cut = False
            if len(piece) < size:
                raise BodyTimeout(
                    f"nothing came for {waited:.0f} s, and others need the place: send it again"
                )
        return piece

    def _begin_to_wait(self) -> None:
        self.progress.sends = False
        self.progress.since = monotonic()

    def _end_to_wait(self) -> float:
        """How long it took, in seconds."""
        waited = monotonic() - self.progress.since
        self.progress.since = 0.0
        return waited


def _split(pieces: Iterable[bytes], limit: int) -> Iterator[list[Line]]:
    """The lines that each piece completes; of one that is too long nothing is kept."""
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        *ended, rest = piece.split(b"\n")
        if ended:
            lines: list[Line] = [line if len(line) <= limit else None for line in ended]
            if size:
                lines[0] = b"".join((*held, ended[0])) if size + len(ended[0]) <= limit else None
            yield lines
            held, size = [], 0
        size += len(rest)
        if size <= limit:
            held.append(rest)
        else:
            held.clear()
    if size:
        yield [b"".join(held) if size <= limit else None]


def _expanded(pieces: Iterable[bytes], expand: Any) -> Iterator[bytes]:
    """Content-Encoding undone, a block at a time, whatever it expands to."""
    fresh = expand.copy()
    try:
        for piece in pieces:
            more = True
            while more:
                if expand.eof:
                    expand = fresh.copy()
                block = expand.decompress(piece, _BLOCK)
                if block:
                    yield block
                piece = expand.unconsumed_tail or expand.unused_data
                more = bool(piece) or (len(block) == _BLOCK and not expand.eof)
    except zlib.error as error:
        raise InvalidInput(f"from here on the body is not what its Content-Encoding says: {error}") from None
    if not expand.eof:
        raise InvalidInput("the body ends in the middle of its Content-Encoding")
