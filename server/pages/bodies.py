"""What each protocol takes and answers, for one version: media types, schemas, examples."""

from collections.abc import Callable
from typing import Any, NamedTuple

from server.pages.schemas import Schema, Schemas, array, either, only

# Media type -> OpenAPI's description of a body.
Content = dict[str, dict[str, Any]]

JSON = "application/json"


class Bodies(NamedTuple):
    """A request's and its answer's; ``told`` is what a schema cannot say."""

    summary: str
    told: str
    request: Content
    answer: Content


def native(schemas: Schemas) -> Bodies:
    """The project's own JSON."""
    row, record = schemas.row, schemas.record
    forms = either(
        only({"features": row}),
        only({"features": schemas.rows(row)}),
        record,
        only({"instances": schemas.rows(row, record)}),
    )
    first, *more = schemas.examples()
    named = schemas.named_values(first)
    examples = {
        "one row": {"features": first},
        "several rows": {"features": [first, *more]},
        "a record": named,
        "several of either": {"instances": [named, *more]},
    }
    answers = either(schemas.arrays, schemas.answer, only({"predictions": array(schemas.answer, 1)}))
    return Bodies(
        "Predict",
        "Arrays are answered with arrays, a record with a record, `instances` with one record each.",
        {JSON: _shown(schemas.name("Request", forms), examples)},
        {JSON: {"schema": schemas.name("Answers", answers)}},
    )


# By the name that a route has for its protocol.
PROTOCOLS: dict[str, Callable[[Schemas], Bodies]] = {"native": native}


def _shown(schema: Schema, examples: dict[str, Any]) -> dict[str, Any]:
    return {"schema": schema, "examples": {name: {"value": value} for name, value in examples.items()}}
