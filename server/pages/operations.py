"""What can be read, as OpenAPI describes it: of the server, and of each model."""

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from msgspec.json import schema_components

from server.artifact import Manifest
from server.config import Config
from server.errors import RequestError
from server.lifecycle.deployment import Deployment
from server.model import Placement
from server.pages.schemas import Schema, array, either, members

Operation = dict[str, Any]

JSON = "application/json"
# No model can have this name.
SERVER = "(server)"

_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_NUMBER: Schema = {"type": "number"}
_TRUTH: Schema = {"type": "boolean"}
_REASONS: Schema = {"type": "object", "additionalProperties": {"type": "string", "minLength": 1}}
_OR_NOT: Schema = {"type": "null"}

# What an error may tell beside its sentence and its code.
_DETAILS: dict[str, Schema] = {
    "line": {**_COUNT, "description": "the line it is about, counted from 1"},
    "row": {**_COUNT, "description": "the row it is about, counted from 0"},
    "feature": {**_TEXT, "description": "the feature it is about"},
    "position": {**_COUNT, "description": "where in the body the JSON goes wrong"},
    "allowed": {**array(_TEXT), "description": "what is taken instead"},
    "limit": {**_COUNT, "description": "how many would be few enough"},
    "rows": {**_COUNT, "description": "how many rows the request has"},
    "request_id": {**_TEXT, "description": "where to find the rest in the server's log"},
}


def operation(
    tag: str, summary: str, content: Mapping[str, Any], *statuses: int, told: str = ""
) -> Operation:
    """One that answers 200 with this content, or one of the errors."""
    found = {"200": {"description": "what was asked for", "content": dict(content)}}
    failed = {str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(statuses)}
    described = {"description": told} if told else {}
    return {"tags": [tag], "summary": summary, **described, "responses": found | failed}


def get(tag: str, summary: str, schema: Schema, *statuses: int, told: str = "") -> Operation:
    """One that reads a JSON document."""
    return {"get": operation(tag, summary, {JSON: {"schema": schema}}, *statuses, told=told)}


def of_server(config: Config) -> Iterator[tuple[str, Operation]]:
    """Path and operations of what is about all models."""
    yield "/models", get(SERVER, "Every model, served or refused", _ref("Models"), 500)
    yield "/livez", get(SERVER, "Whether the process answers", members({"live": {"const": True}}), 500)
    ready = get(SERVER, "Whether every model is served", _ref("Readiness"), 500)
    ready["get"]["responses"]["503"] = {
        "description": "one is not: `refused` says why",
        "content": {JSON: {"schema": _ref("Readiness")}},
    }
    yield "/readyz", ready
    if config.health_route and config.health_route != "/livez":
        yield config.health_route, ready
    yield "/metrics", {"get": operation(SERVER, "Counters and histograms for Prometheus", _METRICS, 500)}
    yield "/openapi.json", get(SERVER, "This document", {"type": "object"}, 500)
    yield from _oip_of_server()
    yield "/docs", {"get": operation(SERVER, "This document for people", {"text/html": {}}, 500)}


def of_model(deployment: Deployment) -> Iterator[tuple[str, Operation]]:
    """Path and operations of what is about one."""
    root = f"/models/{deployment.name}"
    versions = [f"{root}/versions/{number}" for number in deployment.versions]
    labels = [f"{root}/labels/{label}" for label in deployment.labels]
    for path in (root, *versions, *labels):
        summary = "The model's card" if path == root else "The card of this version"
        yield path, get(deployment.name, summary, _ref("Model"), 404, 500, 503)
    yield from _oip_of_model(deployment)


def _oip_of_server() -> Iterator[tuple[str, Operation]]:
    """https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md"""
    about = members({"name": _TEXT, "version": _TEXT, "extensions": array(_TEXT)})
    live = members({"live": {"const": True}})
    ready = members({"live": {"const": True}, "ready": {"const": True}})
    for path in ("/v2", "/v2/"):
        yield path, get(SERVER, "This server (Open Inference Protocol)", about, 500)
    yield "/v2/health/live", get(SERVER, "Whether the process answers", live, 500)
    yield "/v2/health/ready", get(SERVER, "Whether every model is served", ready, 500, 503)
    yield "/v2/models", get(SERVER, "The models that are served", members({"models": array(_TEXT)}), 500)
    yield "/v2/models/stats", get(SERVER, "What all models have answered", _ref("Statistics"), 500)
    yield "/v2/repository/index", {"post": _index()}


def _index() -> Operation:
    entry = members(
        {"name": _TEXT, "version": _TEXT, "state": {"enum": ["READY", "UNAVAILABLE"]}, "reason": _TEXT},
        ["name", "state", "reason"],
    )
    asked = members({"ready": {**_TRUTH, "description": "leave out what is not served"}}, [])
    found = operation(
        SERVER, "Every version, served or refused", {JSON: {"schema": array(entry)}}, 400, 408, 413, 415, 500
    )
    return {**found, "requestBody": {"content": {JSON: {"schema": asked}}}}


def _oip_of_model(deployment: Deployment) -> Iterator[tuple[str, Operation]]:
    tag, root = deployment.name, f"/v2/models/{deployment.name}"
    versions = [*deployment.versions, *deployment.labels]
    ready = members({"name": _TEXT, "ready": {"const": True}})
    for path in (root, *(f"{root}/versions/{version}" for version in versions)):
        yield path, get(tag, "Metadata (Open Inference Protocol)", _ref("Metadata"), 404, 500, 503)
        yield f"{path}/ready", get(tag, "Whether it is served", ready, 404, 500, 503)
        yield f"{path}/config", get(tag, "As Triton configures it", _ref("ModelConfig"), 404, 500, 503)
        yield f"{path}/stats", get(tag, "What it has answered", _ref("Statistics"), 404, 500, 503)


_METRICS: dict[str, Any] = {
    "text/plain": {"schema": _TEXT},
    "application/openmetrics-text": {"schema": _TEXT},
}


def shared() -> dict[str, Schema]:
    """The schemas that belong to no model, under their names."""
    structs = schema_components([Manifest, Placement], ref_template="#/components/schemas/{name}")[1]
    model = members(
        {
            "name": _TEXT,
            "version": _COUNT,
            "ready": {"const": True},
            "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
            "size_bytes": _COUNT,
            "load_seconds": _NUMBER,
            "providers": _ref("Placement"),
            "manifest": _ref("Manifest"),
            "versions": array(_COUNT, 1),
            "labels": {"type": "object", "additionalProperties": _COUNT},
            "traffic": {"type": "object", "additionalProperties": {"type": "number", "minimum": 0}},
            "shadow": either(members({"version": _COUNT, "share": _NUMBER}), _OR_NOT),
            "refused": _REASONS,
            "mistake": either(_TEXT, _OR_NOT),
        }
    )
    unserved = members(
        {
            "name": _TEXT,
            "version": either(_COUNT, _OR_NOT),
            "ready": {"const": False},
            "reason": _TEXT,
        }
    )
    ready = members({"ready": _TRUTH, "served": array(_TEXT), "refused": _REASONS, "mistakes": _REASONS})
    listing = members({"models": array(either(_ref("Model"), _ref("Unserved")))})
    error = members(
        {"error": {"type": "string", "minLength": 1}, "code": {"enum": _codes()}, **_DETAILS},
        ["error", "code"],
    )
    return (
        structs
        | _oip_schemas()
        | {
            "Model": model,
            "Unserved": unserved,
            "Models": listing,
            "Readiness": ready,
            "Error": {
                **error,
                "description": "what is wrong and what to do, and the word for it to switch on",
            },
        }
    )


def _oip_schemas() -> dict[str, Schema]:
    tensor = members(
        {"name": _TEXT, "datatype": _TEXT, "shape": array({"type": "integer", "minimum": -1}, 1)}
    )
    metadata = members(
        {
            "name": _TEXT,
            "versions": array(_TEXT, 1),
            "platform": _TEXT,
            "inputs": array(tensor, 1),
            "outputs": array(tensor, 1),
        }
    )
    configured = members({"name": _TEXT, "data_type": _TEXT, "dims": array(_COUNT, 1)})
    config = members(
        {
            "name": _TEXT,
            "platform": _TEXT,
            "backend": _TEXT,
            "max_batch_size": _COUNT,
            "input": array(configured, 1),
            "output": array(configured, 1),
        }
    )
    duration = members({"count": _COUNT, "ns": _COUNT})
    statistics = members(
        {
            "name": _TEXT,
            "version": _TEXT,
            "last_inference": {**_COUNT, "description": "milliseconds since 1970; 0 for never"},
            "inference_count": {**_COUNT, "description": "rows"},
            "execution_count": {**_COUNT, "description": "requests"},
            "inference_stats": {"type": "object", "additionalProperties": duration},
        }
    )
    return {
        "Metadata": metadata,
        "ModelConfig": config,
        "Statistics": members({"model_stats": array(statistics)}),
    }


def failures() -> dict[str, Any]:
    """A response for each status that an error can have."""
    statuses: dict[int, list[type[RequestError]]] = {}
    for kind in kinds():
        statuses.setdefault(kind.status, []).append(kind)
    return {str(status): _failure(status, statuses[status]) for status in sorted(statuses)}


def kinds() -> Iterator[type[RequestError]]:
    """Every error that a client may be told."""
    yield from sorted(RequestError.__subclasses__(), key=lambda kind: (kind.status, kind.code))


def _failure(status: int, found: list[type[RequestError]]) -> dict[str, Any]:
    lines = [f"- `{kind.code}`: {(kind.__doc__ or '').strip()}" for kind in found]
    code: Schema = {"properties": {"code": {"enum": [kind.code for kind in found]}}}
    example = {"error": "a sentence that says what to do", "code": found[-1].code}
    return {
        "description": "\n".join((HTTPStatus(status).phrase, "", *lines)),
        "content": {JSON: {"schema": {"allOf": [_ref("Error"), code]}, "example": example}},
    }


def _codes() -> list[str]:
    return [kind.code for kind in kinds()]


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}
