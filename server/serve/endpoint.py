"""The predictions of one version over one protocol: an endpoint reads, predicts and records."""

import math
from collections.abc import Iterator, Mapping
from time import perf_counter

from unpickled.server.errors import (
    BadRequest,
    BodyTooLarge,
    DeadlineExceeded,
    InvalidInput,
    LengthRequired,
    Overloaded,
)
from unpickled.server.inference.prediction import Predict, Prediction
from unpickled.server.inference.work import Cost, Work
from unpickled.server.message import body
from unpickled.server.message.answer import JSON, Answer, Environ, Target
from unpickled.server.message.environ import QUEUE_MS, is_multiplexed, peer
from unpickled.server.observe.recorder import Recorder
from unpickled.server.observe.tally import PHASES
from unpickled.server.serve.gate import DEADLINE, Gate
from unpickled.server.serve.parts import Parts
from unpickled.server.serve.rest import Rest

_TIMING = ", ".join(f"{name};dur=%.4f" for name in (*PHASES, "total"))
# Content types treated as JSON; `curl -d` sends the last one.
_PLAIN = frozenset({None, "", "application/json", "application/x-www-form-urlencoded"})

# A short body may be a long one, compressed.
_ENCODED = "HTTP_CONTENT_ENCODING"
# Stands for the length of a body that announces none: it may be long.
_UNKNOWN = "?" * 20
# Errors that may come before the body is read.
_EARLY = (
    BadRequest,
    BodyTooLarge,
    DeadlineExceeded,
    InvalidInput,
    LengthRequired,
    Overloaded,
)


class Endpoint:
    """Answers the requests of one route with one version, whatever is deployed next.

    A brief request is answered at once, any other in its turn.

    Args:
        recorder: Records the answers of that version on that route.
        predict: Answers a body in one protocol.
        cost: The cost of its requests.
        gate: Admits requests.
        rest: Discards what is left of a body that is not read to its end.
        parts: Sends a long answer.
        by_type: Targets that answer bodies of other content types in place of ``predict``.
    """

    def __init__(
        self,
        recorder: Recorder,
        predict: Predict,
        cost: Cost,
        gate: Gate,
        rest: Rest,
        parts: Parts,
        by_type: Mapping[str, Target] | None = None,
    ) -> None:
        self._recorder = recorder
        self._predict = predict
        self._cost = cost
        # Numbers compare by how many digits they have, then as texts; to convert one would take longer.
        self._brief, self._digits = str(cost.brief), len(str(cost.brief))
        self._gate = gate
        self._limit = gate.limit
        self._timeout = math.inf if gate.timeout is None else gate.timeout
        self._in_flight = gate.in_flight
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
            announced = environ.get("CONTENT_LENGTH", _UNKNOWN)
            digits = len(announced)
            if (
                digits >= self._digits and (digits > self._digits or announced > self._brief)
            ) or _ENCODED in environ:
                return self._in_turn(environ, started)
            request = body.received(environ, self._limit)
            read = perf_counter()
            if read - started > self._timeout or DEADLINE in environ:
                self._gate.check_time(recorder.served.name, environ, started, read)
            prediction = self._predict(request, environ)
            ended = recorder.answered(started, read, prediction)
        except Exception as error:
            return self._failed(error, environ, started)
        finally:
            in_flight.count -= 1
        headers = self._headers if prediction.headers is None else (*prediction.headers, *recorder.identity)
        if recorder.take is not None:
            headers = (*headers, *recorder.take(prediction, ended))
        if "HTTP_SERVER_TIMING" in environ:
            timing = _timing(started, read, 0.0, prediction, ended)
            return "200 OK", (*headers, timing), prediction.content
        return "200 OK", headers, prediction.content

    def _in_turn(self, environ: Environ, started: float) -> Answer:
        """The answer to a request that may be long."""
        name, deadline = self._recorder.served.name, self._gate.deadline(environ, started)
        self._gate.check(name, self._cost, environ, deadline)
        with self._gate.budget.share(name) as share:
            request = body.received(environ, self._limit, share.take)
            read = perf_counter()
            turn = self._gate.admission.turn(self._work(request, environ, deadline, started, read))
            try:
                with turn:
                    if _ENCODED in environ:
                        take, pace = share.take, turn.breathe
                        request = body.expanded(request, environ[_ENCODED], self._limit, take, pace)
                        turn.become(self._work(request, environ, deadline, started, read))
                    prediction = self._predict(request, environ)
            finally:
                environ[QUEUE_MS] = round(1000 * turn.waited, 3)
            self._cost.learn(len(request), turn.spent)
            share.become(len(prediction.content))
            more, content = self._parts.of(prediction.content, environ, share.release)
            share.keep()
            return self._answer(environ, started, read, prediction, turn.waited, more, content)

    def _work(self, request: bytes, environ: Environ, deadline: float, started: float, read: float) -> Work:
        name, cost, length = self._recorder.served.name, self._cost, len(request)
        client = "" if is_multiplexed(environ) else peer(environ)
        return Work(name, cost.seconds(length), cost.is_single(length), deadline, started, read, client)

    def _answer(
        self,
        environ: Environ,
        started: float,
        read: float,
        prediction: Prediction,
        waited: float,
        more: tuple[tuple[str, str], ...],
        content: bytes | Iterator[bytes],
    ) -> Answer:
        recorder = self._recorder
        ended = recorder.answered(started, read, prediction, waited)
        headers = self._headers if prediction.headers is None else (*prediction.headers, *recorder.identity)
        if recorder.take is not None:
            headers = (*headers, *recorder.take(prediction, ended))
        if "HTTP_SERVER_TIMING" in environ:
            headers = (*headers, _timing(started, read, waited, prediction, ended))
        return "200 OK", (*headers, *more), content

    def _failed(self, error: Exception, environ: Environ, started: float) -> Answer:
        answer = self._recorder.failed(error, started, environ)
        return self._rest.discarded(answer, environ) if isinstance(error, _EARLY) else answer


def _timing(
    started: float, read: float, waited: float, prediction: Prediction, ended: float
) -> tuple[str, str]:
    """The Server-Timing header, in milliseconds: https://www.w3.org/TR/server-timing."""
    before = min(waited, prediction.decoded - read)
    spans = (
        read - started,
        waited,
        prediction.decoded - read - before,
        prediction.ran - prediction.decoded - (waited - before),
        ended - prediction.ran,
        ended - started,
    )
    return "Server-Timing", _TIMING % tuple(1000 * seconds for seconds in spans)
