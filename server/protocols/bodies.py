"""OpenAPI descriptions of the bodies of requests and answers: the parts that several protocols share.

JSON Schema cannot make a length depend on another part of a body. Where one does, the schemas describe one or
two rows, and a description in words covers the rest.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from unpickled.server.message.answer import dumps
from unpickled.server.message.jsonschema import Schema, array, either, exactly, only, plain, visible
from unpickled.server.model.feeds import Value
from unpickled.server.model.schemas import Schemas

# Media type -> OpenAPI's description of a body.
Content = dict[str, dict[str, Any]]


class Bodies(NamedTuple):
    """The bodies of a request and of its answer; ``description`` has the rules that no schema can express."""

    description: str
    request: Content
    answer: Content


def with_examples(schema: Schema, examples: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON body with its examples."""
    return {"schema": schema, "examples": {name: {"value": value} for name, value in examples.items()}}


def table(schemas: Schemas) -> dict[str, Any]:
    """A CSV body, described in words: JSON Schema cannot describe a table."""
    text = io.StringIO()
    rows = [[_cell(value) for value in row] for row in schemas.examples()]
    csv.writer(text, lineterminator="\n").writerows([schemas.signature.names, *rows])
    description = "a header row with the features' names, and a row of values for each row to predict"
    return {"schema": {"type": "string", "description": description}, "example": text.getvalue()}


def _cell(value: Value) -> Value:
    return str(value).lower() if isinstance(value, bool) else value


def stream(schemas: Schemas) -> dict[str, Any]:
    """An Arrow stream, described in words: its bytes are no text. An empty schema stands for any bytes."""
    names = ", ".join(map(plain, schemas.signature.names[:20]))
    more = ", ..." if len(schemas.signature.names) > 20 else ""
    return {"schema": {"description": f"an Arrow IPC stream whose columns are {names}{more}, uncompressed"}}


def lines(documents: Sequence[Any]) -> dict[str, Any]:
    """JSON lines, described in words: programs that try out examples may not know how to send them.

    The documents are Markdown code, in which nothing needs an escape but the line ends of some programs.
    """
    code = "".join(f"\n    {visible(dumps(document).decode())}" for document in documents)
    return {"schema": {"type": "string", "description": f"one document a line:\n{code}"}}


def columns(schemas: Schemas) -> Schema:
    """The values of each feature, for one row: JSON Schema cannot demand lists of equal length."""
    values = schemas.values
    if len(values) == 1:
        return only({name: array(value, 1, schemas.max_rows) for name, value in values.items()})
    return only({name: exactly(value) for name, value in values.items()})


def split(schemas: Schemas) -> Schema:
    """A pandas table in its "split" form, the columns in the features' order."""
    names: Schema = {"const": list(schemas.signature.names)}
    with_names = only({"columns": names, "index": {}, "data": schemas.rows(schemas.row)}, ["columns", "data"])
    without_names = only({"index": {}, "data": schemas.rows(schemas.row, schemas.record)}, ["data"])
    return either(with_names, without_names)
