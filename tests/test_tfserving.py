"""The REST API of TensorFlow Serving and the V1 protocol of KServe, as their clients use them."""

import json

import numpy as np
import pytest
from conftest import FLOWER, FLOWERS, PERSON, SPECIES, alike, shelve

from unpickled.server import Config, create_app

PREDICT = "/v1/models/iris:predict"
VIRGINICA = [6.7, 3.0, 5.2, 2.3]


def post(client, document, path=PREDICT):
    answer = client.post(path, data=document if isinstance(document, str) else json.dumps(document))
    assert answer.status_code == 200, answer.text
    assert answer.content_type == "application/json"
    return answer.json


def refused(client, document):
    answer = client.post(PREDICT, data=document if isinstance(document, str) else json.dumps(document))
    assert answer.status_code == 400, answer.text
    return answer.json["error"]


@pytest.fixture(scope="module")
def versions(models, tmp_path_factory):
    """A client of a model with two versions, the older one labelled, and a third that cannot be loaded."""
    home = tmp_path_factory.mktemp("versions")
    folder = shelve(models, home / "flowers", "iris", "forest")
    (folder / "3").mkdir()
    (folder / "3" / "model.onnx").write_bytes(b"no model")
    (folder / "serving.toml").write_text('load = "all"\n[labels]\nold = 1\n')
    return create_app(Config(models=str(home))).test_client()


@pytest.mark.parametrize("name", ["iris", "forest"])
def test_instances(client, models, name):
    """Each row is answered with an object of named outputs, equal to scikit-learn's."""
    rows, pipeline = models.rows[name], models.pipelines[name]
    answer = post(client, {"instances": rows.tolist()}, f"/v1/models/{name}:predict")
    predictions = answer["predictions"]
    assert [row["prediction"] for row in predictions] == pipeline.predict(rows).tolist()
    scores = [row["probabilities"] for row in predictions]
    np.testing.assert_allclose(scores, pipeline.predict_proba(rows), rtol=0, atol=1e-7)


def test_instances_by_name(client):
    """Instances may be objects of feature names; the name of a signature changes nothing."""
    record = dict(zip(reversed(FLOWERS), reversed(FLOWER), strict=True))
    plain = post(client, {"instances": [FLOWER]})
    assert plain["predictions"][0]["predicted_class"] == "setosa"
    assert post(client, {"instances": [record]}) == plain
    assert post(client, {"signature_name": "serving_default", "instances": [record]}) == plain


def test_inputs_in_columns(client):
    """Inputs are named columns, or rows; outputs are named columns."""
    columns = dict(zip(FLOWERS, zip(FLOWER, VIRGINICA, strict=True), strict=True))
    answer = post(client, {"inputs": columns, "signature_name": "serving_default"})
    rows = post(client, {"instances": [FLOWER, VIRGINICA]})["predictions"]
    assert answer["outputs"] == {name: [row[name] for row in rows] for name in rows[0]}
    assert post(client, {"inputs": [FLOWER, VIRGINICA]}) == answer


def test_gaps_and_categories(client):
    """null and NaN are missing values, in columns and in a row alone."""
    columns = {name: [value, value] for name, value in PERSON.items()} | {"age": [None, float("nan")]}
    first, second = post(client, {"inputs": columns}, "/v1/models/people:predict")["outputs"]["probabilities"]
    assert alike(json.dumps(first), json.dumps(second))
    alone = post(client, {"instances": [PERSON | {"age": None}]}, "/v1/models/people:predict")
    assert alike(json.dumps(alone["predictions"][0]["probabilities"]), json.dumps(first))


FAULTS = {
    '{"instances": [[1, 2, 3]]}': "row 0 has 3 values",
    '{"instances": []}': "zero rows",
    '{"instances": 5}': "'instances' is not an array",
    '{"inputs": 5}': "'inputs' is not an array",
    '{"inputs": {"sepal_length": [1, 2]}}': "features 'sepal_width', 'petal_length', 'petal_width' of row 0",
    '{"instances": [[1,2,3,4]], "inputs": [[1,2,3,4]]}': "'instances', 'inputs' stands in the body",
    '{"instances": [[1,2,3,4]], "instances": [[1,2,3,4]]}': "'instances' of the body is given twice",
    '{"instances": [[1,2,3,4]], "examples": []}': "'examples' stands beside 'instances'",
    '{"examples": []}': "nothing that is known stands in the body",
    "[]": "the body is not an object",
    "{": "the body is not JSON",
}


@pytest.mark.parametrize("document", FAULTS)
def test_faults(client, document):
    """The reason of a refusal is in "error", where their clients look for it."""
    assert FAULTS[document] in refused(client, document)


def test_status(versions):
    """Versions have the states of TensorFlow Serving, and the model has the state of KServe."""
    answer = versions.get("/v1/models/flowers").json
    assert (answer["name"], answer["ready"]) == ("flowers", True)
    states = {state["version"]: state for state in answer["model_version_status"]}
    assert {number: state["state"] for number, state in states.items()} == {
        "3": "END",
        "2": "AVAILABLE",
        "1": "AVAILABLE",
    }
    assert states["2"]["status"] == {"error_code": "OK", "error_message": ""}
    assert states["3"]["status"]["error_message"]
    for path in ("/v1/models/flowers/versions/1", "/v1/models/flowers/labels/old"):
        assert versions.get(path).json["model_version_status"] == [states["1"]]


def test_versions_and_labels(versions):
    """A version or a label has a path; an unknown one is answered with 404."""
    for place in ("versions/1", "labels/old", "versions/2"):
        answer = versions.post(f"/v1/models/flowers/{place}:predict", json={"instances": [FLOWER]})
        assert answer.headers["Model-Version"] == ("2" if place.endswith("2") else "1")
    for place in ("versions/9", "labels/new"):
        assert versions.post(f"/v1/models/flowers/{place}:predict", json={"instances": []}).status_code == 404
        assert versions.get(f"/v1/models/flowers/{place}").status_code == 404
        assert versions.get(f"/v1/models/flowers/{place}/metadata").status_code == 404


def test_a_model_that_is_not_served(models, tmp_path):
    """A model that cannot be loaded is answered with 503, an unknown one with 404."""
    shelve(models, tmp_path / "iris", "iris")
    (tmp_path / "broken" / "1").mkdir(parents=True)
    (tmp_path / "broken" / "1" / "model.onnx").write_bytes(b"no model")
    client = create_app(Config(models=str(tmp_path), default_model="iris")).test_client()
    assert client.get("/v1/models").json == {"models": ["iris"]}
    assert client.get("/v1/models/broken").status_code == 503
    assert client.get("/v1/models/nothing").status_code == 404


def test_metadata(client):
    """The signature names every feature and every output, with their types."""
    answer = client.get("/v1/models/people/metadata").json
    assert answer["model_spec"] == {"name": "people", "signature_name": "", "version": "1"}
    signature = answer["metadata"]["signature_def"]["signature_def"]["serving_default"]
    types = {name: tensor["dtype"] for name, tensor in signature["inputs"].items()}
    assert types == {"age": "DT_DOUBLE", "income": "DT_DOUBLE", "city": "DT_STRING", "plan": "DT_STRING"}
    columns = {name: [PERSON[name]] for name in types}
    outputs = post(client, {"inputs": columns}, "/v1/models/people:predict")["outputs"]
    assert list(outputs) == list(signature["outputs"])
    assert signature["outputs"]["prediction"]["dtype"] == "DT_STRING"
    sizes = [size["size"] for size in signature["outputs"]["probabilities"]["tensor_shape"]["dim"]]
    assert sizes == ["-1", str(len(outputs["probabilities"][0]))]


def test_classes_by_name(client):
    """The name of the class stands beside its label."""
    predictions = post(client, {"instances": [FLOWER, VIRGINICA]})["predictions"]
    assert [row["predicted_class"] for row in predictions] == [SPECIES[0], SPECIES[2]]
