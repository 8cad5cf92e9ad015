"""The predictions of one version over one protocol: an endpoint reads, predicts and records."""

from collections.abc import Iterator, Mapping
from time import perf_counter

from unpickled.server.errors import BodyTooLarge
from unpickled.server.inference.prediction import Predict
from unpickled.server.message import body
from unpickled.server.message.answer import JSON, Answer, Environ, Target
from unpickled.server.observe.inflight import InFlight
from unpickled.server.observe.recorder import Recorder
from unpickled.server.observe.tally import PHASES
from unpickled.server.serve.parts import SHORT, Headers, Parts
from unpickled.server.serve.rest import Rest

_TIMING = ", ".join(f"{name};dur=%.4f" for name in (*PHASES, "total"))
# Content types treated as JSON; `curl -d` sends the last one.
_PLAIN = frozenset({None, "", "application/json", "application/x-www-form-urlencoded"})


class Endpoint:
    """Answers the requests of one route with one version, whatever is deployed next.

    Args:
        recorder: Records the answers of that version on that route.
        predict: Answers a body in one protocol.
        limit: The longest body, in bytes.
        in_flight: Counts the requests of this process that are being answered.
        rest: Discards what is left of a body that is too long.
        parts: Sends a long answer.
        by_type: Targets that answer bodies of other content types in place of ``predict``.
    """

    def __init__(
        self,
        recorder: Recorder,
        predict: Predict,
        limit: int,
        in_flight: InFlight,
        rest: Rest,
        parts: Parts,
        by_type: Mapping[str, Target] | None = None,
    ) -> None:
        self._recorder = recorder
        self._predict = predict
        self._limit = limit
        self._in_flight = in_flight
        self._rest = rest
        self._parts = parts
        self._by_type = by_type or {}
        self._headers = (JSON, *recorder.identity)

    def __call__(self, environ: Environ) -> Answer:
        """The answer to a POST, errors included."""
        if environ.get("CONTENT_TYPE") not in _PLAIN and self._by_type:
            target = self._by_type.get(body.media_type(environ)[0])
            if target is not None:
                return target(environ)
        started = perf_counter()
        in_flight, recorder = self._in_flight, self._recorder
        in_flight.count += 1
        try:
            request = body.read(environ, self._limit)
            read = perf_counter()
            prediction = self._predict(request, environ)
            content: bytes | Iterator[bytes] = prediction.content
            more: Headers = ()
            if len(prediction.content) > SHORT:
                more, content = self._parts.of(prediction.content, environ)
            ended = recorder.answered(started, read, prediction)
        except Exception as error:
            answer = recorder.failed(error, started)
            return self._rest.discarded(answer, environ) if isinstance(error, BodyTooLarge) else answer
        finally:
            in_flight.count -= 1
        headers = self._headers if prediction.headers is None else (*prediction.headers, *recorder.identity)
        if more:
            headers = (*headers, *more)
        if "HTTP_SERVER_TIMING" in environ:
            timing = _timing(started, read, prediction.decoded, prediction.ran, ended)
            return "200 OK", (*headers, timing), content
        return "200 OK", headers, content


def _timing(*times: float) -> tuple[str, str]:
    """The Server-Timing header, in milliseconds: https://www.w3.org/TR/server-timing."""
    started, read, decoded, ran, ended = (1000 * time for time in times)
    spans = (read - started, decoded - read, ran - decoded, ended - ran, ended - started)
    return "Server-Timing", _TIMING % spans
