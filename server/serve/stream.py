"""Newline-delimited JSON: each line a request of the native protocol, each answered by a line.

    {"features": [5.1, 3.5, 1.4, 0.2]}    {"prediction": [0], "predicted_class": ["setosa"], ...}
    {"features": [5.1, 3.5, "x", 0.2]}    {"error": "...", "code": "invalid_input", ..., "line": 2}

A line is answered before the next is waited for where the request is chunked and the server is granian;
bodies of an announced length, and all bodies elsewhere (gunicorn), are read and answered in blocks. A wrong
line is answered with an error that has its number (from 1), and the stream goes on. Blank lines get no
answer, but count. Files may have any length (https://github.com/ndjson/ndjson-spec).
"""

import codecs
from collections.abc import Iterator
from time import perf_counter

from unpickled.server.errors import BodyTooLarge, RequestError
from unpickled.server.inference.prediction import Predict
from unpickled.server.lifecycle.versions import Served
from unpickled.server.message import body
from unpickled.server.message.answer import Answer, Environ, failure
from unpickled.server.observe.shadow import Shadow
from unpickled.server.observe.tally import Tally
from unpickled.server.serve.lines import BLOCK, Batch, Line, Lines
from unpickled.server.serve.slots import PLACES

MEDIA = ("application/x-ndjson", "application/jsonl", "application/jsonlines")

# Seconds that an answer may wait for others to go out with it.
_PAUSE = 0.05


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
            lines = Lines(environ)
            expand = body.expander(environ.get("HTTP_CONTENT_ENCODING", ""))
            lines.place = PLACES.enter(self._most)
        except Exception as error:
            status, headers, content = failure(error)
            self._tally.failed(int(status[:3]), started)
            return status, (*headers, *self._who), content
        answers = self._answers(lines, lines.batches(self._limit, expand), environ)
        # From here on its end, of whatever kind, gives the place back.
        next(answers)
        return "200 OK", self._headers, answers

    def _answers(self, client: Lines, batches: Iterator[Batch], environ: Environ) -> Iterator[bytes]:
        place, count = client.place, 0
        try:
            # Who waits for a go-ahead gets it when the first byte is read, and only before the answer begins.
            if "HTTP_EXPECT" in environ:
                client.look_ahead()
            yield b""
            for lines, blank in batches:
                for part in self._parts(lines, count, environ):
                    place.send()
                    yield part
                    place.go_on()
                count += len(lines) + blank
        except RequestError as error:
            place.send()
            yield self._failed(error, count + 1, perf_counter())
        except OSError:
            # The client is gone; granian says that by an end of the body.
            return
        finally:
            PLACES.leave(place)

    def _parts(self, lines: list[Line], count: int, environ: Environ) -> Iterator[bytes]:
        """The answers to lines that came together, in parts that nobody waits long for."""
        if not count and lines and lines[0]:
            # Editors begin files with it.
            lines[0] = lines[0].removeprefix(codecs.BOM_UTF8)
        parts, size, begun = [], 0, perf_counter()
        for number, line in enumerate(lines, count + 1):
            if line is not None and (not line or line.isspace()):
                continue
            parts.append(self._answer(line, number, environ))
            size += len(parts[-1])
            if size > BLOCK or perf_counter() - begun > _PAUSE:
                yield b"".join(parts)
                parts, size, begun = [], 0, perf_counter()
        if parts:
            yield b"".join(parts)

    def _answer(self, line: Line, number: int, environ: Environ) -> bytes:
        started = perf_counter()
        try:
            if line is None:
                raise self._too_long()
            prediction = self._predict(line, environ)
        except Exception as error:
            return self._failed(error, number, started)
        self._tally.answered(started, started, prediction.decoded, prediction.ran, prediction.labels)
        if self._shadow is not None:
            self._shadow.offer(self._served, prediction.rows, prediction.labels, prediction.scores)
        return prediction.content + b"\n"

    def _failed(self, error: Exception, number: int, started: float) -> bytes:
        status, _, content = failure(error)
        self._tally.failed(int(status[:3]), started)
        return content[:-1] + b',"line":%d}\n' % number

    def _too_long(self) -> BodyTooLarge:
        return BodyTooLarge(
            f"the line is longer than {self._limit} bytes: send fewer rows per line, or raise max_body_bytes",
            limit=self._limit,
        )
