"""JSON Schemas of every document that is no prediction, derived from the types that are encoded."""

import inspect
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Any

from msgspec import Struct
from msgspec.json import schema_components

from unpickled.server.errors import RequestError
from unpickled.server.message.answer import JSON as _JSON
from unpickled.server.message.page import Page
from unpickled.server.pages.catalog import Models, Unserved
from unpickled.server.pages.openapi.schemas import Schema, array, either, members

JSON = _JSON[1]

TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
_TEMPLATE = "#/components/schemas/{name}"


def ref(name: str) -> Schema:
    """One of those that ``named`` has."""
    return {"$ref": _TEMPLATE.format(name=name)}


# msgspec describes no union of Structs that have no tag.
_MODELS = members({"models": array(either(ref("Model"), ref("Unserved")))})
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


def schema(kind: Any) -> Schema:
    """The JSON Schema of a type, which refers to the Structs that ``named`` has."""
    if isinstance(kind, type) and issubclass(kind, Struct):
        return ref(kind.__name__)
    return schema_components([kind], ref_template=_TEMPLATE)[0][0]


def named(pages: Sequence[Page]) -> dict[str, Schema]:
    """Every Struct that the pages take and answer, and the document of an error, each under its name."""
    kinds = [kind for page in pages for kind in (page.document, page.request) if kind not in (None, Models)]
    structs = schema_components([*kinds, Unserved], ref_template=_TEMPLATE)[1]
    described = {name: _described(struct) for name, struct in structs.items()}
    return {**described, "Models": _MODELS, "Error": _error()}


def failures() -> dict[str, Any]:
    """A response for each status that an error can have."""
    statuses: dict[int, list[type[RequestError]]] = {}
    for kind in _errors():
        statuses.setdefault(kind.status, []).append(kind)
    return {str(status): _failure(status, found) for status, found in statuses.items()}


def _described(struct: Schema) -> Schema:
    """The description is the docstring, without its indentation."""
    return {**struct, "description": inspect.cleandoc(struct["description"])}


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
