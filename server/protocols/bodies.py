"""What each protocol takes and answers, for one version: media types, schemas, examples.

Schemas hold what JSON Schema can say. Where a length depends on another part of a body, they tell of few
rows, and of more in words.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import permutations
from typing import Any, NamedTuple

from unpickled.server.message.answer import dumps
from unpickled.server.model.outputs import Tensor
from unpickled.server.model.schemas import (
    COUNT,
    TEXT,
    Schema,
    Schemas,
    array,
    either,
    exactly,
    members,
    only,
    visible,
)
from unpickled.server.pages.openapi import patterns
from unpickled.server.pages.openapi.documents import JSON
from unpickled.server.protocols import csv
from unpickled.server.serve import stream as ndjson

# Media type -> OpenAPI's description of a body.
Content = dict[str, dict[str, Any]]

BINARY = "application/octet-stream"
CSV = csv.KIND
LINES = ndjson.MEDIA[0]
JSON_LINES = "application/jsonlines"

# What a request may leave open.
_CHOICE: Schema = {"type": ["boolean", "null"]}
_FLOATS = ["FP64", "FP32", "FP16"]


class Bodies(NamedTuple):
    """A request's and its answer's; ``told`` is what a schema cannot say."""

    summary: str
    told: str
    request: Content
    answer: Content


def native(schemas: Schemas) -> Bodies:
    """The project's own JSON, tables, and lines of it."""
    answer = {
        JSON: {"schema": schemas.name("Answers", either(*_native_answers(schemas)))},
        CSV: {"schema": TEXT},
        LINES: {"schema": TEXT},
    }
    request = {
        JSON: _shown(schemas.name("Request", either(*_native_forms(schemas))), _native_examples(schemas)),
        CSV: _table(schemas, "Table", header=True),
        LINES: _lines([{"features": row} for row in schemas.examples()]),
    }
    return Bodies(
        "Predict",
        "Arrays are answered with arrays, a record with a record, `instances` with one record each. A table "
        "(the header names the features in any order) is answered with a table, or with arrays where "
        "`Accept` asks for JSON. Of lines, each is a request of its own, answered as it comes, or with an "
        "error that has its number; there may be any number of them.",
        request,
        answer,
    )


def inference(schemas: Schemas) -> Bodies:
    """https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md"""
    given = either(*_whole_tensors(schemas), *_tensor_each(schemas))
    request = members(
        {
            "inputs": given,
            "outputs": either(*_wanted(schemas), {"type": "null"}),
            "id": {"type": ["string", "null"]},
            "parameters": _parameters({"binary_data_output": _CHOICE}),
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
        only({"predictions": array(only(schemas.members), 1)}), only({"outputs": schemas.arrays})
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


def sagemaker(schemas: Schemas) -> Bodies:
    """https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html"""
    forms = either(*_native_forms(schemas), *_mlflow_forms(schemas))
    arrays = {
        "predictions" if name == "prediction" else name: array(one, 1)
        for name, one in schemas.members.items()
    }
    answers = either(*_native_answers(schemas), only(arrays))
    examples = _native_examples(schemas) | _mlflow_examples(schemas)
    return Bodies(
        "Predict (SageMaker, MLflow)",
        "The native forms, and those of MLflow; the columns of `dataframe_split` may be in any order, those "
        "of `inputs` of any one length. A table needs no header; of JSON lines, each is a row. The answer is "
        "in the request's type, or in the one that `Accept` asks for.",
        {
            JSON: _shown(schemas.name("SageMakerRequest", forms), examples),
            CSV: _table(schemas, "BareTable", header=False),
            JSON_LINES: _lines(schemas.examples()),
        },
        {
            JSON: {"schema": schemas.name("SageMakerResponse", answers)},
            CSV: {"schema": TEXT},
            JSON_LINES: {"schema": TEXT},
        },
    )


def azure(schemas: Schemas) -> Bodies:
    """https://learn.microsoft.com/en-us/azure/machine-learning/how-to-deploy-online-endpoints"""
    forms = either(*_native_forms(schemas), *_azure_forms(schemas))
    results = either(*(array(schemas.members[member], 1) for member in schemas.methods.values()))
    records = only({"WebServiceOutput0": array(schemas.answer, 1)})
    answers = either(*_native_answers(schemas), results, only({"Results": either(results, records)}))
    examples = {
        "data": {"data": schemas.examples()},
        "Inputs": {"Inputs": {"data": [schemas.named_values(row) for row in schemas.examples()]}},
    }
    return Bodies(
        "Predict (Azure Machine Learning)",
        "`data` and `input_data` are answered with the labels alone, or with what `method` names; columns "
        "may be in any order and of any one length.",
        {JSON: _shown(schemas.name("AzureRequest", forms), _native_examples(schemas) | examples)},
        {JSON: {"schema": schemas.name("AzureResponse", answers)}},
    )


# By the name that a route has for its protocol.
PROTOCOLS: dict[str, Callable[[Schemas], Bodies]] = {
    "native": native,
    "inference": inference,
    "tfserving": tfserving,
    "vertex": vertex,
    "sagemaker": sagemaker,
    "azure": azure,
}


def _mlflow_forms(schemas: Schemas) -> list[Schema]:
    """https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally/, and Amazon's own algorithms'."""
    row, record = schemas.row, schemas.record
    anything: dict[str, Schema] = {"params": {}}
    return [
        only({"instances": schemas.rows(row, record, only({"features": row}))}),
        only({"dataframe_split": _split(schemas), **anything}, ["dataframe_split"]),
        only({"dataframe_records": schemas.rows(row, record), **anything}, ["dataframe_records"]),
        only({"inputs": either(schemas.rows(row, record), _columns(schemas)), **anything}, ["inputs"]),
    ]


def _mlflow_examples(schemas: Schemas) -> dict[str, Any]:
    rows, names = schemas.examples(), list(schemas.signature.names)
    return {
        "dataframe_split": {"dataframe_split": {"columns": names, "data": rows}},
        "dataframe_records": {"dataframe_records": [schemas.named_values(row) for row in rows]},
    }


def _azure_forms(schemas: Schemas) -> list[Schema]:
    """Of scoring scripts, MLflow models and automated machine learning, and of the designer."""
    method: Schema = {"enum": list(schemas.methods)}
    rows = schemas.rows(schemas.row, schemas.record)
    table = schemas.name("AzureTable", either(rows, _split(schemas), _columns(schemas)))
    options: dict[str, Schema] = {"GlobalParameters": {"properties": {"method": method}}}
    return [
        only({"data": table, "method": method}, ["data"]),
        only({"input_data": table, "params": {}}, ["input_data"]),
        only({"Inputs": only({"data": table}), **options}, ["Inputs"]),
        only({"Inputs": _designed(table), "GlobalParameters": {}}, ["Inputs"]),
    ]


def _designed(table: Schema) -> Schema:
    """A table under a name that somebody gave it."""
    return {
        "type": "object",
        "minProperties": 1,
        "maxProperties": 1,
        "propertyNames": {"pattern": "^(?!data$)"},
        "additionalProperties": table,
    }


def _native_forms(schemas: Schemas) -> list[Schema]:
    row, record = schemas.row, schemas.record
    return [
        only({"features": row}),
        only({"features": schemas.rows(row)}),
        record,
        only({"instances": schemas.rows(row, record)}),
    ]


def _native_answers(schemas: Schemas) -> list[Schema]:
    return [schemas.arrays, schemas.answer, only({"predictions": array(schemas.answer, 1)})]


def _native_examples(schemas: Schemas) -> dict[str, Any]:
    first, *more = schemas.examples()
    named = schemas.named_values(first)
    return {
        "one row": {"features": first},
        "several rows": {"features": [first, *more]},
        "a record": named,
        "several of either": {"instances": [named, *more]},
    }


def _table(schemas: Schemas, kind: str, header: bool) -> dict[str, Any]:
    schema = {"type": "string", "pattern": patterns.table(schemas.manifest, header)}
    return {
        "schema": schemas.name(kind, schema),
        "example": patterns.example(schemas.manifest, schemas.examples()),
    }


def _lines(documents: Sequence[Any]) -> dict[str, Any]:
    """Told in words: a program that tries examples out may not know how to send these.

    Markdown knows no marks in code, but some programs take more for the end of a line than it does.
    """
    shown = "".join(f"\n    {visible(dumps(document).decode())}" for document in documents)
    return {"schema": {"type": "string", "description": f"one document a line:\n{shown}"}}


def _split(schemas: Schemas) -> Schema:
    """A pandas table, split, its columns as the model has them."""
    names: Schema = {"const": list(schemas.signature.names)}
    named = only({"columns": names, "index": {}, "data": schemas.rows(schemas.row)}, ["columns", "data"])
    bare = only({"index": {}, "data": schemas.rows(schemas.row, schemas.record)}, ["data"])
    return either(named, bare)


def _columns(schemas: Schemas) -> Schema:
    """The values of each feature, of one row: JSON Schema has no word for lists of one length."""
    values = schemas.values
    if len(values) == 1:
        return only({name: array(value, 1, schemas.max_rows) for name, value in values.items()})
    return only({name: exactly(value) for name, value in values.items()})


def _shown(schema: Schema, examples: Mapping[str, Any]) -> dict[str, Any]:
    return {"schema": schema, "examples": {name: {"value": value} for name, value in examples.items()}}


def _whole_tensors(schemas: Schemas) -> list[Schema]:
    """Of all features, in one row or two."""
    width, row = len(schemas.signature.names), schemas.row
    one, two = either(row, exactly(row)), exactly(row, row)
    return [
        exactly(_tensor(_names(schemas), {"const": [rows, width]}, _datatypes(schemas), data))
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
            exactly(schemas.values[feature.name]),
        )
        for feature in features
    ]
    return [exactly(*tensors)]


def _tensor(names: list[str], shape: Schema, datatypes: list[str], data: Schema) -> Schema:
    return members({"name": {"enum": names}, "shape": shape, "datatype": {"enum": datatypes}, "data": data})


def _names(schemas: Schemas) -> list[str]:
    """Those that a tensor of all features may have."""
    inputs = schemas.manifest.inputs
    known = [inputs[0].name] if len(inputs) == 1 else []
    return list(dict.fromkeys((*known, "input-0", "input")))


def _datatypes(schemas: Schemas) -> list[str]:
    mixed = any(feature.kind == "category" for feature in schemas.manifest.features)
    return ["BYTES"] if mixed else _FLOATS


def _wanted(schemas: Schemas) -> list[Schema]:
    """Some of the outputs in any order, or none, which stands for all."""
    outputs = [_output(tensor) for tensor in schemas.tensors]
    counts = range(len(outputs), 0, -1)
    selections = [exactly(*some) for count in counts for some in permutations(outputs, count)]
    return [*selections, {"type": "array", "maxItems": 0}]


def _output(tensor: Tensor) -> Schema:
    parameters = {"binary_data": _CHOICE}
    if tensor.entries:
        parameters["classification"] = {"type": ["integer", "null"], "minimum": 1}
    return members({"name": {"const": tensor.name}, "parameters": _parameters(parameters)}, ["name"])


def _parameters(known: Mapping[str, Schema]) -> Schema:
    return {**members(known, []), "type": ["object", "null"]}


def _inference_response(schemas: Schemas) -> Schema:
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


def _inference_examples(schemas: Schemas) -> dict[str, Any]:
    first = schemas.examples(1)[0]
    name, datatype = _names(schemas)[0], _datatypes(schemas)[0]
    tensor = {"name": name, "shape": [1, len(first)], "datatype": datatype, "data": first}
    named = {"inputs": [tensor], "id": "a name for it"}
    return {"one row": {"inputs": [tensor]}, "with an id": named}
