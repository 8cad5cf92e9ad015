"""JSON Schemas of the rows that one version takes and of its answers, compiled from its signature."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.json import schema_components

from unpickled.server.artifact.manifest import Feature, Manifest, Notation
from unpickled.server.message.jsonschema import COUNT, Schema, array, either, exactly, only, plain
from unpickled.server.model import dates
from unpickled.server.model.feeds import Row
from unpickled.server.model.outputs import Member, Outputs, Tensor
from unpickled.server.model.outside import MOST
from unpickled.server.model.signature import Signature

# Most choices that a schema lists: the manifest has a longer list in full.
_LISTED = 100
_LARGEST = sys.float_info.max
# A date with a time of day, but without an offset from UTC, for which JSON Schema has no format.
_MOMENT = "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]$"


class Schemas:
    """The schemas of one version, or of the versions that share traffic.

    ``components`` has every schema under its name, which begins with ``prefix``. ``row`` and ``record``
    describe one row as an array and as an object; ``members`` are the members of the answer to one row,
    ``record_members`` the same with the scores by name. ``answer`` is one row's part of an answer, and
    ``record_answer`` a whole answer; ``columns`` and ``arrays`` are the same for all rows. ``tensors`` and
    ``methods`` are those that all of ``outputs`` have.
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
        self._outside = {"outside": self.name("Outside", _outside(manifest)), "outside_count": COUNT}
        self.answer = self.name("Answer", only(self.record_members))
        self.record_answer = self.name("RecordAnswer", self.flagged(self.record_members))
        arrays = {name: array(schema, 1) for name, schema in self.members.items()}
        self.columns = self.name("Columns", only(arrays))
        self.arrays = self.name("Arrays", self.flagged(arrays))

    def name(self, kind: str, schema: Schema) -> Schema:
        """Enter a schema into ``components`` and return a reference to it."""
        name = f"{self._prefix}.{kind}"
        self.components[name] = schema
        return {"$ref": f"#/components/schemas/{name}"}

    def flagged(self, properties: Mapping[str, Schema]) -> Schema:
        """An answer with these members, and perhaps those about values outside the training range."""
        return only({**properties, **self._outside}, list(properties))

    def rows(self, *kinds: Schema) -> Schema:
        """An array of rows of these kinds, no longer than one request may have."""
        return array(either(*kinds), 1, self.max_rows)

    def examples(self, count: int = 2) -> list[Row]:
        """Rows inside the training ranges."""
        typical = [feature.example(_typical(feature)) for feature in self.manifest.features]
        return [*self.manifest.examples(count)] or [typical]

    def named_values(self, row: Row) -> dict[str, Any]:
        """A row as a record."""
        return dict(zip(self.signature.names, row, strict=True))


def _values(manifest: Manifest, signature: Signature) -> list[Schema]:
    """One schema per feature, by the rules that the decoders are compiled from."""
    (compiled,), _ = schema_components([signature.row])
    integers = {name for tensor in manifest.inputs if tensor.dtype == "int64" for name in tensor.features}
    return [
        _feature(feature, schema, feature.name in integers)
        for feature, schema in zip(manifest.features, compiled["prefixItems"], strict=True)
    ]


def _feature(feature: Feature, schema: Schema, integer: bool) -> Schema:
    if feature.date:
        kinds = [_dated(feature.date), {"type": "null"}] if feature.missing else [_dated(feature.date)]
        return {**either(*kinds), "description": _training_values(feature)}
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


def _dated(notation: Notation) -> Schema:
    """Dates in ISO 8601. JSON Schema's format of a date with a time demands an offset from UTC."""
    if notation.offset:
        return {"type": "string", "format": "date-time"}
    if not notation.times:
        return {"type": "string", "format": "date"}
    return {"type": "string", "pattern": _MOMENT}


def _training_dates(feature: Feature, notation: Notation) -> str:
    if feature.minimum is None or feature.maximum is None:
        return f"date, such as {dates.examples(notation)}"
    ends = (dates.written(end, notation) for end in (feature.minimum, feature.maximum))
    return f"date, such as {dates.examples(notation)}; in training: {' to '.join(ends)}"


def _training_values(feature: Feature) -> str:
    if feature.date:
        return _training_dates(feature, feature.date)
    if feature.kind == "category":
        categories = ", ".join(f"'{plain(category)}'" for category in feature.categories[:_LISTED])
        return f"category; in training: {categories}"
    if feature.minimum is None or feature.maximum is None:
        return "number"
    middle = "" if feature.median is None else f", median {feature.median:.6g}"
    return f"number; in training: {feature.minimum:.6g} to {feature.maximum:.6g}{middle}"


def _typical(feature: Feature) -> Any:
    if feature.date:
        return dates.written(feature.median or 0.0, feature.date)
    if feature.kind == "category":
        return feature.categories[0] if feature.categories else ""
    lowest = -_LARGEST if feature.lowest is None else feature.lowest
    highest = _LARGEST if feature.highest is None else feature.highest
    return min(max(feature.median or 0.0, lowest), highest)


def _outside(manifest: Manifest) -> Schema:
    """The schema of the values outside the training range that an answer names."""
    border: Schema = {"type": ["number", "string", "null"]}
    finding = {
        "row": COUNT,
        "feature": {"enum": [feature.name for feature in manifest.features]},
        "value": {"type": ["number", "string"]},
        "trained": {
            **array(border),
            "description": "lowest and highest value of training, or its first categories",
        },
        "range": {
            **array(border),
            "description": "lowest and highest value allowed, where the model's settings move them",
        },
        "more": {**COUNT, "description": "how many more categories there are"},
        "used": {**border, "description": "the value that was predicted in place of this one"},
    }
    findings = array(only(finding, ["row", "feature", "value", "trained"]), 1, MOST)
    description = (
        "values outside the training range, by row; `outside_count` has their number if it is higher"
    )
    return {**findings, "description": description}


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
