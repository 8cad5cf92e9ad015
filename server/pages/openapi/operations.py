"""OpenAPI operations of the pages: those of the server, and those of each model."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from unpickled.server.lifecycle.deployment import Deployment
from unpickled.server.message import media
from unpickled.server.message.jsonschema import TEXT
from unpickled.server.pages.openapi import documents
from unpickled.server.pages.page import Page, Parameter
from unpickled.server.serve import patterns

Operation = dict[str, Any]

# No model can have this name.
SERVER = "(server)"

# A model, a version or a label is unknown, or gone, or refused.
_UNSERVED = (404, 503)
# The values of the parameters of queries, by their kind.
_KINDS: dict[str, dict[str, Any]] = {
    "version": {"type": "integer", "minimum": 0, "maximum": 999_999_999},
    "count": {"type": "integer", "minimum": 1, "maximum": 999_999_999},
    "text": {"type": "string"},
}


def operation(
    tag: str, summary: str, content: Mapping[str, Any], *statuses: int, description: str = ""
) -> Operation:
    """An operation that answers 200 with this content, or an error with one of ``statuses``."""
    answer = {"200": {"description": "the answer", "content": dict(content)}}
    failures = {str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(statuses)}
    details = {"description": description} if description else {}
    return {"tags": [tag], "summary": summary, **details, "responses": answer | failures}


def of_server(pages: Sequence[Page]) -> Iterator[tuple[str, Operation]]:
    """Path and operation of each page that is not about one model."""
    for page in _described(pages):
        if "<name>" not in page.rule:
            yield page.rule, _operation(SERVER, page)


def of_model(pages: Sequence[Page], deployment: Deployment) -> Iterator[tuple[str, Operation]]:
    """Path and operation of each page of a model, its versions and its labels that takes no row."""
    rules = {page.rule for page in pages}
    for page in _described(pages):
        if "<name>" in page.rule and not page.takes_row:
            for path in _paths(page.rule, deployment, rules):
                yield path, _operation(deployment.name, page)


def of_row(tag: str, page: Page, content: Mapping[str, Any], noun: str, names: Sequence[str]) -> Operation:
    """The operation of a page that takes one row; its query may name one of the outputs of this noun."""
    [(method, described)] = _operation(tag, page).items()
    parameter = {
        "name": noun,
        "in": "query",
        "description": f"the {noun} to explain, by default the one predicted, or the first",
        "schema": {"enum": list(names)},
    }
    return {
        method: {
            **described,
            "parameters": [parameter],
            "requestBody": {"required": True, "content": dict(content)},
        }
    }


def _described(pages: Sequence[Page]) -> list[Page]:
    """Pages that have an answer to describe; of two pages with the same rule, the first, as it is served."""
    first: dict[tuple[str, str], Page] = {}
    for page in pages:
        first.setdefault((page.method, page.rule), page)
    return [page for page in first.values() if page.document is not None or page.text]


def _paths(rule: str, deployment: Deployment, rules: set[str]) -> list[str]:
    """The paths of a rule for a model. Labels without a rule of their own stand in the place of a version."""
    versions = [str(number) for number in deployment.versions]
    if rule.replace("/versions/<version>", "/labels/<label>") not in rules:
        versions += deployment.labels
    paths = [patterns.filled(rule, name=deployment.name)]
    for word, values in {"version": versions, "label": deployment.labels}.items():
        if f"<{word}>" in rule:
            paths = [patterns.filled(path, **{word: value}) for path in paths for value in values]
    return paths


def _operation(tag: str, page: Page) -> Operation:
    content = {kind: {"schema": TEXT} for kind in page.text}
    if page.document is not None:
        content = {media.JSON: {"schema": documents.schema(page.document)}, **content}
    errors = {500, *page.errors, *(_UNSERVED if "<name>" in page.rule else ())}
    described = operation(tag, page.summary, content, *errors)
    for status in set(page.statuses) - {200}:
        described["responses"][str(status)] = {"description": "the same document", "content": content}
    if page.request is not None:
        content = {media.JSON: {"schema": documents.schema(page.request)}}
        described["requestBody"] = {"content": content | {kind: {"schema": TEXT} for kind in page.kinds}}
    if page.query:
        described["parameters"] = [_parameter(parameter) for parameter in page.query]
    return {page.method.lower(): described}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    words = {"type": "string", "enum": list(parameter.choices), "default": parameter.default}
    return {
        "name": parameter.name,
        "in": "query",
        "description": parameter.description,
        "schema": words if parameter.kind == "word" else _KINDS[parameter.kind],
    }
