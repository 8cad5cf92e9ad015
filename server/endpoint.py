"""``POST .../predict`` of one version: reads, predicts, counts."""

import sys
from collections.abc import Mapping
from time import perf_counter
from types import FrameType
from typing import Any

from server import body
from server.answer import Answer, failure
from server.lifecycle.versions import Served
from server.metrics.shadow import Shadow
from server.metrics.tally import PHASES, Tally
from server.protocols.native import Native

_TIMING = ", ".join(f"{name};dur=%.4f" for name in (*PHASES, "total"))


class Endpoint:
    """Answers the requests of one route with one version, whatever is served next."""

    def __init__(
        self, served: Served, native: Native, limit: int, tally: Tally, shadow: Shadow | None = None
    ) -> None:
        self.served = served
        self._predict = native.predict
        self._limit = limit
        self._tally = tally
        self._shadow = shadow
        self._who = (("Model-Name", served.name), ("Model-Version", str(served.version)))
        self._headers = (("Content-Type", "application/json"), *self._who)

    def __call__(self, environ: Mapping[str, Any]) -> Answer:
        """The answer to a POST, errors included."""
        started = perf_counter()
        try:
            request = body.read(environ, self._limit)
            read = perf_counter()
            content, decoded, ran, rows, labels, scores = self._predict(request)
        except Exception as error:
            status, headers, content = failure(error)
            self._tally.failed(int(status[:3]), started)
            return status, (*headers, *self._who), content
        ended = self._tally.answered(started, read, decoded, ran, labels)
        if self._shadow is not None:
            self._shadow.offer(self.served, rows, labels, scores)
        if "HTTP_SERVER_TIMING" in environ:
            return "200 OK", (*self._headers, _timing(started, read, decoded, ran, ended)), content
        return "200 OK", self._headers, content


def in_flight() -> int:
    """Requests that this process is answering now; counting them here costs them nothing."""
    return sum(map(_is_answering, sys._current_frames().values()))


def _is_answering(frame: FrameType | None) -> bool:
    while frame is not None and frame.f_code is not Endpoint.__call__.__code__:
        frame = frame.f_back
    return frame is not None


def _timing(*times: float) -> tuple[str, str]:
    """https://www.w3.org/TR/server-timing: durations in milliseconds."""
    started, read, decoded, ran, ended = (1000 * time for time in times)
    spans = (read - started, decoded - read, ran - decoded, ended - ran, ended - started)
    return "Server-Timing", _TIMING % spans
