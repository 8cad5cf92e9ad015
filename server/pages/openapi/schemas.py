"""JSON Schemas of what one version takes and answers, compiled from its signature.

The dialect is OpenAPI 3.1's, JSON Schema 2020-12.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.json import schema_components

from server.artifact import Feature, Manifest
from server.lifecycle.versions import Served
from server.signature import Row, Signature

Schema = dict[str, Any]

# Choices are listed up to so many: a longer list is in the manifest.
_LISTED = 100
_LARGEST = sys.float_info.max


def array(items: Schema, least: int = 0, most: int | None = None) -> Schema:
    """A list of one kind."""
    bounds = {"minItems": least, "maxItems": most}
    return {"type": "array", "items": items} | {name: bound for name, bound in bounds.items() if bound}


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
    """``named`` are the schemas of one version under the names that ``ref`` gives them.

    ``row`` and ``record`` are one row as an array and as an object, ``label`` and ``scores`` what the
    model says of it.
    """

    def __init__(self, served: Served, max_rows: int) -> None:
        self.manifest = served.model.manifest
        self.signature = served.model.signature
        self.max_rows = max_rows
        self.named: dict[str, Schema] = {}
        self._prefix = f"{served.name}.{served.version}"
        manifest, values = self.manifest, _values(self.manifest, self.signature)
        self.values = dict(zip(self.signature.names, values, strict=True))
        self.row = self.name("Row", _row(values))
        self.record = self.name("Record", only(self.values))
        self.label = self.name("Label", _choice(manifest.classes))
        self.class_name = self.name("ClassName", _choice(manifest.class_names))
        self.scores = self.name("Scores", _scores(manifest))
        self.by_class = self.name(
            "ScoresByClass", only({name: {"type": "number"} for name in manifest.class_names})
        )
        self.answer = self.name("Answer", only(self.said(self.by_class)))
        self.arrays = self.name(
            "Arrays", only({key: array(one, 1) for key, one in self.said(self.scores).items()})
        )

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

    def said(self, scores: Schema) -> dict[str, Schema]:
        """The members of what the model says of one row."""
        kind = self.manifest.outputs.kind
        return {"prediction": self.label, "predicted_class": self.class_name, kind: scores}


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
        listed = ", ".join(repr(category) for category in feature.categories[:_LISTED])
        return f"category; in training: {listed}"
    if feature.minimum is None or feature.maximum is None:
        return "number"
    middle = "" if feature.median is None else f", median {feature.median:.6g}"
    return f"number; in training: {feature.minimum:.6g} to {feature.maximum:.6g}{middle}"


def _typical(feature: Feature) -> Any:
    if feature.kind == "category":
        return feature.categories[0] if feature.categories else ""
    return 0.0 if feature.median is None else feature.median


def _row(values: Sequence[Schema]) -> Schema:
    count = len(values)
    return {
        "type": "array",
        "prefixItems": list(values),
        "items": False,
        "minItems": count,
        "maxItems": count,
        "description": "one value per feature, in the order of the model's features",
    }


def _choice(known: Sequence[int | str]) -> Schema:
    if len(known) <= _LISTED:
        return {"enum": list(known)}
    return {"type": "string" if isinstance(known[0], str) else "integer"}


def _scores(manifest: Manifest) -> Schema:
    count = len(manifest.classes)
    listed = ", ".join(manifest.class_names[:_LISTED])
    return {**array({"type": "number"}, count, count), "description": f"one per class: {listed}"}
