"""What each protocol takes and answers, for one version: media types, schemas, examples.

Schemas hold what JSON Schema can say. Where a length depends on another part of a body, they tell of few
rows, and of more in words.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from server.pages.schemas import Schema, Schemas, array, either, members, only

# Media type -> OpenAPI's description of a body.
Content = dict[str, dict[str, Any]]

JSON = "application/json"
BINARY = "application/octet-stream"

_COUNT: Schema = {"type": "integer", "minimum": 0}
_FLAG: Schema = {"type": "boolean"}
_FLOATS = ["FP64", "FP32", "FP16"]


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


def inference(schemas: Schemas) -> Bodies:
    """https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md"""
    given = either(*_whole_tensors(schemas), *_tensor_each(schemas))
    request = members(
        {
            "inputs": given,
            "outputs": either(*_wanted(schemas), {"type": "null"}),
            "id": {"type": ["string", "null"]},
            "parameters": _parameters({"binary_data_output": _FLAG}),
        },
        ["inputs"],
    )
    return Bodies(
        "Infer (Open Inference Protocol)",
        "One tensor of all features, or one tensor of each; any number of rows, as `shape` says. Tensors may "
        "follow the JSON as bytes (extension `binary_tensor_data`): with `binary_data_size` among the "
        "parameters of each, and `Inference-Header-Content-Length` for the length of the JSON.",
        {JSON: _shown(schemas.name("InferenceRequest", request), _inference_examples(schemas))},
        {
            JSON: {"schema": schemas.name("InferenceResponse", _inference_response(schemas))},
            BINARY: {},
        },
    )


def tfserving(schemas: Schemas) -> Bodies:
    """https://www.tensorflow.org/tfx/serving/api_rest"""
    signature: dict[str, Schema] = {"signature_name": {"description": "a model has one: it may be anything"}}
    rows = schemas.rows(schemas.row, schemas.record)
    given = either(
        only({"instances": rows, **signature}, ["instances"]),
        only({"inputs": either(rows, _columns(schemas)), **signature}, ["inputs"]),
    )
    first, *more = schemas.examples()
    columns = {name: [value] for name, value in schemas.named_values(first).items()}
    answers = either(
        only({"predictions": array(only(schemas.said(schemas.scores)), 1)}), only({"outputs": schemas.arrays})
    )
    return Bodies(
        "Predict (TensorFlow Serving, KServe V1)",
        "Rows in `instances` are answered one by one; `inputs`, which may be columns of any one length, "
        "as columns.",
        {
            JSON: _shown(
                schemas.name("TFServingRequest", given),
                {"rows": {"instances": [first, *more]}, "columns": {"inputs": columns}},
            )
        },
        {JSON: {"schema": schemas.name("TFServingResponse", answers)}},
    )


def vertex(schemas: Schemas) -> Bodies:
    """https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements"""
    given = only(
        {
            "instances": schemas.rows(schemas.row, schemas.record),
            "parameters": {"description": "change nothing here"},
        },
        ["instances"],
    )
    return Bodies(
        "Predict (Vertex AI)",
        "One record is answered for each row.",
        {JSON: _shown(schemas.name("VertexRequest", given), {"rows": {"instances": schemas.examples()}})},
        {JSON: {"schema": only({"predictions": array(schemas.answer, 1)})}},
    )


# By the name that a route has for its protocol.
PROTOCOLS: dict[str, Callable[[Schemas], Bodies]] = {
    "native": native,
    "inference": inference,
    "tfserving": tfserving,
    "vertex": vertex,
}


def _columns(schemas: Schemas) -> Schema:
    """The values of each feature, of one row: JSON Schema has no word for lists of one length."""
    values = schemas.values
    if len(values) == 1:
        return only({name: array(value, 1, schemas.max_rows) for name, value in values.items()})
    return only({name: _listed(value) for name, value in values.items()})


def _shown(schema: Schema, examples: Mapping[str, Any]) -> dict[str, Any]:
    return {"schema": schema, "examples": {name: {"value": value} for name, value in examples.items()}}


def _whole_tensors(schemas: Schemas) -> list[Schema]:
    """Of all features, in one row or two."""
    width, row = len(schemas.signature.names), schemas.row
    one, two = either(row, _listed(row)), _listed(row, row)
    return [
        _listed(_tensor(_names(schemas), {"const": [rows, width]}, _datatypes(schemas), data))
        for rows, data in ((1, one), (2, two))
    ]


def _tensor_each(schemas: Schemas) -> list[Schema]:
    """Of each feature, in one row; where there are very many, the words have to do."""
    features = schemas.manifest.features
    if len(features) > 100:
        return []
    tensors = [
        _tensor(
            [feature.name],
            {"enum": [[1], [1, 1]]},
            ["BYTES"] if feature.kind == "category" else _FLOATS,
            _listed(schemas.values[feature.name]),
        )
        for feature in features
    ]
    return [_listed(*tensors)]


def _tensor(names: list[str], shape: Schema, datatypes: list[str], data: Schema) -> Schema:
    return members({"name": {"enum": names}, "shape": shape, "datatype": {"enum": datatypes}, "data": data})


def _names(schemas: Schemas) -> list[str]:
    """Those that a tensor of all features may have."""
    inputs = schemas.manifest.inputs
    return ["input-0", "input"] if len(inputs) > 1 else [inputs[0].name, "input-0", "input"]


def _datatypes(schemas: Schemas) -> list[str]:
    mixed = any(feature.kind == "category" for feature in schemas.manifest.features)
    return ["BYTES"] if mixed else _FLOATS


def _wanted(schemas: Schemas) -> list[Schema]:
    """Both outputs, either, or none, which stands for both."""
    outputs = schemas.manifest.outputs
    label = _output(outputs.label, {"binary_data": _FLAG})
    scores = _output(
        outputs.scores, {"binary_data": _FLAG, "classification": {"type": ["integer", "null"], "minimum": 1}}
    )
    none: Schema = {"type": "array", "maxItems": 0}
    return [_listed(label, scores), _listed(scores, label), _listed(label), _listed(scores), none]


def _output(name: str, parameters: Mapping[str, Schema]) -> Schema:
    return members({"name": {"const": name}, "parameters": _parameters(parameters)}, ["name"])


def _parameters(known: Mapping[str, Schema]) -> Schema:
    return {**members(known, []), "type": ["object", "null"]}


def _inference_response(schemas: Schemas) -> Schema:
    outputs = schemas.manifest.outputs
    output = members(
        {
            "name": {"enum": [outputs.label, outputs.scores]},
            "datatype": {"enum": ["INT64", "FP64", "BYTES"]},
            "shape": array(_COUNT, 1),
            "data": {"type": "array"},
            "parameters": members({"binary_data_size": _COUNT}),
        },
        ["name", "datatype", "shape"],
    )
    return members(
        {
            "model_name": {"type": "string"},
            "model_version": {"type": "string"},
            "id": {"type": "string"},
            "outputs": array(output, 1),
        },
        ["model_name", "model_version", "outputs"],
    )


def _inference_examples(schemas: Schemas) -> dict[str, Any]:
    first = schemas.examples(1)[0]
    name, datatype = _names(schemas)[0], _datatypes(schemas)[0]
    tensor = {"name": name, "shape": [1, len(first)], "datatype": datatype, "data": first}
    named = {"inputs": [tensor], "id": "a name for it"}
    return {"one row": {"inputs": [tensor]}, "with an id": named}


def _listed(*items: Schema) -> Schema:
    """An array of exactly these."""
    count = len(items)
    return {
        "type": "array",
        "prefixItems": list(items),
        "items": False,
        "minItems": count,
        "maxItems": count,
    }
