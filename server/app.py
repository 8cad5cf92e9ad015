"""The Flask application around a service: every route, those of the fast path included."""

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound
from werkzeug.routing import BaseConverter, WebsocketMismatch

from unpickled.server import errors
from unpickled.server.config import Config, load
from unpickled.server.layers import layered
from unpickled.server.message.answer import CLOSE, Answer, failure
from unpickled.server.message.environ import COUNTS
from unpickled.server.observe import tally
from unpickled.server.observe.counters import Memory
from unpickled.server.observe.keyed import PLACES
from unpickled.server.pages import site
from unpickled.server.pages.page import Page
from unpickled.server.quote import shortened
from unpickled.server.serve import patterns
from unpickled.server.serve.guard import OPEN
from unpickled.server.serve.hosts import Hosts
from unpickled.server.serve.parts import Parts
from unpickled.server.serve.rest import Rest
from unpickled.server.service import Service

# Longest path in an error, in characters.
_LONGEST_PATH = 200


def create_app(config: Config | None = None, memory: Memory | None = None) -> Flask:
    """The WSGI application, with the models loaded and the models folder watched for changes.

    Args:
        config: The settings; by default those of the environment and unpickled.toml.
        memory: The counters that the processes of one server share; by default this process has its own.

    Returns:
        A Flask application. It works in any WSGI server and in ``app.test_client()``.

    Raises:
        ConfigError: A setting is wrong, or the models folder cannot be read. A model that cannot be
            served does not stop the others.

    Example:
        >>> app = create_app(Config(models="models"))
        >>> app.test_client().post("/predict", json={"features": [5.1, 3.5, 1.4, 0.2]}).json["prediction"]
        [0]
    """
    service = Service(config or load(environ=os.environ), memory)
    service.start()
    return flask_app(service)


def flask_app(service: Service, announces_length: bool = True) -> Flask:
    """A Flask application around a service, which lives as long as the application does.

    ``announces_length``: see fast_path.
    """
    config = service.config
    app = Flask("unpickled.server", static_folder=None)
    # Otherwise Flask answers OPTIONS and //predict itself, in HTML.
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.merge_slashes = False
    app.url_map.converters["default"] = _Name
    hosts = Hosts(config.listening.trusted_hosts, OPEN | {config.traffic.health_route or "/livez"})
    app.before_request(partial(_check_target, hosts))
    _add_predictions(app, service)
    ledger = service.consumers.ledger
    pages = site.pages(
        service.repository,
        service.memory,
        service.in_flight,
        service.records,
        ledger,
        service.gate,
        service.routes,
    )
    _add_pages(app, pages, service.routes.parts)
    _follow_answers(app, service)
    app.register_error_handler(Exception, partial(_on_error, service.routes.rest))
    rule = partial(_rule, app)
    app.wsgi_app = layered(app.wsgi_app, service, hosts, rule, announces_length)  # type: ignore[assignment, method-assign]
    return app


def _check_target(hosts: Hosts) -> None:
    """BadRequest where a request does not say whom it asks, or for which path."""
    hosts.check(request.environ)
    # CONNECT, and GET with a host and nothing else, name no path; Flask would take them for "/".
    if not request.environ["PATH_INFO"].startswith("/"):
        raise errors.BadRequest(
            "the request names no path: send one that begins with a slash, as in GET /models", status=400
        )


class _Name(BaseConverter):
    """A name in a path; an action such as ``:predict`` follows it."""

    regex = "[^/:]+"


def _add_predictions(app: Flask, service: Service) -> None:
    def predict(rule: str, **names: str) -> Response:
        target = service.routes.targets.get(request.environ["PATH_INFO"])
        if target is None:
            # Either find() raises the reason, or the path only spells a name in another way.
            with service.repository.held(names.get("name")):
                served = service.repository.find(names.get("name"), names.get("version"), names.get("label"))
                path = patterns.filled(
                    rule, **(names | {"name": served.name, "version": str(served.version)})
                )
                target = service.routes.targets.get(path)
        if target is None:
            raise errors.NotReady("the served versions are just changing: ask again")
        g.counted = True
        return _response(target(request.environ))

    for rule in service.routes.rules:
        _add_rule(app, "POST", rule, partial(predict, rule))


def _add_pages(app: Flask, pages: list[Page], parts: Parts) -> None:
    """Register the pages; the first page of a rule wins, as settings may name any path."""
    for page in pages:
        if f"{page.method} {page.rule}" not in app.view_functions:
            _add_rule(app, page.method, page.rule, partial(_answer, page, parts))


def _add_rule(app: Flask, method: str, rule: str, view: Callable[..., Response]) -> None:
    # By default Flask redirects a path that lacks the last slash, to an address made of the Host header.
    strict = not rule.endswith("/")
    app.add_url_rule(rule, f"{method} {rule}", view, methods=[method], strict_slashes=strict)


def _answer(page: Page, parts: Parts, /, **names: str) -> Response:
    status, headers, content = page.handle(request.environ, **names)
    if isinstance(content, bytes):
        more, content = parts.of(content, request.environ)
        headers = (*headers, *more)
    return _response((status, headers, content))


def _follow_answers(app: Flask, service: Service) -> None:
    """Count the answers that no endpoint has counted; while the server drains, end their connections."""

    # The closure keeps a reference to the service: without one, its reloader would end.
    @app.after_request
    def follow(response: Response) -> Response:
        if not g.get("counted"):
            route = request.url_rule.rule if request.url_rule else ""
            tally.count_other(service.block, route, response.status_code)
        counts = request.environ.get(COUNTS)
        if counts is not None:
            counts[PLACES[response.status[0]]] += 1.0
        if service.repository.draining:
            response.headers[CLOSE[0]] = CLOSE[1]
        return response


def _rule(app: Flask, environ: Mapping[str, Any]) -> str:
    """The rule of a request's path; "" where there is none."""
    try:
        urls = app.url_map.bind("")
        rule, _ = urls.match(environ["PATH_INFO"], environ["REQUEST_METHOD"], return_rule=True)
    except HTTPException:
        return ""
    return str(rule.rule)


def _on_error(rest: Rest, error: Exception) -> Response:
    return _response(rest.discarded(failure(_translated(error), request.environ), request.environ))


def _translated(error: Exception) -> Exception:
    """The error of this project for an error of Flask; any other error as it is."""
    if isinstance(error, NotFound):
        path = shortened(request.path, _LONGEST_PATH)
        return errors.UnknownPath(f"there is nothing under {path!r}: GET / lists every route")
    if isinstance(error, MethodNotAllowed):
        allowed = sorted(error.valid_methods or ())
        return errors.MethodNotAllowed(
            f"{shortened(request.path, _LONGEST_PATH)} does not take {shortened(request.method, 20)}: "
            f"it takes {', '.join(allowed)}",
            headers={"Allow": ", ".join(allowed)},
            allowed=allowed,
        )
    if isinstance(error, WebsocketMismatch):
        return errors.BadRequest("there are no WebSockets here: send the request without Upgrade", status=400)
    if isinstance(error, HTTPException) and (error.code or 500) < 500:
        return errors.BadRequest(
            error.description or "the request cannot be understood", status=error.code or 400
        )
    return error


def _response(answer: Answer) -> Response:
    status, headers, body = answer
    return Response(body, status, list(headers))
