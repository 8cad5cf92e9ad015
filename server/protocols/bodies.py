"""The bodies of requests and answers, as OpenAPI describes them, and the parts that protocols share.

Schemas hold what JSON Schema can say. Where a length depends on another part of a body, they describe few
rows, and words describe more.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from unpickled.server.message.answer import dumps
from unpickled.server.model.schemas import Schema, Schemas, array, either, exactly, only, visible

# Media type -> OpenAPI's description of a body.
Content = dict[str, dict[str, Any]]


class Bodies(NamedTuple):
    """Those of a request and of its answer; ``description`` says what a schema cannot say."""

    description: str
    request: Content
    answer: Content


def shown(schema: Schema, examples: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON body with its examples."""
    return {"schema": schema, "examples": {name: {"value": value} for name, value in examples.items()}}


def table(schemas: Schemas) -> dict[str, Any]:
    """A CSV body: JSON Schema has no words for a table."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([schemas.signature.names, *schemas.examples()])
    described = "a header row with the features' names, and a row of values for each row to predict"
    return {"schema": {"type": "string", "description": described}, "example": text.getvalue()}


def lines(documents: Sequence[Any]) -> dict[str, Any]:
    """JSON lines, described in words: a program that tries out examples may not know how to send them.

    Markdown has no markup within code, but some programs end a line at more characters than it does.
    """
    listed = "".join(f"\n    {visible(dumps(document).decode())}" for document in documents)
    return {"schema": {"type": "string", "description": f"one document a line:\n{listed}"}}


def columns(schemas: Schemas) -> Schema:
    """The values of each feature, of one row: JSON Schema has no word for lists of one length."""
    values = schemas.values
    if len(values) == 1:
        return only({name: array(value, 1, schemas.max_rows) for name, value in values.items()})
    return only({name: exactly(value) for name, value in values.items()})


def split(schemas: Schemas) -> Schema:
    """A pandas table in its "split" form, the columns in the features' order."""
    names: Schema = {"const": list(schemas.signature.names)}
    named = only({"columns": names, "index": {}, "data": schemas.rows(schemas.row)}, ["columns", "data"])
    bare = only({"index": {}, "data": schemas.rows(schemas.row, schemas.record)}, ["data"])
    return either(named, bare)
