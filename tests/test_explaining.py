"""POST /models/<name>/explain and the command explain: one row, its class, and what is refused."""

import io
import json
import os
import re
from contextlib import ExitStack, suppress

import numpy as np
import pytest
from conftest import FLOWER, FLOWERS, PERSON, SPECIES, serving, shelve
from sklearn.linear_model import LogisticRegression

from unpickled.__main__ import main
from unpickled.export import export_pipeline
from unpickled.server import Config, create_app
from unpickled.server.app import flask_app
from unpickled.server.errors import Overloaded
from unpickled.server.inference.work import Work
from unpickled.server.service import Service

RECORD = dict(zip(FLOWERS, FLOWER, strict=True))
PATH = "/models/iris/explain"


def contributions(document):
    return [each["contribution"] for each in document["features"]]


@pytest.mark.parametrize(
    "body",
    [{"features": FLOWER}, {"features": [FLOWER]}, RECORD, {"instances": [FLOWER]}, {"instances": [RECORD]}],
    ids=["row", "rows", "record", "instance", "record in instances"],
)
def test_a_row_in_any_form(client, body):
    """A row is explained in each form in which POST /predict takes one."""
    document = client.post(PATH, json=body).json
    predicted = client.post("/models/iris/predict", json={"instances": [FLOWER]}).json["predictions"][0]
    assert [each["name"] for each in document["features"]] == FLOWERS
    assert [each["value"] for each in document["features"]] == FLOWER
    assert (document["model"], document["version"]) == ("iris", 1)
    assert (document["prediction"], document["predicted_class"]) == (0, "setosa")
    assert document["explained"] == "setosa"
    assert document["answer"] == pytest.approx(predicted["probabilities"]["setosa"], abs=1e-12)
    difference = document["answer"] - document["baseline_answer"]
    assert sum(contributions(document)) == pytest.approx(difference, abs=1e-9)


def test_any_class(client):
    """A query names the class to explain, by its name."""
    documents = [client.post(f"{PATH}?class={name}", json=RECORD).json for name in SPECIES]
    assert [document["explained"] for document in documents] == SPECIES
    assert [document["predicted_class"] for document in documents] == ["setosa"] * 3
    sums = map(sum, zip(*map(contributions, documents), strict=True))
    assert [*sums] == pytest.approx([0.0] * 4, abs=1e-12)


def test_regressors(regressors):
    """A number is explained; of several targets the first, or the one that the query names."""
    client = create_app(Config(models=str(regressors.path))).test_client()
    spending = client.post("/models/spending/explain", json=PERSON).json
    assert (spending["kind"], spending["answer"]) == ("prediction", pytest.approx(spending["prediction"]))
    assert "predicted_class" not in spending
    areas = client.post("/models/areas/explain?target=petal", json=RECORD).json
    assert areas["answer"] == pytest.approx(areas["prediction"]["petal"])
    refused = client.post("/models/areas/explain?class=petal", json=RECORD).json
    assert refused["error"].endswith("of this model is that of a target: send ?target=")


@pytest.mark.parametrize(
    ("path", "body", "status", "sentence"),
    [
        (PATH, {"features": [FLOWER] * 3}, 400, "'features' has 3 rows, but one row belongs there: send one"),
        (PATH, {"instances": [RECORD] * 2}, 400, "'instances' has 2 rows, but one"),
        (PATH, {"instances": []}, 400, "'instances' has 0 rows, but one"),
        (PATH, {"features": []}, 400, "'features' has 0 rows, but one"),
        (PATH, {"features": [RECORD]}, 400, "'features' holds objects"),
        (PATH, {"features": FLOWER[:3]}, 400, "row 0 has 3 values, but the model takes 4"),
        (PATH, RECORD | {"petal_width": "wide"}, 400, "feature 'petal_width' of row 0 is text"),
        (PATH, RECORD | {"age": 3}, 400, "feature 'age' of row 0 is unknown"),
        (PATH, {"inputs": [FLOWER]}, 400, "'inputs' is no form of this path"),
        (f"{PATH}?class=rose", RECORD, 400, "class is 'rose': it has to be one of 'setosa', 'versic"),
        (f"{PATH}?target=x", RECORD, 400, "the query names a target, and an answer of this model"),
        ("/models/rose/explain", RECORD, 404, "there is no model 'rose'"),
        ("/models/iris/versions/7/explain", RECORD, 404, "model 'iris' has no version '7' here"),
        ("/models/iris/labels/new/explain", RECORD, 404, "model 'iris' has no label 'new'"),
    ],
)  # fmt: skip
def test_errors(client, path, body, status, sentence):
    """Whatever is wrong is answered with a sentence that names the place."""
    answer = client.post(path, json=body)
    assert (answer.status_code, answer.json["error"][: len(sentence)]) == (status, sentence)


def test_other_methods_and_tables(client):
    """An explanation is the answer to a POST of JSON."""
    assert client.get(PATH).json["allowed"] == ["POST"]
    table = client.post(PATH, data="a,b\n1,2\n", content_type="text/csv")
    assert (table.status_code, table.json["code"]) == (415, "unsupported_media_type")
    broken = client.post(PATH, data='{"features": [5.1,')
    assert (broken.status_code, broken.json["code"]) == (400, "malformed_json")


def test_versions_and_labels(models, tmp_path):
    """A version and a label have paths of their own; without either, the main version explains."""
    shelve(models, tmp_path / "iris", "iris", "forest")
    (tmp_path / "iris" / "serving.toml").write_text(
        'load = "all"\n[labels]\nstable = 2\nold = 1\n[traffic]\nstable = 1.0\n'
    )
    client = create_app(Config(models=str(tmp_path))).test_client()
    paths = (PATH, "/models/iris/versions/1/explain", "/models/iris/labels/old/explain")
    documents = [client.post(path, json=RECORD).json for path in paths]
    assert [document["version"] for document in documents] == [2, 1, 1]
    assert [document["explained"] for document in documents] == ["0", "setosa", "setosa"]


def test_values_outside_the_training_range(models, tmp_path):
    """They are flagged, clipped or refused as those of a prediction are."""
    shelve(models, tmp_path / "iris", "iris")
    row, settings = RECORD | {"petal_width": 9.0}, tmp_path / "iris" / "serving.toml"
    answers = {}
    for action in ("flag", "clip", "refuse"):
        settings.write_text(f'inputs.outside = "{action}"')
        client = create_app(Config(models=str(tmp_path))).test_client()
        answers[action] = client.post(PATH, json=row)
    assert answers["flag"].json["outside"] == answers["clip"].json["outside"] == ["petal_width"]
    highest = client.post(PATH, json=RECORD | {"petal_width": 2.5}).json
    assert contributions(answers["clip"].json) == contributions(highest)
    assert contributions(answers["flag"].json) != contributions(highest)
    assert (answers["refuse"].status_code, answers["refuse"].json["feature"]) == (400, "petal_width")


def test_it_is_no_prediction(models):
    """An explanation counts as an answer of its route, and not as a prediction."""
    service = Service(Config(models=str(models.path)))
    client = flask_app(service).test_client()
    for feature in (0.2, 9.0):
        assert client.post(PATH, json=RECORD | {"petal_width": feature}).status_code == 200
    text = client.get("/metrics").text
    line = re.search(r"unpickled_requests_total\{[^}]*/models/<name>/explain[^}]*\} (\d+)", text)
    assert line[1] == "2"
    assert not re.search(r'unpickled_(predictions|outside\w*)_total\{[^}]*model="iris"[^}]*\} [1-9]', text)
    assert service.in_flight.count == 0


def test_it_takes_its_turn(models):
    """Where too much work waits, an explanation is refused; single rows are answered still."""
    service = Service(Config.of(models=str(models.path), default_model="iris"))
    client = flask_app(service).test_client()
    with ExitStack() as held:
        admission, work = service.gate.admission, Work("forest", 1e6, single=False)
        with suppress(Overloaded):
            while True:
                held.enter_context(admission.turn(work))
        answer = client.post(PATH, json=RECORD)
        assert (answer.status_code, answer.json["code"]) == (503, "overloaded")
        assert client.post("/predict", json=RECORD).status_code == 200
    assert client.post(PATH, json=RECORD).status_code == 200
    late = client.post(PATH, json=RECORD, headers={"Request-Timeout": "0.0001"})
    assert (late.status_code, late.json["code"]) == (504, "deadline_exceeded")


@pytest.fixture
def explain(models, capsys, monkeypatch):
    """Runs ``unpickled explain`` on the models of the tests; returns status, output and errors."""
    monkeypatch.setenv("UNPICKLED_MODELS", str(models.path))

    def run(*words):
        status = main(["explain", *words])
        output = capsys.readouterr()
        return status, output.out, output.err

    return run


def test_the_command_prints_a_table(explain):
    """The features stand in a table, the largest share first, with bars and their sum."""
    status, output, _ = explain("iris", json.dumps([6.3, 2.5, 5.0, 1.9]))
    lines = output.splitlines()
    assert status == 0
    assert lines[0] == "iris version 1: probability of virginica 0.8359, of a typical row 0.07079"
    assert lines[2].split() == ["feature", "value", "typical", "adds"]
    assert [line.split()[0] for line in lines[3:8]] == [*FLOWERS[:1:-1], *FLOWERS[1::-1], "sum"]
    assert lines[3].split() == ["petal_width", "1.9", "1.3", "+0.5439", "+" * 24]
    assert lines[7].split() == ["sum", "+0.7651"]
    assert lines[-1] == "exact: all mixtures of the row and its baseline were run, 16 rows"


def test_the_command_reads_a_row_from_its_input(explain, monkeypatch):
    """A dash stands for the input, and --json prints the document of the route."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(json.dumps(PERSON).encode())))
    status, output, _ = explain("people", "-", "--class", "leaves", "--json")
    document = json.loads(output)
    assert (status, document["explained"]) == (0, "leaves")
    assert [each["value"] for each in document["features"]] == [*PERSON.values()]


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        ("iris", 2, "give either a ROW"),
        ("iris {} --example", 2, "give either a ROW"),
        ("iris {} --class a --target b", 2, "a classifier has --class, and a regressor --target"),
        ("iris --example --url 127.0.0.1:9", 2, "--example reads the file of a model"),
        ("rose --example", 1, "there is no model 'rose' in"),
        ("iris {}", 1, "features 'sepal_length', 'sepal_width', 'petal_length', 'petal_width' of row 0"),
        ("iris [1,2]", 1, "row 0 has 2 values, but the model takes 4"),
        ("iris [[1,2,3,4],[1,2,3,4]]", 1, "'features' has 2 rows, but one row belongs there"),
        ("iris [1,", 1, "the body is not JSON"),
        ("iris --example --class rose", 1, "class is 'rose': it has to be one of 'setosa'"),
        ("iris --example --target x", 1, "iris answers with a class, not a target: name one with --class"),
        ("iris --example --version 7", 1, "iris has no version 7: it has 1"),
        ("iris --example --version new", 1, "there is no label 'new'"),
        ("iris {} --url 127.0.0.1:9", 1, "no server answers at http://127.0.0.1:9"),
    ],
)
def test_errors_of_the_command(explain, words, status, sentence):
    """A wrong row, name or option is told in one sentence."""
    refused, output, error = explain(*words.split())
    assert (refused, output) == (status, "")
    assert f"error: {sentence}" in error


def test_the_command_asks_a_server(explain, models, tmp_path):
    """With --url a server explains, as the file does; its refusals are told."""
    row = json.dumps(RECORD)
    with serving(tmp_path, models=models.path) as server:
        asked = explain("iris", row, "--url", server.url, "--version", "1", "--class", "virginica")
        read = explain("iris", row, "--class", "virginica")
        assert asked == read
        status, _, error = explain("iris", row, "--url", server.url, "--version", "new")
    assert (status, "model 'iris' has no label 'new'" in error) == (1, True)


def test_long_tables_end_with_the_others(explain, tmp_path, monkeypatch):
    """The largest of many features have lines, the others one together, and sampled shares have errors."""
    rows = np.random.default_rng(0).normal(size=(80, 30))
    export_pipeline(LogisticRegression().fit(rows, rows[:, 0] > 0), rows, name="many", models=tmp_path)
    monkeypatch.setenv("UNPICKLED_MODELS", os.fspath(tmp_path))
    _, output, _ = explain("many", "--example")
    lines = output.splitlines()
    assert lines[2].split() == ["feature", "value", "typical", "adds", "error"]
    assert lines[23].startswith("10 others")
    assert lines[-1] == "sampled: 140 orders of 30 features"
