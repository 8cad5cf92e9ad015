"""Containers in clouds: the requests of SageMaker, MLflow's clients, Vertex AI and Azure ML."""

import io
import json
import sys

import numpy as np
import pandas as pd
import pytest
from conftest import FLOWER, FLOWERS, PERSON, SPECIES, free_port, serving, shelve
from handmade import embed, graph, store

from unpickled.server import Config, create_app
from unpickled.server.artifact.manifest import Feature, Input
from unpickled.server.config import Limits, Traffic

VIRGINICA = [6.7, 3.0, 5.2, 2.3]
ROWS = [FLOWER, VIRGINICA]
FRAME = pd.DataFrame(ROWS, columns=FLOWERS)
LINES = "application/jsonlines"


def ask(client, body, path="/invocations", kind="application/json", accept=None):
    headers = {"Content-Type": kind} | ({"Accept": accept} if accept else {})
    return client.post(path, data=body if isinstance(body, str) else json.dumps(body), headers=headers)


def post(client, body, path="/invocations", **how):
    answer = ask(client, body, path, **how)
    assert answer.status_code == 200, answer.text
    return answer.json


def refused(client, body, path="/invocations", **how):
    answer = ask(client, body, path, **how)
    assert answer.status_code == 400, answer.text
    return answer.json["error"]


@pytest.fixture
def people(models):
    """A client of a server whose default model has categories and numbers with gaps."""
    return create_app(Config(models=str(models.path), default_model="people")).test_client()


@pytest.fixture
def records(client):
    """The native answer to both rows, as records."""
    return post(client, {"instances": ROWS}, "/predict")["predictions"]


def test_ping(client, tmp_path):
    """SageMaker's health check is answered with 200 once every model is served, with 503 before."""
    assert client.get("/ping").status_code == 200
    (tmp_path / "broken" / "1").mkdir(parents=True)
    (tmp_path / "broken" / "1" / "model.onnx").write_bytes(b"no model")
    answer = create_app(Config(models=str(tmp_path))).test_client().get("/ping")
    assert (answer.status_code, answer.json) == (503, {"ready": False})


@pytest.mark.parametrize(
    "body", [{"features": ROWS}, {"instances": ROWS}, dict(zip(FLOWERS, FLOWER, strict=True))]
)
def test_invocations_take_native_forms(client, body):
    """The native forms of JSON are answered as they are at /predict."""
    for kind in ("application/json; charset=utf-8", "application/octet-stream", ""):
        assert ask(client, body, kind=kind).data == ask(client, body, "/predict").data


def test_instances_of_amazons_algorithms(client, records):
    """{"features": row} is a row, both among instances and as a line."""
    wrapped = [{"features": row} for row in ROWS]
    assert post(client, {"instances": wrapped}) == {"predictions": records}
    lines = ask(client, "\n".join(map(json.dumps, wrapped)), kind=LINES)
    assert list(map(json.loads, lines.text.splitlines())) == records


def mlflow(frame):
    return [
        {"dataframe_split": frame.to_dict(orient="split")},
        {"dataframe_split": frame.to_dict(orient="split", index=False), "params": {"x": 1}},
        {"dataframe_records": frame.to_dict(orient="records")},
        {"inputs": frame.to_dict(orient="list")},
    ]


@pytest.mark.parametrize("form", range(4))
def test_mlflow_forms(client, models, form):
    """A table in any form of MLflow's clients, its columns in any order, is answered with predictions."""
    body = mlflow(FRAME[FLOWERS[::-1]])[form]
    answer = post(client, body)
    pipeline = models.pipelines["iris"]
    assert answer["predictions"] == pipeline.predict(ROWS).tolist()
    assert answer["predicted_class"] == [SPECIES[label] for label in answer["predictions"]]
    np.testing.assert_allclose(answer["probabilities"], pipeline.predict_proba(ROWS), rtol=0, atol=1e-12)


@pytest.mark.parametrize("form", range(4))
def test_mlflow_forms_with_gaps(people, models, form):
    """A missing number may be NaN, as Python writes it, or null."""
    table = models.rows["people"].head(60)
    assert table["age"].isna().any()
    answer = post(people, mlflow(table)[form])
    assert answer["predictions"] == models.pipelines["people"].predict(table).tolist()
    gaps = table.astype(object).where(table.notna(), None)
    assert post(people, mlflow(gaps)[form]) == answer


def test_rows_without_names(client):
    """Rows without names of columns are in the order of the features."""
    expected = post(client, mlflow(FRAME)[0])
    assert post(client, {"inputs": ROWS}) == expected
    assert post(client, {"dataframe_split": {"data": ROWS}}) == expected


FAULTS = {
    '{"dataframe_split": [[1, 2, 3, 4]]}': "'dataframe_split' is not an object of",
    '{"dataframe_split": {"columns": ["a"], "rows": [[1]]}}': "'dataframe_split' is not an object of",
    '{"dataframe_split": {"columns": ["a"], "data": [[1]]}}': "feature 'a' of row 0 is unknown",
    '{"dataframe_records": {"a": 1}}': "'dataframe_records' is not an array",
    '{"inputs": [], "dataframe_records": []}': "'inputs', 'dataframe_records' stands in the body",
    '{"inputs": [], "signature_name": "x"}': "'signature_name' stands beside 'inputs'",
    '{"inputs": []}': "zero rows",
    '{"instances": [{"features": [1, 2]}]}': "row 0 has 2 values",
    '{"columns": [], "data": []}': "'columns' is no form of this path",
    "[[1, 2, 3, 4]]": "the body is not an object",
}


@pytest.mark.parametrize("body", FAULTS)
def test_faults_of_invocations(client, body):
    """The error says what is wrong with a document."""
    assert FAULTS[body] in refused(client, body)


@pytest.mark.parametrize("header", [False, True])
def test_invocations_take_csv(client, header):
    """A table of CSV with or without a header is answered with a table of the same kind."""
    table = FRAME.to_csv(index=False, header=header)
    answer = ask(client, table, kind="text/csv")
    assert answer.content_type == f"text/csv; charset=utf-8; header={'present' if header else 'absent'}"
    predictions = pd.read_csv(io.BytesIO(answer.data), header=0 if header else None)
    assert predictions.iloc[:, :2].values.tolist() == [[0, "setosa"], [2, "virginica"]]
    assert "line 1" in refused(client, "5.1,x,1.4,0.2\n", kind="text/csv")


def test_a_header_that_is_nearly_right(models):
    """A line with one feature's name is a header, so an unknown name in it is a mistake."""
    client = create_app(Config(models=str(models.path), default_model="people")).test_client()
    table = "age,income,city,plann\n41,2100.5,Bonn,pro\n"
    assert "feature 'plann' is unknown" in refused(client, table, kind="text/csv")


def test_invocations_take_json_lines(client, records):
    """A row or a record per line is answered with a record per line; blank lines are skipped."""
    body = f"{json.dumps(FLOWER)}\r\n\n{json.dumps(dict(zip(FLOWERS, VIRGINICA, strict=True)))}\n"
    answer = ask(client, body, kind=LINES)
    assert answer.content_type == LINES
    assert answer.data.endswith(b"\n")
    assert list(map(json.loads, answer.text.splitlines())) == records


LINE_FAULTS = {
    '[1, 2, 3, 4]\n\n[1, 2, "x", 4]\n': "line 3: feature 'petal_length' of row 1 is text",
    "[1, 2, 3, 4]\n[1, 2\n": "line 2: the body is not JSON",
    "[1, 2, 3, 4],[1, 2, 3, 4]\n": "line 1: the body is not JSON",
    "[1, 2,\n3, 4]\n": "line 1: the body is not JSON",
    "[1, 2, 3, 4],[1, 2\n3, 4]\n": "line 1: the body is not JSON",
    "\n": "zero rows",
}


@pytest.mark.parametrize("body", LINE_FAULTS)
def test_faults_of_json_lines(client, body):
    """The error has the number of the wrong line, counted with the blank ones."""
    assert LINE_FAULTS[body] in refused(client, body, kind=LINES)


@pytest.mark.parametrize("kind", ["application/json", "text/csv", LINES])
def test_accept_decides_what_comes_back(client, records, kind):
    """A client gets the type that Accept names, whatever type it sends."""
    bodies = {
        "application/json": json.dumps({"features": ROWS}),
        "text/csv": FRAME.to_csv(index=False, header=False),
        LINES: "\n".join(map(json.dumps, ROWS)),
    }
    body = bodies[kind]
    assert ask(client, body, kind=kind).content_type.startswith(kind)
    assert post(client, body, kind=kind, accept="application/json") == post(client, {"features": ROWS})
    lines = ask(client, body, kind=kind, accept=LINES)
    assert list(map(json.loads, lines.text.splitlines())) == records
    table = ask(client, body, kind=kind, accept="text/csv")
    assert table.data == ask(client, bodies["text/csv"], kind="text/csv").data


def test_other_types_are_refused(client):
    """The refusal of a media type lists those that are read."""
    answer = ask(client, "1 1:2", kind="text/libsvm")
    assert (answer.status_code, answer.json["code"]) == (415, "unsupported_media_type")
    assert "application/json, text/csv, application/jsonlines" in answer.json["error"]


def test_rows_are_limited(models):
    """The limit of rows holds for every media type."""
    app = create_app(Config(models=str(models.path), default_model="iris", limits=Limits(max_rows=1)))
    bodies = {"text/csv": "1,2,3,4\n1,2,3,4\n", LINES: "[1,2,3,4]\n[1,2,3,4]\n"}
    for kind, body in bodies.items():
        answer = ask(app.test_client(), body, kind=kind)
        assert (answer.status_code, answer.json["rows"]) == (413, 2)


AZURE = [
    {"data": ROWS},
    {"data": FRAME.to_dict(orient="records"), "method": "predict"},
    {"input_data": FRAME.to_dict(orient="split")},
    {"input_data": FRAME.to_dict(orient="list")},
    {"input_data": ROWS, "params": {}},
]


@pytest.mark.parametrize("form", range(5))
def test_score(client, form):
    """A request of Azure ML's clients is answered with a list of labels, as their scripts do."""
    assert post(client, AZURE[form], "/score") == [0, 2]


def test_score_of_automated_machine_learning(client, records):
    """{"Inputs"} is answered with {"Results"}: labels, or the probabilities if the request names them."""
    inputs = {"Inputs": {"data": FRAME.to_dict(orient="records")}}
    assert post(client, inputs, "/score") == {"Results": [0, 2]}
    scores = [list(record["probabilities"].values()) for record in records]
    document = inputs | {"GlobalParameters": {"method": "predict_proba"}}
    assert post(client, document, "/score") == {"Results": scores}
    assert post(client, {"data": ROWS, "method": "predict_proba"}, "/score") == scores
    designed = {"Inputs": {"input1": ROWS}, "GlobalParameters": {}}
    assert post(client, designed, "/score") == {"Results": {"WebServiceOutput0": records}}


def test_score_takes_native_forms(people, client):
    """Any other document is read as the native protocol, even where a value looks like a form's name."""
    assert post(client, {"features": FLOWER}, "/score") == post(client, {"features": FLOWER}, "/predict")
    body = PERSON | {"city": "data"}
    assert post(people, body, "/score") == post(people, body, "/predict")


@pytest.mark.parametrize("name", ["data", "inputs", "features", "instances", "Inputs"])
def test_features_called_as_forms(tmp_path, name):
    """A feature may have the name of a form: a number is its value, a list of rows is the form."""
    feature = Feature(name=name, kind="number", missing=False)
    inputs = (Input(name="X", dtype="float64", features=(name,)),)
    store(tmp_path, "sign", embed(graph(), name="sign", features=(feature,), inputs=inputs))
    client = create_app(Config(models=str(tmp_path))).test_client()
    record = post(client, {name: 2.0}, "/predict")
    for path in ("/score", "/invocations"):
        assert post(client, {name: 2.0}, path) == record
        assert post(client, {"instances": [{name: 2.0}]}, path) == {"predictions": [record]}
    assert post(client, {"data": [{name: 2.0}]}, "/score") == [1]
    assert post(client, {"inputs": {name: [2.0]}}, "/invocations")["predictions"] == [1]


SCORE_FAULTS = {
    '{"data": 5}': "'data' is not an array",
    '{"data": [[1, 2, 3, 4]], "input_data": []}': "'data', 'input_data' stands in the body",
    '{"data": [[1, 2, 3, 4]], "method": "explain"}': "but this model answers 'predict' or 'predict_proba'",
    '{"input_data": {"columns": ["a"], "data": [[1]]}}': "feature 'a' of row 0 is unknown",
    '{"Inputs": []}': "'Inputs' is not an object of one table",
    '{"Inputs": {"data": [[1, 2]]}}': "row 0 has 2 values",
    '{"rows": []}': "'rows' is no form of this path",
}


@pytest.mark.parametrize("body", SCORE_FAULTS)
def test_faults_of_score(client, body):
    """The error says what is wrong with a document."""
    assert SCORE_FAULTS[body] in refused(client, body, "/score")


TWICE = [
    ("/invocations", '{"dataframe_split": {"columns": ["a"], "data": [[1]], "data": [[2]]}}'),
    ("/score", '{"input_data": {"data": [[1, 2, 3, 4]], "data": [[5, 6, 7, 8]]}}'),
    (
        "/score",
        '{"Inputs": {"data": [[1, 2, 3, 4]]}, "GlobalParameters": {"method": "predict", "method": "x"}}',
    ),
]


@pytest.mark.parametrize(("path", "body"), TWICE)
def test_names_given_twice(client, path, body):
    """A name that occurs twice in an object is refused at any depth."""
    assert "is given twice" in refused(client, body, path)


def test_more_columns_than_features(client):
    """A document with 50,000 names of columns is refused in a sentence."""
    names = json.dumps([str(number) for number in range(50_000)])
    body = f'{{"dataframe_split": {{"columns": {names}, "data": [[]]}}}}'
    assert "49990 more of row 0 are unknown" in refused(client, body, "/invocations")
    columns = json.dumps({str(number): [1] for number in range(50_000)})
    assert "unknown" in refused(client, f'{{"inputs": {columns}}}', "/invocations")


CONTENT_TYPES = [
    f"application/json; x*{'9' * 5000}=a",
    "application/json; charset*=utf-8''utf-8",
    f'a/b;x="{";" * 100_000}',
    ";;;==",
]


@pytest.mark.parametrize("kind", CONTENT_TYPES)
@pytest.mark.parametrize("path", ["/predict", "/invocations"])
def test_odd_content_types(client, path, kind):
    """A malformed or huge Content-Type gets an answer in JSON."""
    answer = client.post(path, data=json.dumps({"instances": ROWS}), headers={"Content-Type": kind})
    assert answer.status_code in (200, 415)
    assert answer.json


def test_vertex(models, records):
    """The predict route answers instances with predictions, with parameters or without."""
    app = create_app(
        Config(models=str(models.path), default_model="iris", traffic=Traffic(predict_route="/ai:predict"))
    )
    for beside in ({}, {"parameters": {"threshold": 0.5}}, {"parameters": None}):
        answer = post(app.test_client(), {"instances": ROWS, **beside}, "/ai:predict")
        assert answer == {"predictions": records}
    assert "send" in refused(app.test_client(), [ROWS], "/ai:predict")


def test_routes_of_vertex_may_be_any(models):
    """Routes of Vertex AI that the server has anyway still take the native forms."""
    routes = {"predict_route": "/predict", "health_route": "/ping"}
    client = create_app(
        Config(models=str(models.path), default_model="iris", traffic=Traffic(**routes))
    ).test_client()
    both = post(client, {"instances": ROWS, "parameters": {}}, "/predict")
    assert [record["prediction"] for record in both["predictions"]] == [0, 2]
    assert post(client, {"features": ROWS}, "/predict")["prediction"] == [0, 2]
    assert client.get("/ping").status_code == client.get("/readyz").status_code == 200


def test_vertex_tells_port_and_routes(models, tmp_path, monkeypatch):
    """A server with no settings but Vertex AI's variables has the port and routes they name."""
    shelve(models, tmp_path / "models" / "iris", "iris")
    port = free_port()
    monkeypatch.setenv("AIP_HTTP_PORT", str(port))
    monkeypatch.setenv("AIP_PREDICT_ROUTE", "/v1/endpoints/1/deployedModels/2:predict")
    monkeypatch.setenv("AIP_HEALTH_ROUTE", "/v1/endpoints/1/deployedModels/2")
    program = (sys.executable, "-m", "server")
    with serving(tmp_path, models=tmp_path / "models", port=port, program=program) as server:
        assert server.ask("/v1/endpoints/1/deployedModels/2")[0] == 200
        body = json.dumps({"instances": [FLOWER]}).encode()
        status, answer = server.ask("/v1/endpoints/1/deployedModels/2:predict", body)
    assert (status, answer["predictions"][0]["predicted_class"]) == (200, "setosa")
