"""Newline-delimited JSON: each line is a request in the native protocol, and is answered with a line.

    {"features": [5.1, 3.5, 1.4, 0.2]}    {"prediction": [0], ..., "prediction_id": "7f3kq2ma-0-1832"}
    {"features": [5.1, 3.5, "x", 0.2]}    {"error": "...", "code": "invalid_input", ..., "line": 2}

If the request is chunked and the server is granian, each line is answered before the next is read. Bodies of
an announced length, and all bodies under other servers (gunicorn), are read and answered in blocks. A wrong
line is answered with an error that has its number (from 1), and the stream goes on. Blank lines get no
answer, but are counted. A body may have any length (https://github.com/ndjson/ndjson-spec).
"""

import codecs
from collections.abc import Iterator
from time import perf_counter

from unpickled.server.errors import BodyTooLarge, RequestError
from unpickled.server.inference import turn
from unpickled.server.inference.prediction import Predict, Prediction
from unpickled.server.inference.work import Work
from unpickled.server.message import body, media
from unpickled.server.message.answer import Answer, Environ
from unpickled.server.model.cost import SLICE
from unpickled.server.observe.recorder import Recorder
from unpickled.server.serve.gate import Gate
from unpickled.server.serve.lines import BLOCK, Batch, Line, Lines, announced_length
from unpickled.server.serve.rest import Rest
from unpickled.server.serve.slots import Slot, Slots

# Longest time that an answer may wait to be sent together with others, in seconds.
_PAUSE = 0.05


class Stream:
    """Answers the streams of one route with one version, whatever is deployed next.

    Each line counts as a request; a stream is one request in flight while it is open.

    Args:
        recorder: Records the answers of that version on that route.
        predict: Answers one line.
        slots: The streams of this process.
        gate: Admits requests; its limit is the longest line, in bytes.
        rest: Discards the body of a stream that cannot begin.
    """

    def __init__(self, recorder: Recorder, predict: Predict, slots: Slots, gate: Gate, rest: Rest) -> None:
        self._recorder = recorder
        self._predict = predict
        self._slots = slots
        self._rest = rest
        self._gate = gate
        self._limit = gate.limit
        self._in_flight = gate.in_flight
        self._headers = (("Content-Type", media.NDJSON), *recorder.identity)

    def __call__(self, environ: Environ) -> Answer:
        """The answer, which is written while it is sent; or the error of a stream that cannot begin."""
        started = perf_counter()
        try:
            length = announced_length(environ)
            expand = body.expander(environ.get("HTTP_CONTENT_ENCODING", ""))
            # A stream computes as a batch does, a slice at a time.
            work = Work(self._recorder.served.name, SLICE, single=False)
            slot = self._slots.enter(environ, self._gate.admission.turn(work))
        except Exception as error:
            return self._rest.discarded(self._recorder.failed(error, started, environ), environ)
        self._in_flight.count += 1
        lines = Lines(environ, length, slot)
        answers = self._answers(lines, slot, lines.batches(self._limit, expand), environ)
        # Start the generator now, so that its `finally` frees the slot however the response ends.
        next(answers, b"")
        return "200 OK", self._headers, answers

    def _answers(
        self, client: Lines, slot: Slot, batches: Iterator[Batch], environ: Environ
    ) -> Iterator[bytes]:
        count = 0
        try:
            # A client that sent Expect: 100-continue gets it on our first read, which must happen before
            # the response starts.
            if "HTTP_EXPECT" in environ:
                client.look_ahead()
            yield b""
            for lines, blank in batches:
                for part in self._parts(lines, count, environ):
                    slot.send()
                    yield part
                    slot.resume()
                count += len(lines) + blank
        except RequestError as error:
            slot.send()
            yield self._failed(error, count + 1, perf_counter(), environ)
        except OSError:
            # The client is gone. (granian reports that as the end of the body.)
            return
        finally:
            self._in_flight.count -= 1
            self._slots.leave(slot)

    def _parts(self, lines: list[Line], count: int, environ: Environ) -> Iterator[bytes]:
        """The answers to lines that arrived together, in parts small enough to be sent soon."""
        if not count and lines and lines[0]:
            # Some editors begin files with a byte order mark.
            lines[0] = lines[0].removeprefix(codecs.BOM_UTF8)
        parts, size, started = [], 0, perf_counter()
        for number, line in enumerate(lines, count + 1):
            if line is not None and (not line or line.isspace()):
                continue
            parts.append(self._answer(line, number, environ))
            turn.breathe()
            size += len(parts[-1])
            if size > BLOCK or perf_counter() - started > _PAUSE:
                yield b"".join(parts)
                parts, size, started = [], 0, perf_counter()
        if parts:
            yield b"".join(parts)

    def _answer(self, line: Line, number: int, environ: Environ) -> bytes:
        started = perf_counter()
        try:
            if line is None:
                raise self._too_long()
            prediction = self._predict(line, environ)
            ended = self._recorder.answered(started, started, prediction)
        except Exception as error:
            return self._failed(error, number, started, environ)
        finally:
            turn.together()
        return self._taken(prediction, ended) + b"\n"

    def _taken(self, prediction: Prediction, ended: float) -> bytes:
        """The answer to a line, with its id where it has one."""
        content = prediction.content
        if self._recorder.take is not None:
            for _, identity in self._recorder.take(prediction, ended):
                content = content[:-1] + f',"prediction_id":"{identity}"}}'.encode()
        return content

    def _failed(self, error: Exception, number: int, started: float, environ: Environ) -> bytes:
        _, _, content = self._recorder.failed(error, started, environ)
        return content[:-1] + b',"line":%d}\n' % number

    def _too_long(self) -> BodyTooLarge:
        return BodyTooLarge(
            f"the line is longer than {self._limit} bytes: send fewer rows per line, or raise max_body_bytes",
            limit=self._limit,
        )
