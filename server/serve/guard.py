"""The guard before every route: who is calling, what may that caller do, and how often. WSGI middleware.

    401  no key, or one that is not taken      403  a key for something else      429  too many requests

Probes need no key: an orchestrator that were refused would end a healthy server.
"""

import math
import re
from collections.abc import Container, Iterable
from time import monotonic

from unpickled.server.access.caller import Caller
from unpickled.server.access.callers import Callers
from unpickled.server.access.scopes import METRICS, PREDICT, READ, TRUTH
from unpickled.server.errors import Forbidden, RateLimited, RequestError
from unpickled.server.message.answer import failure
from unpickled.server.message.environ import COUNTS, KEY
from unpickled.server.observe import tally
from unpickled.server.observe.counters import Block
from unpickled.server.quote import quoted, shortened
from unpickled.server.serve.fastpath import Application, Environ, StartResponse
from unpickled.server.serve.routes import Routes

# Paths to which truth is reported.
_TRUTH = re.compile("/models/[^/:]+/truth")
# Paths of explanations, for which a caller needs what it needs to predict.
_EXPLAIN = re.compile("/models/([^/:]+)(?:/(?:versions|labels)/[^/:]+)?/explain")
# Paths of probes.
OPEN = frozenset({"/livez", "/readyz", "/ping", "/v2/health/live", "/v2/health/ready"})


def guarded(
    application: Application,
    callers: Callers,
    routes: Routes,
    block: Block,
    health_route: str | None = None,
) -> Application:
    """The application behind a guard, which answers requests of callers that may not send them.

    This is a function and no class: each attribute that it need not look up saves a request 0.03 us.

    Args:
        application: Answers what is passed on.
        callers: Recognizes callers.
        routes: Knows the model that a path asks for, and discards the bodies of what is refused.
        block: Counts what is refused.
        health_route: One more path of probes.
    """
    guard = _Guard(application, callers, routes, block, OPEN | {health_route} if health_route else OPEN)
    consider, refuse = guard.consider, guard.refuse
    first, second = callers.first, callers.second

    def ask(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        caller = callers.known.get(environ.get(first) or environ.get(second))
        now = monotonic()
        # A caller that is known predicts with its model: everything else takes the long way.
        if caller is None or now >= caller.until or environ["REQUEST_METHOD"] != "POST":
            return consider(environ, start_response)
        model = routes.models.get(environ["PATH_INFO"])
        if model is None or not (caller.every or model in caller.models):
            return consider(environ, start_response)
        bucket = caller.bucket
        if bucket is not None and (wait := bucket.take(now)):
            return refuse(_too_many(caller, wait), environ, start_response, caller)
        if caller.counts is not None:
            environ[KEY] = caller.name
            environ[COUNTS] = caller.counts
        return application(environ, start_response)

    return ask


class _Guard:
    """The long way of a request: its scope, its caller, and the answer where it may not pass."""

    def __init__(
        self,
        application: Application,
        callers: Callers,
        routes: Routes,
        block: Block,
        probes: Container[str],
    ) -> None:
        self._application = application
        self._callers = callers
        self._routes = routes
        self._block = block
        self._open = probes

    def consider(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Any request, whatever its path and its method."""
        scope = self._scope(environ)
        if scope is None:
            return self._application(environ, start_response)
        caller = None
        try:
            caller = self._callers.find(environ)
            _check(caller, scope, environ)
        except RequestError as error:
            return self.refuse(error, environ, start_response, caller)
        if caller.counts is not None:
            environ[KEY], environ[COUNTS] = caller.name, caller.counts
        return self._application(environ, start_response)

    def _scope(self, environ: Environ) -> str | None:
        """The scope that a request needs; None if it needs none."""
        path = environ["PATH_INFO"]
        # In capitals, as Flask takes "post" for the same.
        if environ["REQUEST_METHOD"].upper() == "POST":
            model = self._routes.models.get(path)
            if model is not None:
                return PREDICT + model
            if asked := self._routes.asked(path):
                return PREDICT + asked[1]
            if explained := _EXPLAIN.fullmatch(path):
                return PREDICT + explained[1]
            if _TRUTH.fullmatch(path):
                return TRUTH
        if path in self._open:
            return None
        return METRICS if path == "/metrics" else READ

    def refuse(
        self, error: RequestError, environ: Environ, start_response: StartResponse, caller: Caller | None
    ) -> Iterable[bytes]:
        """The answer for an error; a long body is read on, so that its client gets the answer."""
        asked = self._routes.asked(environ["PATH_INFO"]) if environ["REQUEST_METHOD"] == "POST" else None
        tally.count_other(self._block, asked[0] if asked else "", error.status)
        if caller is not None and caller.counts is not None:
            environ[KEY] = caller.name
            caller.counts[error.status // 100] += 1.0
        status, headers, content = failure(error)
        headers = (*headers, *self._routes.headers)
        status, headers, parts = self._routes.rest.discarded((status, headers, content), environ)
        if not isinstance(parts, bytes):
            start_response(status, list(headers))
            return parts
        start_response(status, [*headers, ("Content-Length", str(len(parts)))])
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else parts]


def _check(caller: Caller, scope: str, environ: Environ) -> None:
    """Forbidden or RateLimited where a caller may not do what it asks, or not now."""
    if not caller.scopes.allow(scope):
        place = f"{shortened(environ['REQUEST_METHOD'], 20)} {shortened(environ['PATH_INFO'], 200)}"
        raise Forbidden(
            f"{quoted(caller.name)} lacks the scope {scope!r}, which {place} needs: "
            "ask for a key or token that has it",
            headers={"WWW-Authenticate": 'Bearer realm="unpickled", error="insufficient_scope"'},
            scope=scope,
        )
    bucket = caller.bucket
    if bucket is not None and (wait := bucket.take(monotonic())):
        raise _too_many(caller, wait)


def _too_many(caller: Caller, wait: float) -> RateLimited:
    bucket = caller.bucket
    assert bucket is not None
    sender = quoted(caller.name) if caller.name else "one address"
    rate = f"{bucket.rate:g} request{'' if bucket.rate == 1 else 's'}"
    seconds = max(1, math.ceil(wait))
    return RateLimited(
        f"{sender} may send {rate} a second, and {bucket.burst} at once: ask again in {seconds} s",
        headers={"Retry-After": str(seconds)},
        limit=bucket.rate,
        burst=bucket.burst,
    )
