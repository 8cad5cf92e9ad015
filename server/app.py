"""create_app: the Flask application around the models, and every route that is not on the fast path."""

import os
from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from server import config as settings
from server import errors
from server.answer import Answer, document, failure
from server.config import Config
from server.fastpath import Endpoint, FastPath
from server.repository import Repository, Served


def create_app(config: Config | None = None) -> Flask:
    """The application, its models loaded; without a config, that of environment and unpickled.toml.

    Raises ConfigError; a model that cannot be served does not stop the others.
    """
    config = config or settings.load(environ=os.environ)
    repository = Repository(config)
    app = Flask("server", static_folder=None)
    # Else Flask answers OPTIONS and //predict itself, in HTML.
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.merge_slashes = False
    app.extensions["unpickled"] = repository
    endpoints = _endpoints(repository)
    _add_predictions(app, repository, endpoints)
    _add_pages(app, repository)
    app.register_error_handler(Exception, _on_error)
    if config.fast_path:
        app.wsgi_app = FastPath(app.wsgi_app, endpoints)  # type: ignore[method-assign, arg-type]
    return app


def _endpoints(repository: Repository) -> dict[str, Endpoint]:
    """Exact path -> endpoint, for every path of a model that is served."""
    config = repository.config
    endpoints = {}
    for served in repository.served.values():
        endpoint = Endpoint(served, config.max_rows, config.max_body_bytes)
        endpoints[f"/models/{served.name}/predict"] = endpoint
        endpoints[f"/models/{served.name}/versions/{served.version}/predict"] = endpoint
        if served.name == repository.default:
            endpoints["/predict"] = endpoint
    return endpoints


def _add_predictions(app: Flask, repository: Repository, endpoints: dict[str, Endpoint]) -> None:
    @app.post("/predict")
    @app.post("/models/<name>/predict")
    @app.post("/models/<name>/versions/<version>/predict")
    def predict(name: str | None = None, version: str | None = None) -> Response:
        endpoint = endpoints.get(request.environ["PATH_INFO"])
        if endpoint is None:
            served = repository.find(name, version)
            endpoint = endpoints[f"/models/{served.name}/predict"]
        return _response(endpoint(request.environ))


def _add_pages(app: Flask, repository: Repository) -> None:
    @app.get("/")
    def index() -> Response:
        return _response(document(_overview(repository)))

    @app.get("/models")
    def models() -> Response:
        return _response(document({"models": _listing(repository)}))

    @app.get("/models/<name>")
    @app.get("/models/<name>/versions/<version>")
    def model(name: str, version: str | None = None) -> Response:
        return _response(document(_card(repository.find(name, version))))

    @app.get("/livez")
    def livez() -> Response:
        return _response(document({"live": True}))

    @app.get("/readyz")
    def readyz() -> Response:
        reasons = {refused.name: refused.reason for refused in repository.refused.values()}
        status = {"ready": repository.ready, "served": sorted(repository.served), "refused": reasons}
        return _response(document(status, 200 if repository.ready else 503))


def _overview(repository: Repository) -> dict[str, Any]:
    return {
        "service": "unpickled",
        "models": sorted(repository.served),
        "default_model": repository.default,
        "routes": {
            "POST /predict": "predict with the default model",
            "POST /models/<name>/predict": "predict with a model",
            "POST /models/<name>/versions/<version>/predict": "predict with a version of it",
            "GET /models": "every model, served or refused",
            "GET /models/<name>": "one model: features, classes, metrics, parity, providers",
            "GET /models/<name>/versions/<version>": "the same of a version of it",
            "GET /livez": "the process answers",
            "GET /readyz": "every model is loaded and has answered its golden rows",
        },
    }


def _listing(repository: Repository) -> list[dict[str, Any]]:
    served = [_card(found) for found in repository.served.values()]
    refused = [
        {"name": found.name, "version": found.version, "ready": False, "reason": found.reason}
        for found in repository.refused.values()
    ]
    return sorted([*served, *refused], key=lambda card: str(card["name"]))


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
