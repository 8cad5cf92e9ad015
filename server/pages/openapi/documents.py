"""JSON Schemas of every document that is no answer of a model: cards, states, statistics, errors."""

import inspect
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from msgspec.json import schema_components

from unpickled.server.artifact.manifest import Manifest
from unpickled.server.errors import RequestError
from unpickled.server.message.answer import JSON as _JSON
from unpickled.server.model.session import Placement
from unpickled.server.pages.openapi.schemas import Schema, array, either, members

JSON = _JSON[1]

TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
TRUTH: Schema = {"type": "boolean"}
_NUMBER: Schema = {"type": "number"}
_NOTHING: Schema = {"type": "null"}
_REASONS: Schema = {"type": "object", "additionalProperties": {"type": "string", "minLength": 1}}


def ref(name: str) -> Schema:
    """One of those that ``named`` has."""
    return {"$ref": f"#/components/schemas/{name}"}


# What an error may tell beside its sentence and its code.
_DETAILS: dict[str, Schema] = {
    "line": {"type": "integer", "minimum": 1, "description": "the line it is about, counted from 1"},
    "row": {**COUNT, "description": "the row it is about, counted from 0"},
    "feature": {**TEXT, "description": "the feature it is about"},
    "position": {**COUNT, "description": "where in the body the JSON goes wrong"},
    "allowed": {**array(TEXT), "description": "what is taken instead"},
    "limit": {**COUNT, "description": "how many would be few enough"},
    "rows": {**COUNT, "description": "how many rows the request has"},
    "request_id": {**TEXT, "description": "where to find the rest in the server's log"},
}
_CARD = members(
    {
        "name": TEXT,
        "version": COUNT,
        "ready": {"const": True},
        "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
        "size_bytes": COUNT,
        "load_seconds": _NUMBER,
        "providers": ref("Placement"),
        "manifest": ref("Manifest"),
        "versions": array(COUNT, 1),
        "labels": {"type": "object", "additionalProperties": COUNT},
        "traffic": {"type": "object", "additionalProperties": {"type": "number", "minimum": 0}},
        "shadow": either(members({"version": COUNT, "share": _NUMBER}), _NOTHING),
        "refused": _REASONS,
        "mistake": either(TEXT, _NOTHING),
    }
)
_UNSERVED = members(
    {"name": TEXT, "version": either(COUNT, _NOTHING), "ready": {"const": False}, "reason": TEXT}
)
_OVERVIEW = members(
    {
        "service": TEXT,
        "models": array(TEXT),
        "default_model": either(TEXT, _NOTHING),
        "routes": {"type": "object", "additionalProperties": TEXT},
    }
)
# server/protocols/oip/
_TENSOR = members({"name": TEXT, "datatype": TEXT, "shape": array({"type": "integer", "minimum": -1}, 1)})
_METADATA = members(
    {
        "name": TEXT,
        "versions": array(TEXT, 1),
        "platform": TEXT,
        "inputs": array(_TENSOR, 1),
        "outputs": array(_TENSOR, 1),
    }
)
_CONFIGURED = members({"name": TEXT, "data_type": TEXT, "dims": array(COUNT, 1)})
_CONFIG = members(
    {
        "name": TEXT,
        "platform": TEXT,
        "backend": TEXT,
        "max_batch_size": COUNT,
        "input": array(_CONFIGURED, 1),
        "output": array(_CONFIGURED, 1),
    }
)
_STATISTICS = members(
    {
        "name": TEXT,
        "version": TEXT,
        "last_inference": {**COUNT, "description": "milliseconds since 1970; 0 for never"},
        "inference_count": {**COUNT, "description": "rows"},
        "execution_count": {**COUNT, "description": "requests"},
        "inference_stats": {
            "type": "object",
            "additionalProperties": members({"count": COUNT, "ns": COUNT}),
        },
    }
)
# server/protocols/tfserving.py
_VERSION = members(
    {
        "version": TEXT,
        "state": {"enum": ["AVAILABLE", "END"]},
        "status": members({"error_code": TEXT, "error_message": TEXT}),
    }
)
_SIGNATURE = members(
    {
        "model_spec": members({"name": TEXT, "signature_name": TEXT, "version": TEXT}),
        "metadata": members({"signature_def": {"type": "object"}}),
    }
)


def named() -> dict[str, Schema]:
    """Each under its name."""
    return {
        **_structs(),
        "Overview": _OVERVIEW,
        "Model": _CARD,
        "Unserved": _UNSERVED,
        "Models": members({"models": array(either(ref("Model"), ref("Unserved")))}),
        "Readiness": members(
            {"ready": TRUTH, "served": array(TEXT), "refused": _REASONS, "mistakes": _REASONS}
        ),
        "Metadata": _METADATA,
        "ModelConfig": _CONFIG,
        "Statistics": members({"model_stats": array(_STATISTICS)}),
        "Status": members(
            {"name": TEXT, "ready": {"const": True}, "model_version_status": array(_VERSION, 1)}
        ),
        "Signature": _SIGNATURE,
        "Error": _error(),
    }


def failures() -> dict[str, Any]:
    """A response for each status that an error can have."""
    statuses: dict[int, list[type[RequestError]]] = {}
    for kind in _errors():
        statuses.setdefault(kind.status, []).append(kind)
    return {str(status): _failure(status, found) for status, found in statuses.items()}


def _structs() -> dict[str, Schema]:
    found = schema_components([Manifest, Placement], ref_template="#/components/schemas/{name}")[1]
    return {
        name: {**schema, "description": inspect.cleandoc(schema.get("description", ""))}
        for name, schema in found.items()
    }


def _error() -> Schema:
    codes = [kind.code for kind in _errors()]
    told: dict[str, Schema] = {
        "error": {"type": "string", "minLength": 1},
        "code": {"enum": codes},
        **_DETAILS,
    }
    described = "what is wrong and what to do, and the word for it to switch on"
    return {**members(told, ["error", "code"]), "description": described}


def _errors() -> Iterator[type[RequestError]]:
    yield from sorted(RequestError.__subclasses__(), key=lambda kind: (kind.status, kind.code))


def _failure(status: int, kinds: list[type[RequestError]]) -> dict[str, Any]:
    lines = [f"- `{kind.code}`: {(kind.__doc__ or '').strip()}" for kind in kinds]
    code: Schema = {"properties": {"code": {"enum": [kind.code for kind in kinds]}}}
    example = {"error": "a sentence that says what to do", "code": kinds[-1].code}
    return {
        "description": "\n".join((HTTPStatus(status).phrase, "", *lines)),
        "content": {JSON: {"schema": {"allOf": [ref("Error"), code]}, "example": example}},
    }
