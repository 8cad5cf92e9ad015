"""Predictions of one version over one protocol: reads, predicts, counts."""

import sys
from collections.abc import Mapping
from time import perf_counter
from types import FrameType

from unpickled.server.inference.prediction import Predict
from unpickled.server.lifecycle.versions import Served
from unpickled.server.message import body
from unpickled.server.message.answer import JSON, Answer, Environ, Target, failure
from unpickled.server.observe.shadow import Shadow
from unpickled.server.observe.tally import PHASES, Tally
from unpickled.server.serve.slots import PLACES
from unpickled.server.serve.stream import Stream

_TIMING = ", ".join(f"{name};dur=%.4f" for name in (*PHASES, "total"))
# Of JSON; the last is what curl -d says of it.
_PLAIN = frozenset({None, "", "application/json", "application/x-www-form-urlencoded"})


class Endpoint:
    """Answers the requests of one route with one version, whatever is served next.

    ``others`` answer the content types that they are named by, in place of ``predict``.
    """

    def __init__(
        self,
        served: Served,
        predict: Predict,
        limit: int,
        tally: Tally,
        shadow: Shadow | None = None,
        others: Mapping[str, Target] | None = None,
    ) -> None:
        self.served = served
        self._predict = predict
        self._limit = limit
        self._tally = tally
        self._shadow = shadow
        self._others = others or {}
        self._who = (("Model-Name", served.name), ("Model-Version", str(served.version)))
        self._headers = (JSON, *self._who)

    def __call__(self, environ: Environ) -> Answer:
        """The answer to a POST, errors included."""
        if environ.get("CONTENT_TYPE") not in _PLAIN and self._others:
            other = self._others.get(body.media_type(environ)[0])
            if other is not None:
                return other(environ)
        started = perf_counter()
        try:
            request = body.read(environ, self._limit)
            read = perf_counter()
            prediction = self._predict(request, environ)
        except Exception as error:
            status, headers, content = failure(error)
            self._tally.failed(int(status[:3]), started)
            return status, (*headers, *self._who), content
        decoded, ran = prediction.decoded, prediction.ran
        ended = self._tally.answered(started, read, decoded, ran, prediction.labels)
        if self._shadow is not None:
            self._shadow.offer(self.served, prediction.rows, prediction.labels, prediction.scores)
        headers = self._headers if prediction.headers is None else (*prediction.headers, *self._who)
        if "HTTP_SERVER_TIMING" in environ:
            return "200 OK", (*headers, _timing(started, read, decoded, ran, ended)), prediction.content
        return "200 OK", headers, prediction.content


def in_flight() -> int:
    """Requests that this process is answering now; counting them here costs them nothing."""
    return len(PLACES.listed()) + sum(map(_is_answering, sys._current_frames().values()))


def _is_answering(frame: FrameType | None) -> bool:
    """Whether a thread answers a request; a stream that just begins is counted by its place."""
    while frame is not None and frame.f_code is not Stream.__call__.__code__:
        if frame.f_code is Endpoint.__call__.__code__:
            return True
        frame = frame.f_back
    return False


def _timing(*times: float) -> tuple[str, str]:
    """https://www.w3.org/TR/server-timing: durations in milliseconds."""
    started, read, decoded, ran, ended = (1000 * time for time in times)
    spans = (read - started, decoded - read, ran - decoded, ended - ran, ended - started)
    return "Server-Timing", _TIMING % spans
