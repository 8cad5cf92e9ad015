"""What can be read, as OpenAPI describes it: of the server, and of each model."""

from collections.abc import Iterator, Mapping
from typing import Any

from unpickled.server.config import Config
from unpickled.server.lifecycle.deployment import Deployment
from unpickled.server.pages.openapi.documents import JSON, TEXT, TRUTH, ref
from unpickled.server.pages.openapi.schemas import Schema, array, members

Operation = dict[str, Any]

# No model can have this name.
SERVER = "(server)"

_NAMES = members({"models": array(TEXT)})
_LIVE = members({"live": {"const": True}})
# Of one version: it is served, or gone, or refused.
_FAILURES = (404, 500, 503)


def operation(
    tag: str, summary: str, content: Mapping[str, Any], *statuses: int, told: str = ""
) -> Operation:
    """One that answers 200 with this content, or one of the errors."""
    found = {"200": {"description": "the answer", "content": dict(content)}}
    failed = {str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(statuses)}
    described = {"description": told} if told else {}
    return {"tags": [tag], "summary": summary, **described, "responses": found | failed}


def of_server(config: Config) -> Iterator[tuple[str, Operation]]:
    """Path and operations of what is about all models."""
    html: Schema = {"text/html": {"schema": TEXT}}
    overview = {JSON: {"schema": ref("Overview")}, **html}
    text = ("text/plain", "application/openmetrics-text")
    yield "/", {"get": operation(SERVER, "What there is; a page for browsers", overview, 500)}
    yield "/models", _read(SERVER, "Every model, served or refused", ref("Models"), 500)
    yield "/livez", _read(SERVER, "Whether the process answers", _LIVE, 500)
    yield "/readyz", _ready("Whether every model is served", ref("Readiness"))
    if config.health_route and config.health_route != "/livez":
        yield config.health_route, _ready("The same as /readyz", ref("Readiness"))
    yield (
        "/metrics",
        {"get": operation(SERVER, "For Prometheus", {kind: {"schema": TEXT} for kind in text}, 500)},
    )
    yield "/openapi.json", _read(SERVER, "This document", {"type": "object"}, 500)
    yield "/docs", {"get": operation(SERVER, "This document for people", html, 500)}
    yield from _oip_of_server()
    yield "/v1/models", _read(SERVER, "What is served (KServe V1)", _NAMES, 500)
    yield "/ping", _ready("Whether every model is served (SageMaker)", members({"ready": TRUTH}))


def of_model(deployment: Deployment) -> Iterator[tuple[str, Operation]]:
    """Path and operations of what is about one."""
    tag, name = deployment.name, f"models/{deployment.name}"
    versions = [f"/versions/{number}" for number in deployment.versions]
    labels = [f"/labels/{label}" for label in deployment.labels]
    for below in ("", *versions, *labels):
        yield f"/{name}{below}", _read(tag, "The model's card", ref("Model"), *_FAILURES)
        status = _read(tag, "Status (TensorFlow Serving, KServe V1)", ref("Status"), *_FAILURES)
        metadata = _read(tag, "Metadata (TensorFlow Serving)", ref("Signature"), *_FAILURES)
        yield f"/v1/{name}{below}", status
        yield f"/v1/{name}{below}/metadata", metadata
    # Versions and labels stand in one place there.
    for below in ("", *versions, *(f"/versions/{label}" for label in deployment.labels)):
        yield from _oip_of_version(tag, f"/v2/{name}{below}")


def _oip_of_server() -> Iterator[tuple[str, Operation]]:
    """https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md"""
    about = members({"name": TEXT, "version": TEXT, "extensions": array(TEXT)})
    ready = members({"live": {"const": True}, "ready": {"const": True}})
    for path in ("/v2", "/v2/"):
        yield path, _read(SERVER, "This server (Open Inference Protocol)", about, 500)
    yield "/v2/health/live", _read(SERVER, "Whether the process answers", _LIVE, 500)
    yield "/v2/health/ready", _read(SERVER, "Whether every model is served", ready, 500, 503)
    yield "/v2/models", _read(SERVER, "What is served (Open Inference Protocol)", _NAMES, 500)
    yield "/v2/models/stats", _read(SERVER, "What all models have answered", ref("Statistics"), 500)
    yield "/v2/repository/index", {"post": _index()}


def _index() -> Operation:
    entry = members(
        {"name": TEXT, "version": TEXT, "state": {"enum": ["READY", "UNAVAILABLE"]}, "reason": TEXT},
        ["name", "state", "reason"],
    )
    asked = members({"ready": {**TRUTH, "description": "leave out what is not served"}}, [])
    content = {JSON: {"schema": array(entry)}}
    found = operation(SERVER, "Every version, served or refused", content, 400, 408, 413, 415, 500)
    return {**found, "requestBody": {"content": {JSON: {"schema": asked}}}}


def _oip_of_version(tag: str, path: str) -> Iterator[tuple[str, Operation]]:
    ready = members({"name": TEXT, "ready": {"const": True}})
    documents = {
        "": ("Metadata (Open Inference Protocol)", ref("Metadata")),
        "/ready": ("Whether it is served", ready),
        "/config": ("As Triton would be configured", ref("ModelConfig")),
        "/stats": ("What it has answered", ref("Statistics")),
    }
    for below, (summary, schema) in documents.items():
        yield f"{path}{below}", _read(tag, summary, schema, *_FAILURES)


def _read(tag: str, summary: str, schema: Schema, *statuses: int) -> Operation:
    return {"get": operation(tag, summary, {JSON: {"schema": schema}}, *statuses)}


def _ready(summary: str, schema: Schema) -> Operation:
    """The same document with 200 and with 503."""
    found = _read(SERVER, summary, schema, 500)
    found["get"]["responses"]["503"] = {"description": "not every one", "content": {JSON: {"schema": schema}}}
    return found
