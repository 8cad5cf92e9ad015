"""JSON Schemas of all documents but predictions, derived from the types that the pages encode."""

import inspect
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Any

from msgspec import Struct
from msgspec.json import schema_components

from unpickled.server.errors import RequestError
from unpickled.server.message import media
from unpickled.server.message.jsonschema import COUNT, TEXT, Schema, array, either, members
from unpickled.server.pages.catalog import Models, Unserved
from unpickled.server.pages.page import Page

_TEMPLATE = "#/components/schemas/{name}"


def ref(name: str) -> Schema:
    """A reference to a schema of ``components``."""
    return {"$ref": _TEMPLATE.format(name=name)}


# Written by hand: msgspec cannot describe a union of Structs without tags.
_MODELS = members(
    {
        "models": array(either(ref("Model"), ref("Unserved"))),
        "default_model": either(TEXT, {"type": "null"}),
        "after": either(TEXT, {"type": "null"}),
    }
)
# Members that an error may have beside its sentence and its code.
_DETAILS: dict[str, Schema] = {
    "line": {"type": "integer", "minimum": 1, "description": "the line that is wrong, counted from 1"},
    "row": {**COUNT, "description": "the row that is wrong, counted from 0"},
    "feature": {**TEXT, "description": "the feature that is wrong"},
    "value": {"type": ["number", "string"], "description": "the value outside the training range"},
    "trained": {"type": "array", "description": "the training range, or the first categories of training"},
    "range": {"type": "array", "description": "the range allowed, where the model's settings move it"},
    "position": {**COUNT, "description": "the place in the body at which the JSON is malformed"},
    "allowed": {**array(TEXT), "description": "the values that are accepted"},
    "limit": {**COUNT, "description": "the largest number that is accepted"},
    "rows": {**COUNT, "description": "the number of rows in the request"},
    "request_id": {**TEXT, "description": "the entry of the server's log that holds the details"},
}


def schema(kind: Any) -> Schema:
    """The JSON Schema of a type; Structs in it are references to the schemas of ``components``."""
    if isinstance(kind, type) and issubclass(kind, Struct):
        return ref(kind.__name__)
    return schema_components([kind], ref_template=_TEMPLATE)[0][0]


def components(pages: Sequence[Page]) -> dict[str, Schema]:
    """Name -> schema of each Struct that the pages take or answer, and of the document of an error."""
    kinds = [kind for page in pages for kind in (page.document, page.request) if kind not in (None, Models)]
    structs = schema_components([*kinds, Unserved], ref_template=_TEMPLATE)[1]
    described = {name: _described(struct) for name, struct in structs.items()}
    return {**described, "Models": _MODELS, "Error": _error()}


def failures() -> dict[str, Any]:
    """A response for each status that an error can have."""
    statuses: dict[int, list[type[RequestError]]] = {}
    for kind in _errors():
        statuses.setdefault(kind.status, []).append(kind)
    return {str(status): _failure(status, kinds) for status, kinds in statuses.items()}


def _described(struct: Schema) -> Schema:
    """The schema with its description, the docstring of the Struct, without the indentation."""
    return {**struct, "description": inspect.cleandoc(struct.get("description", ""))}


def _error() -> Schema:
    codes = [kind.code for kind in _errors()]
    properties: dict[str, Schema] = {
        "error": {"type": "string", "minLength": 1},
        "code": {"enum": codes},
        **_DETAILS,
    }
    description = "A sentence that says what is wrong and what to do, and a code for programs."
    return {**members(properties, ["error", "code"]), "description": description}


def _errors() -> Iterator[type[RequestError]]:
    yield from sorted(_below(RequestError), key=lambda kind: (kind.status, kind.code))


def _below(kind: type[RequestError]) -> Iterator[type[RequestError]]:
    for child in kind.__subclasses__():
        yield child
        yield from _below(child)


def _failure(status: int, kinds: list[type[RequestError]]) -> dict[str, Any]:
    lines = [f"- `{kind.code}`: {' '.join((kind.__doc__ or '').split())}" for kind in kinds]
    code: Schema = {"properties": {"code": {"enum": [kind.code for kind in kinds]}}}
    example = {"error": "a sentence that says what to do", "code": kinds[-1].code}
    return {
        "description": "\n".join((HTTPStatus(status).phrase, "", *lines)),
        "content": {media.JSON: {"schema": {"allOf": [ref("Error"), code]}, "example": example}},
    }
