"""JSON Schemas of what one version takes and answers, compiled from its signature.

The dialect is OpenAPI 3.1's, JSON Schema 2020-12. Its descriptions are Markdown: what comes out of a model
file stands in them as ``plain`` text.
"""

import string
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.json import schema_components
from msgspec.structs import replace

from unpickled.server.artifact.manifest import Feature, Input, Manifest
from unpickled.server.errors import InvalidInput
from unpickled.server.model.feeds import Row
from unpickled.server.model.outputs import Member, Outputs, Tensor
from unpickled.server.model.signature import Signature

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}

# Choices are listed up to so many: a longer list is in the manifest.
_LISTED = 100
_LARGEST = sys.float_info.max
# From what holds the fewest numbers on.
_DTYPES = ("string", "int64", "float32", "float64")
_MARKS = str.maketrans({mark: f"\\{mark}" for mark in string.punctuation})


def visible(text: str) -> str:
    """Controls, line ends, and what turns the direction of text, as JSON spells them."""
    return "".join(letter if letter.isprintable() else _spelled(letter) for letter in text)


def plain(text: str) -> str:
    """Text that Markdown shows as it is: https://spec.commonmark.org/0.31.2/#backslash-escapes."""
    return visible(text).translate(_MARKS)


def _spelled(letter: str) -> str:
    units = letter.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))


def array(items: Schema, least: int = 0, most: int | None = None) -> Schema:
    """A list of one kind."""
    bounds = {"minItems": least, "maxItems": most}
    return {"type": "array", "items": items} | {name: bound for name, bound in bounds.items() if bound}


def exactly(*items: Schema) -> Schema:
    """A list of just these, in this order."""
    count = len(items)
    return {
        "type": "array",
        "prefixItems": list(items),
        "items": False,
        "minItems": count,
        "maxItems": count,
    }


def members(properties: Mapping[str, Schema], required: Sequence[str] | None = None) -> Schema:
    """An object with these members, of which ``required`` (None: each) have to be there."""
    names = list(properties) if required is None else list(required)
    return {"type": "object", "properties": dict(properties)} | ({"required": names} if names else {})


def only(properties: Mapping[str, Schema], required: Sequence[str] | None = None) -> Schema:
    """The same, and no other member."""
    return {**members(properties, required), "additionalProperties": False}


def either(*schemas: Schema) -> Schema:
    """Any of these, each once."""
    found = [schema for index, schema in enumerate(schemas) if schema not in schemas[:index]]
    return found[0] if len(found) == 1 else {"anyOf": found}


class Schemas:
    """``named`` are the schemas of one manifest under names that begin with ``prefix``.

    ``row`` and ``record`` are one row as an array and as an object, ``members`` those of the answer to it,
    ``record_members`` the same with the scores by name. ``tensors`` and ``methods`` are those that all of
    ``outputs`` have.
    """

    def __init__(
        self,
        prefix: str,
        manifest: Manifest,
        signature: Signature,
        outputs: Sequence[Outputs],
        max_rows: int,
    ) -> None:
        self.manifest = manifest
        self.signature = signature
        first = outputs[0]
        self.tensors = [tensor for tensor in first.tensors if all(_has(tensor, other) for other in outputs)]
        self.methods = {
            method: member
            for method, member in first.methods.items()
            if all(method in other.methods for other in outputs)
        }
        self.max_rows = max_rows
        self.named: dict[str, Schema] = {}
        self._prefix = prefix
        values = _values(manifest, self.signature)
        self.values = dict(zip(self.signature.names, values, strict=True))
        self.row = self.name("Row", _row(values))
        self.record = self.name("Record", only(self.values))
        self.members = {member.name: self.name(member.title, _member(member)) for member in first.members}
        self.record_members = self.members | {
            member.name: self.name(f"{member.title}By{member.each.capitalize()}", _entries(member))
            for member in first.members
            if member.entries
        }
        self.answer = self.name("Answer", only(self.record_members))
        self.arrays = self.name("Arrays", only({name: array(one, 1) for name, one in self.members.items()}))

    def name(self, kind: str, schema: Schema) -> Schema:
        """Keeps a schema under a name and refers to it."""
        name = f"{self._prefix}.{kind}"
        self.named[name] = schema
        return {"$ref": f"#/components/schemas/{name}"}

    def rows(self, *kinds: Schema) -> Schema:
        """As many as one request may have."""
        return array(either(*kinds), 1, self.max_rows)

    def examples(self, count: int = 2) -> list[Row]:
        """Rows inside the training ranges."""
        golden = self.manifest.golden.rows[:count]
        return list(golden) or [[_typical(feature) for feature in self.manifest.features]]

    def named_values(self, row: Row) -> dict[str, Any]:
        """A row as a record."""
        return dict(zip(self.signature.names, row, strict=True))


def shared(manifests: Sequence[Manifest]) -> Manifest:
    """The first, with features that take no more than those of all the others: what every one answers.

    Their names, kinds and order are the same. Where nothing would be left to take it is the first as it is.
    """
    first = manifests[0]
    features = tuple(map(_narrowed, zip(*(manifest.features for manifest in manifests), strict=True)))
    if not all(map(_possible, features)):
        return first
    found = replace(first, features=features, inputs=_common(manifests))
    signature = Signature(found)
    rows = tuple(row for row in first.golden.rows if _takes(signature, row))
    return replace(found, golden=replace(first.golden, rows=rows))


def _narrowed(same: Sequence[Feature]) -> Feature:
    lowest = max((one.lowest for one in same if one.lowest is not None), default=None)
    highest = min((one.highest for one in same if one.highest is not None), default=None)
    closed = [one.categories for one in same if one.closed]
    known = (closed or [same[0].categories])[0]
    return replace(
        same[0],
        missing=all(one.missing for one in same),
        lowest=lowest,
        highest=highest,
        closed=bool(closed),
        categories=tuple(category for category in known if all(category in other for other in closed)),
    )


def _possible(feature: Feature) -> bool:
    if feature.closed:
        return bool(feature.categories)
    return feature.lowest is None or feature.highest is None or feature.lowest <= feature.highest


def _common(manifests: Sequence[Manifest]) -> tuple[Input, ...]:
    """The tensors of all; where they differ, one of each feature, of the dtype that holds least."""
    first = manifests[0]
    if all(manifest.inputs == first.inputs for manifest in manifests):
        return first.inputs
    dtypes = [{name: tensor.dtype for tensor in one.inputs for name in tensor.features} for one in manifests]
    return tuple(
        Input(name="input", dtype=min((found[name] for found in dtypes), key=_DTYPES.index), features=(name,))
        for name in (feature.name for feature in first.features)
    )


def _takes(signature: Signature, row: Row) -> bool:
    try:
        signature.check_row(list(row), 0)
    except InvalidInput:
        return False
    return True


def _values(manifest: Manifest, signature: Signature) -> list[Schema]:
    """One schema per feature, by the rules that the decoders are compiled from."""
    (compiled,), _ = schema_components([signature.row])
    whole = {name for tensor in manifest.inputs if tensor.dtype == "int64" for name in tensor.features}
    return [
        _feature(feature, schema, feature.name in whole)
        for feature, schema in zip(manifest.features, compiled["prefixItems"], strict=True)
    ]


def _feature(feature: Feature, schema: Schema, whole: bool) -> Schema:
    if "anyOf" in schema:
        kinds = [_feature(feature, kind, whole) for kind in schema["anyOf"]]
        return {"anyOf": [{key: kind[key] for key in kind if key != "description"} for kind in kinds]} | {
            "description": _told(feature)
        }
    if schema.get("type") == "null":
        return schema
    if whole:
        schema = {**schema, "type": "integer"}
    # What is as large as doubles get is a limit of theirs: numbers a little beyond are rounded to it.
    schema = {key: limit for key, limit in schema.items() if limit not in (_LARGEST, -_LARGEST)}
    return {**schema, "description": _told(feature)}


def _told(feature: Feature) -> str:
    """What the training rows had."""
    if feature.kind == "category":
        listed = ", ".join(f"'{plain(category)}'" for category in feature.categories[:_LISTED])
        return f"category; in training: {listed}"
    if feature.minimum is None or feature.maximum is None:
        return "number"
    middle = "" if feature.median is None else f", median {feature.median:.6g}"
    return f"number; in training: {feature.minimum:.6g} to {feature.maximum:.6g}{middle}"


def _typical(feature: Feature) -> Any:
    if feature.kind == "category":
        return feature.categories[0] if feature.categories else ""
    lowest = -_LARGEST if feature.lowest is None else feature.lowest
    highest = _LARGEST if feature.highest is None else feature.highest
    return min(max(feature.median or 0.0, lowest), highest)


def _row(values: Sequence[Schema]) -> Schema:
    return {**exactly(*values), "description": "one value per feature, in the order of the model's features"}


def _has(tensor: Tensor, outputs: Outputs) -> bool:
    return any(tensor.name == other.name for other in outputs.tensors)


def _member(member: Member) -> Schema:
    """The value of one row."""
    if member.entries:
        count, listed = len(member.entries), ", ".join(map(plain, member.entries[:_LISTED]))
        described = f"one per {member.each}: {listed}"
        return {**array({"type": "number"}, count, count), "description": described}
    if 0 < len(member.choices) <= _LISTED:
        return {"enum": list(member.choices)}
    return {"type": "string" if member.type == "text" else member.type}


def _entries(member: Member) -> Schema:
    return only({name: {"type": "number"} for name in member.entries})
