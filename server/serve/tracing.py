"""Traces: WSGI middleware that records the requests whose callers record them, or a share of the others.

The names of attributes are OpenTelemetry's: https://opentelemetry.io/docs/specs/semconv/http/http-spans.
"""

from collections.abc import Callable, Iterable, Iterator
from random import getrandbits, random
from time import perf_counter, time_ns
from typing import Any

from unpickled.server.message import path, traceparent
from unpickled.server.message.environ import KEY, REQUEST_ID, TRACE
from unpickled.server.message.traceparent import Traceparent
from unpickled.server.observe.spans import Span, Value
from unpickled.server.observe.traces import Traces
from unpickled.server.serve import timing
from unpickled.server.serve.fastpath import Application, Environ, StartResponse
from unpickled.server.serve.followed import followed
from unpickled.server.serve.requestid import identified

Route = Callable[[Environ], str]

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})
# Longest text of a header in an attribute, in characters; that of tracestate is the standard's.
_LONGEST, _LONGEST_STATE = 200, 512


def traced(application: Application, traces: Traces, ratio: float, route: Route) -> Application:
    """The application, with its sampled requests recorded.

    Args:
        application: Answers all requests.
        traces: Takes the spans.
        ratio: The share of requests without a ``traceparent`` header that are recorded.
        route: The pattern of the path of a request; "" where there is none.
    """
    recorded = identified(application, always=True)

    def ask(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        header = environ.get(traceparent.VARIABLE, "")
        # Without a share of its own, the server needs no more of most headers than the flag.
        if traceparent.unsampled(header) and (not ratio or traceparent.well_formed(header)):
            return application(environ, start_response)
        caller = traceparent.read(header)
        if random() >= ratio if caller is None else not caller.sampled:
            return application(environ, start_response)
        return _Recording(environ, start_response, caller, traces, route).answer(recorded)

    return ask


class _Recording:
    """One request that is recorded."""

    def __init__(
        self,
        environ: Environ,
        start_response: StartResponse,
        caller: Traceparent | None,
        traces: Traces,
        route: Route,
    ) -> None:
        self._begun, self._started = time_ns(), perf_counter()
        self._environ = environ
        self._start_response = start_response
        self._trace = caller.trace if caller else f"{getrandbits(128):032x}"
        self._span = _new_span()
        self._parent = caller.span if caller else ""
        self._traces = traces
        self._route = route
        # An outer path that a proxy has put in front is removed on the way.
        self._path = path.shown(environ)
        self._asked = timing.VARIABLE in environ
        self._status = 500
        self._headers: dict[str, str] = {}
        self._answered = 0
        environ[TRACE] = self._trace
        environ.setdefault(timing.VARIABLE, "")

    def answer(self, application: Application) -> Iterable[bytes]:
        """The application's answer, with the trace in its headers."""
        answer: Iterable[bytes] = ()
        try:
            answer = application(self._environ, self._start)
        except BaseException:
            self._end(0)
            raise
        if not isinstance(answer, list | tuple):
            return followed(answer, self._end)
        self._end(0)
        return answer

    def _start(self, status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
        self._status, self._headers, self._answered = int(status[:3]), dict(headers), self._now()
        kept = headers if self._asked else timing.without(headers)
        response = ("traceresponse", traceparent.written(self._trace, self._span))
        return self._start_response(status, [*kept, response], *error)

    def _now(self) -> int:
        # By one clock, so that no span ends before it begins.
        return self._begun + int(1e9 * (perf_counter() - self._started))

    def _end(self, _: int) -> None:
        ended = self._now()
        # Whatever fails here, the client gets the application's answer.
        try:
            self._traces.offer([self._whole(ended), *self._phases()])
        except Exception:
            self._traces.lose(1)

    def _whole(self, ended: int) -> Span:
        method, route = self._environ["REQUEST_METHOD"], self._route(self._environ)
        return Span(
            self._trace,
            self._span,
            self._parent,
            f"{method if method in _METHODS else 'HTTP'} {route}".rstrip(),
            self._begun,
            ended,
            attributes={key: value for key, value in self._attributes(route) if value != ""},
            whole=True,
            failed=self._status >= 500,
            state=_state(self._environ) if self._parent else "",
        )

    def _attributes(self, route: str) -> Iterator[tuple[str, Value]]:
        environ, headers, method = self._environ, self._headers, self._environ["REQUEST_METHOD"]
        host, port = _address(environ)
        yield "http.request.method", method if method in _METHODS else "_OTHER"
        yield "http.request.method_original", "" if method in _METHODS else method[:20]
        yield "http.route", route
        yield "http.response.status_code", self._status
        yield "error.type", str(self._status) if self._status >= 500 else ""
        yield "url.scheme", environ.get("wsgi.url_scheme", "")
        yield "url.path", self._path
        yield "server.address", host
        yield "server.port", port
        yield "client.address", environ.get("REMOTE_ADDR", "")
        yield "network.protocol.version", environ.get("SERVER_PROTOCOL", "").partition("/")[2]
        yield "user_agent.original", environ.get("HTTP_USER_AGENT", "")[:_LONGEST]
        yield "unpickled.model.name", headers.get("Model-Name", "")
        yield "unpickled.model.version", headers.get("Model-Version", "")
        yield "unpickled.request_id", environ.get(REQUEST_ID, "")
        yield "unpickled.key", environ.get(KEY, "")

    def _phases(self) -> Iterator[Span]:
        """A span for each phase of a prediction, one after another until the answer began."""
        phases = timing.phases(self._headers.get(timing.HEADER, ""))
        begun = self._answered - int(1e6 * dict(phases).get(timing.TOTAL, 0.0))
        for name, duration in phases:
            # A request that had not to wait has been in no queue.
            if name != timing.TOTAL and duration:
                ended = begun + int(1e6 * duration)
                yield Span(self._trace, _new_span(), self._span, name, begun, ended)
                begun = ended


def _new_span() -> str:
    return f"{getrandbits(64):016x}"


def _state(environ: Environ) -> str:
    """The caller's tracestate; none that is too long, as half of one would be another."""
    state: str = environ.get("HTTP_TRACESTATE", "")
    return state if len(state) <= _LONGEST_STATE else ""


def _address(environ: Environ) -> tuple[str, Value]:
    """The host that the client called, and its port."""
    host, colon, port = environ.get("HTTP_HOST", "").rpartition(":")
    if colon and port.isascii() and port.isdigit():
        return host[:_LONGEST], int(port[:5])
    return (environ.get("HTTP_HOST") or environ.get("SERVER_NAME", ""))[:_LONGEST], ""
