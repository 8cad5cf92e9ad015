"""Rows as people send them: truth values, columns that are not read, names misspelt, lists of numbers."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from routes import answers
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from unpickled.export import export_pipeline
from unpickled.server import Config, create_app

PARCEL = {"carrier": "dhl", "zip": "01067", "weight": 2.5, "pieces": 3, "express": True}


def parcels() -> tuple[pd.DataFrame, np.ndarray]:
    """300 parcels with an identifier and a note, which the pipeline drops, and whether each came late."""
    random = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "order_id": np.arange(300),
            "carrier": random.choice(["dhl", "ups", "gls"], 300),
            "zip": random.choice(["01067", "10115", "50667"], 300),
            "weight": random.gamma(2, 5, 300).round(2),
            "pieces": random.integers(1, 9, 300),
            "express": random.random(300) < 0.4,
            "note": random.choice(["", "call first"], 300),
        }
    )
    return frame, np.where(frame["express"] ^ (frame["zip"] == "01067"), "late", "on time")


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    """A pipeline that drops the identifier and the note, and passes the truth values on."""
    columns = ColumnTransformer(
        [
            ("words", OneHotEncoder(handle_unknown="ignore"), ["carrier", "zip"]),
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), ["weight", "pieces"]),
            ("flag", "passthrough", ["express"]),
        ]
    )
    return make_pipeline(columns, LogisticRegression()).fit(*parcels())


@pytest.fixture(scope="module")
def folder(pipeline, tmp_path_factory) -> str:
    """A models folder with parcels alone."""
    path = tmp_path_factory.mktemp("models")
    frame, late = parcels()
    export_pipeline(pipeline, frame, late, name="parcels", models=path)
    return str(path)


@pytest.fixture(scope="module")
def client(folder):
    """A client of a server with the settings' defaults, and all protocols."""
    return create_app(Config.of(models=folder, predict_route="/vertex")).test_client()


def post(client, document, path="/predict"):
    """The answer to a document whose members keep their order."""
    return client.post(path, data=json.dumps(document), content_type="application/json")


@pytest.mark.parametrize("spelling", ["True", "true", "TRUE"])
def test_truth_values_are_taken_over_every_route(client, pipeline, spelling):
    """A column that was boolean takes true and false in every form, and as CSV writes them."""
    frame = parcels()[0].head(20)
    rows = frame[list(PARCEL)]
    table = frame.astype({"express": object}).replace({"express": {True: spelling, False: "false"}})
    cells = {name: rows[name].tolist() for name in rows}
    expected = pipeline.predict_proba(frame)
    for route, probabilities in answers(client, "parcels", cells, table.to_csv(index=False).encode()):
        assert np.abs(probabilities - expected).max() < 1e-9, route


def test_one_row_takes_truth_values(client, pipeline):
    """An array and a record of one row take true."""
    array = client.post("/predict", json={"features": list(PARCEL.values())}).json
    record = client.post("/predict", json=PARCEL).json
    expected = pipeline.predict_proba(pd.DataFrame([PARCEL | {"order_id": 0, "note": ""}]))[0]
    assert array["probabilities"][0] == pytest.approx(expected.tolist(), abs=1e-12)
    assert list(record["probabilities"].values()) == pytest.approx(expected.tolist(), abs=1e-12)
    refused = client.post("/predict", json=PARCEL | {"pieces": True})
    assert refused.json["error"].endswith("is true, but a number belongs there: send 1")
    quoted = client.post("/predict", json=PARCEL | {"express": "true"}).json["error"]
    assert quoted.endswith("is text ('true'), but true or false belongs there: leave out the quotes")


def test_examples_have_truth_values(client):
    """Each example in the OpenAPI document has true or false for a column that was boolean, and is taken."""
    paths = client.get("/openapi.json").json["paths"]
    bodies = [
        (path, item["post"]["requestBody"]["content"]) for path, item in paths.items() if "post" in item
    ]
    examples = [
        (path, example["value"])
        for path, content in bodies
        for example in content.get("application/json", {}).get("examples", {}).values()
    ]
    assert {path for path, _ in examples} >= {
        "/predict",
        "/score",
        "/invocations",
        "/v2/models/parcels/infer",
    }
    for path, document in examples:
        assert re.search("true|false", json.dumps(document))
        assert post(client, document, path).status_code == 200, path
    table = dict(bodies)["/predict"]["text/csv"]["example"]
    assert re.search(",(true|false)\n", table)
    assert client.post("/predict", data=table, content_type="text/csv").status_code == 200


def test_golden_rows_have_truth_values(client):
    """A golden row has nothing but 1 and 0 for a column that was boolean."""
    manifest = client.get("/models/parcels").json["manifest"]
    place = [feature["name"] for feature in manifest["features"]].index("express")
    assert {row[place] for row in manifest["golden"]["rows"]} == {0, 1}


EXTRA = PARCEL | {"order_id": 7, "note": "call first"}
ROWS = {
    "record": ("/predict", EXTRA),
    "records": ("/predict", {"instances": [PARCEL, EXTRA]}),
    "V1": ("/v1/models/parcels:predict", {"inputs": {name: [value] for name, value in EXTRA.items()}}),
    "MLflow": ("/invocations", {"dataframe_split": {"columns": list(EXTRA), "data": [list(EXTRA.values())]}}),
    "Azure": ("/score", {"data": [EXTRA]}),
    "V2": (
        "/v2/models/parcels/infer",
        {
            "inputs": [
                {
                    "name": name,
                    "shape": [1],
                    "datatype": "BYTES" if isinstance(value, str) else "FP64",
                    "data": [value],
                }
                for name, value in EXTRA.items()
            ]
        },
    ),
}


@pytest.mark.parametrize("form", ROWS)
def test_columns_of_the_training_table_are_ignored_and_named(client, form):
    """Columns that training had and the pipeline drops may be sent: a header names the ignored ones."""
    path, body = ROWS[form]
    answer = post(client, body, path)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Ignored-Columns"] == "order_id, note"
    table = pd.DataFrame([EXTRA]).to_csv(index=False)
    answer = client.post("/predict", data=table, content_type="text/csv")
    assert answer.headers["Ignored-Columns"] == "order_id, note"
    assert "Ignored-Columns" not in client.post("/predict", json=PARCEL).headers


def test_other_columns_are_refused_unless_the_settings_say_otherwise(client, folder):
    """A column that training did not have is refused, or ignored where extra_columns says so."""
    row = PARCEL | {"größe": 1, "": 2}
    refused = post(client, row)
    assert refused.status_code == 400
    assert "features 'größe', '' of row 0 are unknown to the model: it takes" in refused.json["error"]
    lenient = create_app(Config.of(models=folder, extra_columns="ignore")).test_client()
    answer = post(lenient, row)
    assert answer.json == client.post("/predict", json=PARCEL).json
    assert answer.headers["Ignored-Columns"] == "gr%C3%B6%C3%9Fe, "


def test_all_wrong_names_are_told_at_once(client):
    """The error names every unknown and every missing name, suggests the one that was meant, offers null."""
    row = {"carrier": "dhl", "zipp": "01067", "weigth": 1, "pieces": 3, "express": False}
    error = post(client, row).json["error"]
    assert error == (
        "features 'zipp', 'weigth' of row 0 are unknown to the model: did you mean 'zip'? it takes carrier, "
        "zip, weight, pieces, express; features 'zip', 'weight' of row 0 are not given: send "
        "null where it is missing"
    )
    row = {name: value for name, value in PARCEL.items() if name != "weight"}
    error = post(client, row).json["error"]
    assert error == "feature 'weight' of row 0 is not given: send null where it is missing"


@pytest.mark.parametrize("values", [[1, 2, 5], [0.5, 1.5, 2.5]])
def test_a_list_of_numbers_takes_no_other(tmp_path, values):
    """Where an encoder refuses unknown numbers, so does the server, in a sentence with the list."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"rooms": random.choice(values, 200), "size": random.normal(50, 9, 200)})
    columns = make_column_transformer((OneHotEncoder(), ["rooms"]), (StandardScaler(), ["size"]))
    fitted = make_pipeline(columns, LogisticRegression()).fit(frame, frame["rooms"] == values[0])
    export_pipeline(fitted, frame, name="rooms", models=tmp_path)
    client = create_app(Config.of(models=str(tmp_path))).test_client()
    for body in ({"features": [values[1], 50]}, {"instances": [{"rooms": float(values[1]), "size": 50}]}):
        assert client.post("/predict", json=body).status_code == 200
    table = client.post("/predict", data=f"rooms,size\n{values[2]},50\n7,50\n", content_type="text/csv")
    for refused in (client.post("/predict", json={"features": [7, 50]}), table):
        known = ", ".join(map(str, values))
        assert f"is 7, which the model was not fitted with: it knows {known}" in refused.json["error"]
    assert json.loads(client.get("/openapi.json").data)["components"]["schemas"]["rooms.1.Row"]


FOREIGN = {
    '{"data": [[1, 2]]}': "'data' is no form of this path (/score reads it): send {\"features\"",
    '{"inputs": [[1, 2]]}': "(/invocations and /v2/models/<name>/infer read it)",
    '{"rows": [[1, 2]]}': "'rows' is no form of this path: send",
    '{"features": [{"weight": 1}]}': "'features' holds objects, but it is for arrays: send records in 'inst",
}


@pytest.mark.parametrize("body", FOREIGN)
def test_the_form_of_another_server_is_told_from_this_one(client, body):
    """A document in the form of another server is refused with the form, or the path, that is meant."""
    answer = client.post("/predict", data=body)
    assert answer.status_code == 400
    assert FOREIGN[body] in answer.json["error"]
