"""create_app: the Flask application around the models, with every route that is not on the fast path."""

import os
from functools import partial

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound
from werkzeug.routing import BaseConverter

from unpickled.server import config as settings
from unpickled.server import errors
from unpickled.server.config import Config
from unpickled.server.lifecycle.repository import Repository
from unpickled.server.message.answer import Answer, failure
from unpickled.server.message.page import Page
from unpickled.server.observe import tally
from unpickled.server.observe.counters import Block, Memory
from unpickled.server.pages import site
from unpickled.server.serve import routes
from unpickled.server.serve.accesslog import AccessLog
from unpickled.server.serve.fastpath import FastPath
from unpickled.server.serve.reloader import Reloader
from unpickled.server.serve.routes import Routes


def create_app(config: Config | None = None, memory: Memory | None = None) -> Flask:
    """The application, its models loaded; without a config, that of environment and unpickled.toml.

    ``memory`` is what the processes of one server count in; without it this one counts for itself.
    Raises ConfigError; a model that cannot be served does not stop the others.
    """
    config = config or settings.load(environ=os.environ)
    memory = memory or Memory(blocks=1)
    block = memory.claim()
    repository = Repository(config)
    table = Routes(repository, block)
    reloader = Reloader(repository, table, block)
    app = Flask("unpickled.server", static_folder=None)
    # Else Flask answers OPTIONS and //predict itself, in HTML.
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.merge_slashes = False
    app.url_map.converters["default"] = _Name
    app.extensions["unpickled"] = repository
    app.extensions["unpickled-reloader"] = reloader
    _add_predictions(app, repository, table)
    _add_pages(app, site.pages(repository, memory, block))
    _count_others(app, block)
    app.register_error_handler(Exception, _on_error)
    if config.fast_path:
        app.wsgi_app = FastPath(app.wsgi_app, table)  # type: ignore[method-assign, arg-type]
    if config.access_log:
        app.wsgi_app = AccessLog(app.wsgi_app)  # type: ignore[method-assign, arg-type]
    reloader.start()
    return app


class _Name(BaseConverter):
    """What stands for itself in a path; a colon comes before what is to be done."""

    regex = "[^/:]+"


def _add_predictions(app: Flask, repository: Repository, table: Routes) -> None:
    def predict(rule: str, **names: str) -> Response:
        target = table.targets.get(request.environ["PATH_INFO"])
        if target is None:
            # It says why not; or the path is spelled in another way.
            found = repository.find(names.get("name"), names.get("version"), names.get("label"))
            path = routes.path(rule, **(names | {"name": found.name, "version": str(found.version)}))
            target = table.targets.get(path)
        if target is None:
            raise errors.NotReady("what is served changes just now: ask again")
        g.counted = True
        return _response(target(request.environ))

    for rule in table.rules:
        app.add_url_rule(rule, f"POST {rule}", partial(predict, rule), methods=["POST"])


def _add_pages(app: Flask, pages: list[Page]) -> None:
    """A rule that is there already stays: settings may name any path."""
    for page in pages:
        name = f"{page.method} {page.rule}"
        if name not in app.view_functions:
            app.add_url_rule(page.rule, name, partial(_answer, page), methods=[page.method])


def _answer(page: Page, **names: str) -> Response:
    return _response(page.handle(request.environ, **names))


def _count_others(app: Flask, block: Block) -> None:
    @app.after_request
    def count(response: Response) -> Response:
        if not g.get("counted"):
            route = request.url_rule.rule if request.url_rule else ""
            tally.count_other(block, route, response.status_code)
        return response


def _on_error(error: Exception) -> Response:
    return _response(failure(_translated(error)))


def _translated(error: Exception) -> Exception:
    """Flask's own errors as ours."""
    if isinstance(error, NotFound):
        return errors.UnknownPath(f"there is nothing under {request.path[:200]!r}: GET / lists what there is")
    if isinstance(error, MethodNotAllowed):
        allowed = sorted(error.valid_methods or ())
        return errors.MethodNotAllowed(
            f"{request.path[:200]} does not take {request.method[:20]}: it takes {', '.join(allowed)}",
            headers={"Allow": ", ".join(allowed)},
            allowed=allowed,
        )
    if isinstance(error, HTTPException) and (error.code or 500) < 500:
        return errors.BadRequest(
            error.description or "the request cannot be understood", status=error.code or 400
        )
    return error


def _response(answer: Answer) -> Response:
    status, headers, body = answer
    return Response(body, status, list(headers))
