"""The words of JSON Schema 2020-12, the dialect of OpenAPI 3.1, that describe messages.

Descriptions are Markdown: ``plain`` escapes the text of a model file in them.
"""

import string
from collections.abc import Mapping, Sequence
from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}

_MARKS = str.maketrans({mark: f"\\{mark}" for mark in string.punctuation})


def visible(text: str) -> str:
    """The text with JSON's escapes for controls, line ends and characters that turn its direction."""
    return "".join(letter if letter.isprintable() else _spelled(letter) for letter in text)


def plain(text: str) -> str:
    """Text that Markdown shows as it is: https://spec.commonmark.org/0.31.2/#backslash-escapes."""
    return visible(text).translate(_MARKS)


def _spelled(letter: str) -> str:
    units = letter.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))


def array(items: Schema, least: int = 0, most: int | None = None) -> Schema:
    """An array whose items all have one schema."""
    bounds = {"minItems": least, "maxItems": most}
    return {"type": "array", "items": items} | {name: bound for name, bound in bounds.items() if bound}


def exactly(*items: Schema) -> Schema:
    """An array with one item for each of these schemas, in this order."""
    count = len(items)
    return {
        "type": "array",
        "prefixItems": list(items),
        "items": False,
        "minItems": count,
        "maxItems": count,
    }


def members(properties: Mapping[str, Schema], required: Sequence[str] | None = None) -> Schema:
    """An object with these members, and perhaps others; those of ``required`` (None: each) must be there."""
    names = list(properties) if required is None else list(required)
    return {"type": "object", "properties": dict(properties)} | ({"required": names} if names else {})


def only(properties: Mapping[str, Schema], required: Sequence[str] | None = None) -> Schema:
    """An object with these members and no others."""
    return {**members(properties, required), "additionalProperties": False}


def either(*schemas: Schema) -> Schema:
    """Any of these schemas, each written once."""
    distinct = [schema for index, schema in enumerate(schemas) if schema not in schemas[:index]]
    return distinct[0] if len(distinct) == 1 else {"anyOf": distinct}
