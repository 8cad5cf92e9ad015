"""OpenAPI descriptions of the bodies of the Open Inference Protocol.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
"""

from collections.abc import Mapping
from itertools import permutations
from typing import Any

from unpickled.server.artifact.manifest import Feature
from unpickled.server.message import media
from unpickled.server.message.jsonschema import COUNT, TEXT, Schema, array, either, exactly, members
from unpickled.server.model.outputs import Tensor
from unpickled.server.model.schemas import Schemas
from unpickled.server.protocols import bodies
from unpickled.server.protocols.bodies import Bodies

# A parameter that may be left out or sent as null.
_CHOICE: Schema = {"type": ["boolean", "null"]}
_DATES = " A date is text (BYTES); in a tensor of numbers, FP64 or INT64, it is seconds since 1970-01-01."
_FLOATS = ["FP64", "FP32", "FP16"]


def describe(schemas: Schemas) -> Bodies:
    """Describe the requests and answers of one version."""
    request = members(
        {
            "inputs": either(*_whole_tensors(schemas), *_tensor_each(schemas)),
            "outputs": either(*_selections(schemas), {"type": "null"}),
            "id": {"type": ["string", "null"]},
            "parameters": _parameters({"binary_data_output": _CHOICE}),
        },
        ["inputs"],
    )
    return Bodies(
        "One tensor of all features, or one tensor of each; any number of rows, as `shape` says. Tensors may "
        "follow the JSON as bytes (extension `binary_tensor_data`): with `binary_data_size` among the "
        "parameters of each, and `Inference-Header-Content-Length` for the length of the JSON."
        + (_DATES if any(feature.date for feature in schemas.manifest.features) else ""),
        {media.JSON: bodies.with_examples(schemas.name("InferenceRequest", request), _examples(schemas))},
        {
            media.JSON: {"schema": schemas.name("InferenceResponse", _response(schemas))},
            media.BINARY: {},
        },
    )


def _whole_tensors(schemas: Schemas) -> list[Schema]:
    """A tensor of all features, with one row or two."""
    width, row = len(schemas.signature.names), schemas.row
    one_row, two_rows = either(row, exactly(row)), exactly(row, row)
    return [
        exactly(_tensor(_names(schemas), {"const": [rows, width]}, _datatypes(schemas), data))
        for rows, data in ((1, one_row), (2, two_rows))
    ]


def _tensor_each(schemas: Schemas) -> list[Schema]:
    """A tensor of each feature, with one row; none for very many features, which words describe."""
    features = schemas.manifest.features
    if len(features) > 100:
        return []
    tensors = [
        _tensor(
            [feature.name],
            {"enum": [[1], [1, 1]]},
            ["BYTES"] if _is_text(feature) else _FLOATS,
            exactly(schemas.values[feature.name]),
        )
        for feature in features
    ]
    return [exactly(*tensors)]


def _tensor(names: list[str], shape: Schema, datatypes: list[str], data: Schema) -> Schema:
    return members({"name": {"enum": names}, "shape": shape, "datatype": {"enum": datatypes}, "data": data})


def _names(schemas: Schemas) -> list[str]:
    """The names that a tensor of all features may have."""
    inputs = schemas.manifest.inputs
    names = [inputs[0].name] if len(inputs) == 1 else []
    return list(dict.fromkeys((*names, "input-0", "input")))


def _datatypes(schemas: Schemas) -> list[str]:
    return ["BYTES"] if any(map(_is_text, schemas.manifest.features)) else _FLOATS


def _is_text(feature: Feature) -> bool:
    return feature.kind == "category" or feature.date is not None


def _selections(schemas: Schemas) -> list[Schema]:
    """The outputs that a request may select: some, in any order; or none, which stands for all."""
    outputs = [_output(tensor) for tensor in schemas.tensors]
    counts = range(len(outputs), 0, -1)
    selections = [exactly(*chosen) for count in counts for chosen in permutations(outputs, count)]
    return [*selections, {"type": "array", "maxItems": 0}]


def _output(tensor: Tensor) -> Schema:
    parameters = {"binary_data": _CHOICE}
    if tensor.ranked:
        parameters["classification"] = {"type": ["integer", "null"], "minimum": 1}
    return members({"name": {"const": tensor.name}, "parameters": _parameters(parameters)}, ["name"])


def _parameters(schemas: Mapping[str, Schema]) -> Schema:
    return {**members(schemas, []), "type": ["object", "null"]}


def _response(schemas: Schemas) -> Schema:
    output = members(
        {
            "name": {"enum": [tensor.name for tensor in schemas.tensors]},
            "datatype": {"enum": ["INT64", "FP64", "BYTES"]},
            "shape": array(COUNT, 1),
            "data": {"type": "array"},
            "parameters": members({"binary_data_size": COUNT}),
        },
        ["name", "datatype", "shape"],
    )
    return members(
        {
            "model_name": TEXT,
            "model_version": TEXT,
            "id": TEXT,
            "outputs": array(output, 1),
        },
        ["model_name", "model_version", "outputs"],
    )


def _examples(schemas: Schemas) -> dict[str, Any]:
    first = schemas.examples(1)[0]
    name, datatype = _names(schemas)[0], _datatypes(schemas)[0]
    tensor = {"name": name, "shape": [1, len(first)], "datatype": datatype, "data": first}
    with_id = {"inputs": [tensor], "id": "a name for it"}
    return {"one row": {"inputs": [tensor]}, "with an id": with_id}
