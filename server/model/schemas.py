"""JSON Schemas of the rows that one version takes and of its answers, compiled from its signature.

The dialect is OpenAPI 3.1's, JSON Schema 2020-12. Descriptions are Markdown: ``plain`` escapes the text of a
model file in them.
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

# Most choices that a schema lists: the manifest has a longer list in full.
_LISTED = 100
_LARGEST = sys.float_info.max
# From the dtype that holds the fewest numbers to the one that holds the most.
_DTYPES = ("string", "int64", "float32", "float64")
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


class Schemas:
    """The schemas of one version, or of the versions that share traffic.

    ``components`` has every schema under its name, which begins with ``prefix``. ``row`` and ``record``
    describe one row as an array and as an object; ``members`` are the members of the answer to one row,
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
        self.tensors = [tensor for tensor in first.tensors if all(_has(tensor, each) for each in outputs)]
        self.methods = {
            method: member
            for method, member in first.methods.items()
            if all(method in each.methods for each in outputs)
        }
        self.max_rows = max_rows
        self.components: dict[str, Schema] = {}
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
        arrays = {name: array(schema, 1) for name, schema in self.members.items()}
        self.arrays = self.name("Arrays", only(arrays))

    def name(self, kind: str, schema: Schema) -> Schema:
        """Enter a schema into ``components`` and return a reference to it."""
        name = f"{self._prefix}.{kind}"
        self.components[name] = schema
        return {"$ref": f"#/components/schemas/{name}"}

    def rows(self, *kinds: Schema) -> Schema:
        """An array of rows of these kinds, no longer than one request may have."""
        return array(either(*kinds), 1, self.max_rows)

    def examples(self, count: int = 2) -> list[Row]:
        """Rows inside the training ranges."""
        golden = self.manifest.golden.rows[:count]
        return list(golden) or [[_typical(feature) for feature in self.manifest.features]]

    def named_values(self, row: Row) -> dict[str, Any]:
        """A row as a record."""
        return dict(zip(self.signature.names, row, strict=True))


def shared(manifests: Sequence[Manifest]) -> Manifest:
    """The first manifest, with its features narrowed to the values that every one of the versions takes.

    The features have the same names, kinds and order in all of them. Where no value would be left for a
    feature, it is the first manifest unchanged.
    """
    first = manifests[0]
    features = tuple(map(_narrowed, zip(*(manifest.features for manifest in manifests), strict=True)))
    if not all(map(_possible, features)):
        return first
    narrowed = replace(first, features=features, inputs=_common(manifests))
    signature = Signature(narrowed)
    rows = tuple(row for row in first.golden.rows if _takes(signature, row))
    return replace(narrowed, golden=replace(first.golden, rows=rows))


def _narrowed(variants: Sequence[Feature]) -> Feature:
    """One feature of several versions, with the values that all of them take."""
    lowest = max((feature.lowest for feature in variants if feature.lowest is not None), default=None)
    highest = min((feature.highest for feature in variants if feature.highest is not None), default=None)
    closed = [feature.categories for feature in variants if feature.closed]
    categories = (closed or [variants[0].categories])[0]
    return replace(
        variants[0],
        missing=all(feature.missing for feature in variants),
        lowest=lowest,
        highest=highest,
        closed=bool(closed),
        categories=tuple(name for name in categories if all(name in allowed for allowed in closed)),
    )


def _possible(feature: Feature) -> bool:
    if feature.closed:
        return bool(feature.categories)
    return feature.lowest is None or feature.highest is None or feature.lowest <= feature.highest


def _common(manifests: Sequence[Manifest]) -> tuple[Input, ...]:
    """The input tensors of all versions; if they differ, one per feature, of the narrowest dtype."""
    first = manifests[0]
    if all(manifest.inputs == first.inputs for manifest in manifests):
        return first.inputs
    dtypes: dict[str, list[Any]] = {feature.name: [] for feature in first.features}
    for manifest in manifests:
        for tensor in manifest.inputs:
            for name in tensor.features:
                dtypes[name].append(tensor.dtype)
    return tuple(
        Input(name="input", dtype=min(kinds, key=_DTYPES.index), features=(name,))
        for name, kinds in dtypes.items()
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
    integers = {name for tensor in manifest.inputs if tensor.dtype == "int64" for name in tensor.features}
    return [
        _feature(feature, schema, feature.name in integers)
        for feature, schema in zip(manifest.features, compiled["prefixItems"], strict=True)
    ]


def _feature(feature: Feature, schema: Schema, integer: bool) -> Schema:
    if "anyOf" in schema:
        kinds = [_feature(feature, kind, integer) for kind in schema["anyOf"]]
        return {"anyOf": [{key: kind[key] for key in kind if key != "description"} for kind in kinds]} | {
            "description": _training_values(feature)
        }
    if schema.get("type") == "null":
        return schema
    if integer:
        schema = {**schema, "type": "integer"}
    # The largest double is no limit of the model: JSON numbers a little above it are rounded to it.
    schema = {key: limit for key, limit in schema.items() if limit not in (_LARGEST, -_LARGEST)}
    return {**schema, "description": _training_values(feature)}


def _training_values(feature: Feature) -> str:
    if feature.kind == "category":
        categories = ", ".join(f"'{plain(category)}'" for category in feature.categories[:_LISTED])
        return f"category; in training: {categories}"
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
    return tensor.name in {output.name for output in outputs.tensors}


def _member(member: Member) -> Schema:
    """The schema of a member's value for one row."""
    if member.entries:
        count, names = len(member.entries), ", ".join(map(plain, member.entries[:_LISTED]))
        description = f"one per {member.each}: {names}"
        return {**array({"type": "number"}, count, count), "description": description}
    if 0 < len(member.choices) <= _LISTED:
        return {"enum": list(member.choices)}
    return {"type": "string" if member.type == "text" else member.type}


def _entries(member: Member) -> Schema:
    return only({name: {"type": "number"} for name in member.entries})
