"""create_app: the Flask application around the models, and every route that is not on the fast path."""

import os
from typing import Any

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from server import config as settings
from server import errors, routes
from server.accesslog import AccessLog
from server.answer import Answer, document, failure
from server.config import Config
from server.endpoint import in_flight
from server.fastpath import FastPath
from server.lifecycle.deployment import Deployment
from server.lifecycle.repository import Repository
from server.lifecycle.versions import Served
from server.metrics import tally
from server.metrics.counters import Block, Memory
from server.metrics.exposition import exposition
from server.reloader import Reloader
from server.routes import Routes


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
    app = Flask("server", static_folder=None)
    # Else Flask answers OPTIONS and //predict itself, in HTML.
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.merge_slashes = False
    app.extensions["unpickled"] = repository
    app.extensions["unpickled-reloader"] = reloader
    _add_predictions(app, repository, table)
    _add_pages(app, repository)
    _add_metrics(app, repository, memory, block)
    app.register_error_handler(Exception, _on_error)
    if config.fast_path:
        app.wsgi_app = FastPath(app.wsgi_app, table)  # type: ignore[method-assign, arg-type]
    if config.access_log:
        app.wsgi_app = AccessLog(app.wsgi_app)  # type: ignore[method-assign, arg-type]
    reloader.start()
    return app


def _add_predictions(app: Flask, repository: Repository, table: Routes) -> None:
    @app.post(routes.PLAIN)
    @app.post(routes.MODEL)
    @app.post(routes.VERSION)
    @app.post(routes.LABEL)
    def predict(name: str | None = None, version: str | None = None, label: str | None = None) -> Response:
        target = table.targets.get(request.environ["PATH_INFO"])
        if target is None:
            # It says why not; or the path is spelled in another way.
            found = repository.find(name, version, label)
            path = routes.PLAIN if name is None else routes.path(found.name, version, label)
            target = table.targets.get(path)
        if target is None:
            raise errors.NotReady("what is served changes just now: ask again")
        g.counted = True
        return _response(target(request.environ))


def _add_metrics(app: Flask, repository: Repository, memory: Memory, block: Block) -> None:
    @app.get("/metrics")
    def metrics() -> Response:
        tally.set_in_flight(block, in_flight())
        kind, text = exposition(memory, repository, request.headers.get("Accept"))
        return Response(text, content_type=kind)

    @app.after_request
    def count(response: Response) -> Response:
        if not g.get("counted"):
            route = request.url_rule.rule if request.url_rule else ""
            tally.count_other(block, route, response.status_code)
        return response


def _add_pages(app: Flask, repository: Repository) -> None:
    @app.get("/")
    def index() -> Response:
        return _response(document(_overview(repository)))

    @app.get("/models")
    def models() -> Response:
        return _response(document({"models": _listing(repository)}))

    @app.get("/models/<name>")
    @app.get("/models/<name>/versions/<version>")
    @app.get("/models/<name>/labels/<label>")
    def model(name: str, version: str | None = None, label: str | None = None) -> Response:
        found = repository.find(name, version, label)
        return _response(document({**_card(found), **_service(repository.deployment(name))}))

    @app.get("/livez")
    def livez() -> Response:
        return _response(document({"live": True}))

    @app.get("/readyz")
    def readyz() -> Response:
        return _response(document(_readiness(repository), 200 if repository.ready else 503))


def _overview(repository: Repository) -> dict[str, Any]:
    return {
        "service": "unpickled",
        "models": [name for name, found in repository.deployments.items() if found.versions],
        "default_model": repository.default,
        "routes": {
            "POST /predict": "predict with the default model",
            "POST /models/<name>/predict": "predict with a model",
            "POST /models/<name>/versions/<version>/predict": "predict with a version of it",
            "POST /models/<name>/labels/<label>/predict": "predict with the version that a label stands for",
            "GET /models": "every model, served or refused",
            "GET /models/<name>": "one model: features, classes, metrics, parity, providers, labels, traffic",
            "GET /models/<name>/versions/<version>": "the same of a version of it",
            "GET /models/<name>/labels/<label>": "the same of the version that a label stands for",
            "GET /metrics": "counters and histograms for Prometheus",
            "GET /livez": "the process answers",
            "GET /readyz": "every model is loaded and has answered its golden rows",
        },
    }


def _readiness(repository: Repository) -> dict[str, Any]:
    found = repository.deployments.values()
    refused = {deployment.name: deployment.reason for deployment in found if not deployment.versions}
    mistakes = {deployment.name: deployment.mistake for deployment in found if deployment.mistake}
    return {
        "ready": repository.ready,
        "served": [deployment.name for deployment in found if deployment.versions],
        "refused": refused,
        "mistakes": mistakes,
    }


def _listing(repository: Repository) -> list[dict[str, Any]]:
    return [
        {**_card(found.main), **_service(found)} if found.versions else _unserved(found)
        for found in repository.deployments.values()
    ]


def _unserved(found: Deployment) -> dict[str, Any]:
    version = max(found.refused, default=None)
    return {"name": found.name, "version": version, "ready": False, "reason": found.reason}


def _card(served: Served) -> dict[str, Any]:
    return {
        "name": served.name,
        "version": served.version,
        "ready": True,
        "sha256": served.sha256,
        "size_bytes": served.size,
        "load_seconds": served.load_seconds,
        "providers": served.model.placement,
        "manifest": served.model.manifest,
    }


def _service(found: Deployment) -> dict[str, Any]:
    """What a model serves beside the version that a card is of."""
    return {
        "versions": list(found.versions),
        "labels": found.labels,
        "traffic": {str(number): share for number, share in found.traffic.items()},
        "shadow": None if found.shadow is None else {"version": found.shadow[0], "share": found.shadow[1]},
        "refused": {str(number): reason for number, reason in found.refused.items()},
        "mistake": found.mistake,
    }


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
