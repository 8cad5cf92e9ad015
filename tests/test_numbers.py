"""Models that answer numbers, over every protocol, with one target and with several."""

import json

import jsonschema_rs
import numpy as np
import pandas as pd
import pytest
from conftest import FLOWER, FLOWERS
from handmade import NUMBERS, regressor, store
from msgspec.structs import replace
from onnx import helper
from routes import answers

from unpickled.server import Config, create_app

NAMES = ["area", "areas", "spending"]
RECORD = dict(zip(FLOWERS, FLOWER, strict=True))
MATRIX = {"inputs": [{"name": "input-0", "shape": [1, 4], "datatype": "FP64", "data": FLOWER}]}
# Path and body of a request, and the answer to it, in which "number" is a number or the list of several, and
# "named" the number or an object of several.
FORMS = {
    "array": ("/predict", {"features": FLOWER}, {"prediction": ["number"]}),
    "arrays": ("/predict", {"features": [FLOWER, FLOWER]}, {"prediction": ["number", "number"]}),
    "record": ("/predict", RECORD, {"prediction": "named"}),
    "instances": ("/predict", {"instances": [RECORD]}, {"predictions": [{"prediction": "named"}]}),
    "Vertex": ("/vertex", {"instances": [FLOWER]}, {"predictions": [{"prediction": "named"}]}),
    "V1 rows": ("/v1/models/{}:predict", {"instances": [FLOWER]}, {"predictions": ["number"]}),
    "V1 columns": ("/v1/models/{}:predict", {"inputs": [FLOWER]}, {"outputs": ["number"]}),
    "MLflow": ("/invocations", {"inputs": [FLOWER]}, {"predictions": ["number"]}),
    "instances of SageMaker": (
        "/invocations",
        {"instances": [FLOWER]},
        {"predictions": [{"prediction": "named"}]},
    ),
    "Azure input_data": ("/score", {"input_data": {"columns": FLOWERS, "data": [FLOWER]}}, ["number"]),
    "Azure": ("/score", {"data": [FLOWER]}, ["number"]),
    "designer": (
        "/score",
        {"Inputs": {"input1": [FLOWER]}},
        {"Results": {"WebServiceOutput0": [{"prediction": "named"}]}},
    ),
}
LOGARITHM = [helper.make_node("Log", ["X"], ["prediction"])]


@pytest.fixture(scope="module")
def clients(regressors):
    """A client for each model, which is the default model of its server; all protocols are served."""
    settings = {"models": str(regressors.path), "predict_route": "/vertex"}
    return {name: create_app(Config.of(**settings, default_model=name)).test_client() for name in NAMES}


@pytest.fixture(scope="module")
def logarithm(tmp_path_factory):
    """A client of a model whose answer to 0 is infinite, and to numbers below it NaN."""
    folder = tmp_path_factory.mktemp("models")
    golden = replace(NUMBERS.golden, rows=((1.0,),), scores=((0.0,),))
    store(folder, "logarithm", regressor(LOGARITHM, golden=golden))
    return create_app(Config(models=str(folder))).test_client()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("count", [1, 40])
def test_every_route_answers_numbers(regressors, clients, name, count):
    """Each form of each protocol is answered with the numbers that the pipeline predicts."""
    rows = regressors.rows[name][:count]
    frame = pd.DataFrame(rows, columns=None if name == "spending" else FLOWERS)
    cells = {column: frame[column].astype(object).where(frame[column].notna(), None) for column in frame}
    expected = regressors.pipelines[name].predict(rows).reshape(count, -1)
    table = frame.to_csv(index=False).encode()
    cells = {column: values.tolist() for column, values in cells.items()}
    for route, numbers in answers(clients[name], name, cells, table, member="prediction"):
        np.testing.assert_allclose(numbers, expected, rtol=1e-9, err_msg=route)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["area", "areas"])
def test_forms(regressors, clients, name, form):
    """A number stands where clients look for it; several are a list, in records an object with names."""
    path, body, expected = FORMS[form]
    numbers = np.ravel(regressors.pipelines[name].predict([FLOWER])).tolist()
    several = len(numbers) > 1
    named = dict(zip(["sepal", "petal"], numbers, strict=True)) if several else numbers[0]
    text = json.dumps(expected).replace('"named"', json.dumps(named))
    text = text.replace('"number"', json.dumps(numbers if several else numbers[0]))
    answer = clients[name].post(path.format(name), json=body)
    assert answer.status_code == 200, answer.text
    assert shape(answer.json) == shape(json.loads(text))
    assert leaves(answer.json) == pytest.approx(leaves(json.loads(text)), rel=1e-12)


def test_azure_is_told_that_there_are_no_probabilities(clients):
    """A method that no regressor has is refused with the one that it has."""
    answer = clients["area"].post("/score", json={"data": [FLOWER], "method": "predict_proba"})
    assert answer.status_code == 400
    assert answer.json["error"].endswith("this model answers 'predict' only: it has no probabilities")


def shape(document):
    """A document with None for each number in it."""
    if isinstance(document, dict):
        return {key: shape(value) for key, value in document.items()}
    return [shape(value) for value in document] if isinstance(document, list) else None


def leaves(document):
    """The numbers of a document."""
    values = list(document.values()) if isinstance(document, dict) else document
    return [number for value in values for number in leaves(value)] if isinstance(values, list) else [values]


@pytest.mark.parametrize(("name", "length"), [("area", []), ("areas", [2])])
def test_v2(clients, name, length):
    """Metadata and answer agree; one row of one tensor is answered in the same words as any other request."""
    client, path = clients[name], f"/v2/models/{name}"
    tensor = {"name": "prediction", "datatype": "FP64", "shape": [-1, *length]}
    assert client.get(path).json["outputs"] == [tensor]
    quick = client.post(f"{path}/infer", json=MATRIX)
    assert quick.json["outputs"][0]["shape"] == [1, *length]
    assert (
        quick.data == client.post(f"{path}/infer", json={**MATRIX, "outputs": [{"name": "prediction"}]}).data
    )
    ranked = [{"name": "prediction", "parameters": {"classification": 1}}]
    refused = client.post(f"{path}/infer", json={**MATRIX, "outputs": ranked})
    assert (refused.status_code, refused.json["error"]) == (
        400,
        "classification is of classes, not of 'prediction'",
    )


@pytest.mark.parametrize("name", NAMES)
def test_answers_are_as_described(clients, name):
    """Every example of OpenAPI is answered, and every answer in JSON is valid by its schema."""
    document = clients[name].get("/openapi.json").json
    components = {"components": {"schemas": document["components"]["schemas"]}}
    checked = 0
    for path, methods in document["paths"].items():
        operation = methods.get("post", {})
        body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        for example in body.get("examples", {}).values():
            answer = clients[name].post(path, json=example["value"])
            described = operation["responses"]["200"]["content"]["application/json"]["schema"]
            jsonschema_rs.validate({**described, **components}, answer.json)
            checked += 1
    assert checked > 20


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_no_number_no_answer(logarithm, value):
    """An answer that is NaN or infinite is refused, with its row, by each way to an answer."""
    bodies = [{"features": [value]}, {"x": value}, {"features": [[1.0], [value]]}]
    refused = [logarithm.post("/predict", json=body) for body in bodies]
    tensor = {"name": "input-0", "shape": [1, 1], "datatype": "FP64", "data": [value]}
    refused.append(logarithm.post("/v2/models/logarithm/infer", json={"inputs": [tensor]}))
    refused.append(logarithm.post("/predict", data=f"x\n{value}\n", content_type="text/csv"))
    assert [answer.status_code for answer in refused] == [500] * 5
    rows = [0, 0, 1, 0, 0]
    for answer, row in zip(refused, rows, strict=True):
        assert f"answer to row {row} is not a number" in answer.json["error"]


def test_the_card(clients):
    """The card of a model has its targets, their deciles and the errors on the rows that were measured."""
    manifest = clients["areas"].get("/models/areas").json["manifest"]
    assert manifest["outputs"]["targets"] == ["sepal", "petal"]
    assert [len(deciles) for deciles in manifest["outputs"]["deciles"]] == [9, 9]
    assert [errors["target"] for errors in manifest["training"]["errors"]] == ["sepal", "petal"]
    assert "classes" not in manifest
