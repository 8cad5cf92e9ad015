"""Every model, served or refused, and what is known of each."""

from typing import Any

from unpickled.server.lifecycle.deployment import Deployment
from unpickled.server.lifecycle.repository import Repository
from unpickled.server.lifecycle.versions import Served
from unpickled.server.message.answer import Answer, Environ, document
from unpickled.server.message.page import Page

_ROUTES = {
    "POST /predict": "predict with the default model",
    "POST /models/<name>/predict": "predict with a model",
    "POST /models/<name>/versions/<version>/predict": "predict with a version of it",
    "POST /models/<name>/labels/<label>/predict": "predict with the version that a label stands for",
    "GET /models": "every model, served or refused",
    "GET /models/<name>": "one model: features, classes, metrics, parity, providers, labels, traffic",
    "GET /models/<name>/versions/<version>": "the same of a version of it",
    "GET /models/<name>/labels/<label>": "the same of the version that a label stands for",
    "GET /openapi.json": "all of this for programs: every route, each model's features, every error",
    "GET /docs": "the same for people",
    "GET /metrics": "counters and histograms for Prometheus",
    "GET /livez": "the process answers",
    "GET /readyz": "every model is loaded and has answered its golden rows",
}


def pages(repository: Repository) -> list[Page]:
    """GET /models, and of one model, a version of it, what a label stands for."""

    def models(_: Environ) -> Answer:
        return document({"models": _listing(repository)})

    def model(_: Environ, name: str, version: str | None = None, label: str | None = None) -> Answer:
        found = repository.find(name, version, label)
        return document({**_card(found), **_service(repository.deployment(name))})

    rules = ("/models/<name>", "/models/<name>/versions/<version>", "/models/<name>/labels/<label>")
    return [
        Page("GET", "/models", models),
        *(Page("GET", rule, model) for rule in rules),
    ]


def overview(repository: Repository) -> dict[str, Any]:
    """What this server is, for programs."""
    return {
        "service": "unpickled",
        "models": repository.served,
        "default_model": repository.default,
        "routes": _ROUTES,
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
