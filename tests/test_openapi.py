"""The OpenAPI document is valid and complete, and the server answers as it says."""

import json
import re
import shutil

import jsonschema_rs
import msgspec
import numpy as np
import pandas as pd
import pytest
import schemathesis
from browser import CHROMIUM, browsing
from conftest import BIN, FLOWERS, PATIENCE, PERSON, SPECIES, environment, people, run, serving, shelve
from msgspec import structs
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from unpickled.export import export_pipeline
from unpickled.server import Config, create_app
from unpickled.server.app import flask_app
from unpickled.server.artifact.manifest import Manifest
from unpickled.server.errors import RequestError
from unpickled.server.message import media
from unpickled.server.pages.openapi.shared import shared
from unpickled.server.service import Service

# load and unload answer with an error only; files are parts of pages.
UNDOCUMENTED = {
    "/v2/repository/models/<name>/load",
    "/v2/repository/models/<name>/unload",
    "/assets/<file>",
    "/docs/<file>",
}
# Marks of Markdown and HTML, a rare line end, and a mark that reverses the direction of text.
HOSTILE = [
    '"><img src=x onerror="document.title=\'run\'">',
    "[here](javascript:alert(1)) ![it](/secret.png) *a* `b` &lt;",
    "\u2028\u2028<img src=/y.png>\u202e http://127.0.0.1:9/z",
]
# On the paths of several versions, one may refuse a request that another takes, as the document says.
SHARED = """
[[operations]]
include-path-regex = "^(?!.*/(labels|versions)/)"
checks.negative_data_rejection.expected-statuses = ["200", "400", "404", "413", "415"]
"""
# The elements of the page that unfold a schema.
FOLDED = (
    ".json-schema-2020-12-accordion:not(:has(.json-schema-2020-12-accordion__icon--expanded)),"
    " button.json-schema-2020-12-expand-deep-button"
)


@pytest.fixture(scope="module")
def document(app):
    """The document of iris, people and forest."""
    return app.test_client().get("/openapi.json").json


@pytest.fixture(scope="module")
def split(models, tmp_path_factory):
    """A models folder with two versions of people: the second takes no missing age and no unknown city."""
    path = tmp_path_factory.mktemp("split")
    table, answers = people()
    columns = make_column_transformer(
        (StandardScaler(), ["age", "income"]), (OneHotEncoder(), ["city", "plan"])
    )
    strict = make_pipeline(columns, RidgeClassifier()).fit(table.fillna(40), answers)
    shutil.copytree(models.path / "people", path / "people")
    export_pipeline(strict, table.fillna(40), name="people", models=path)
    (path / "people" / "serving.toml").write_text(
        'load = "all"\n[labels]\nold = 1\nnew = 2\n[traffic]\nold = 0.5\nnew = 0.5\n'
    )
    return path


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A model whose names are all from HOSTILE."""
    path = tmp_path_factory.mktemp("hostile")
    rng = np.random.default_rng(0)
    table = pd.DataFrame({HOSTILE[0]: rng.random(60), HOSTILE[1]: rng.choice(HOSTILE, 60)})
    columns = make_column_transformer((StandardScaler(), HOSTILE[:1]), (OneHotEncoder(), HOSTILE[1:2]))
    fitted = make_pipeline(columns, LogisticRegression()).fit(table, HOSTILE * 20)
    export_pipeline(fitted, table, name="hostile", models=path)
    return path


def schema(document, name):
    return document["components"]["schemas"][name]


def operations(document):
    """Path, method and operation of each operation."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_it_is_valid(document):
    """The document is OpenAPI 3.1, and every schema in it is JSON Schema 2020-12."""
    schemathesis.openapi.from_dict(document).validate()
    for definition in document["components"]["schemas"].values():
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **definition})
    assert document["servers"] == [{"url": "."}]
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len({*names}) == len(names)


def test_references_lead_somewhere(document):
    """Every component that is referred to is in the document."""
    for kind, name in re.findall(r'"#/components/(\w+)/([^"]+)"', json.dumps(document)):
        assert name in document["components"][kind]


def test_every_route_is_described(app, document):
    """The document has every route of the application, and no other."""
    missing = {(rule.rule, method) for rule in app.url_map.iter_rules() for method in rule.methods - {"HEAD"}}
    missing = {(rule, method) for rule, method in missing if rule not in UNDOCUMENTED}
    adapter = app.url_map.bind("localhost")
    for path, method, _ in operations(document):
        rule, _ = adapter.match(path, method.upper(), return_rule=True)
        missing.discard((rule.rule, method.upper()))
    # None of the three models has a label.
    assert {rule for rule, _ in missing if "<label>" not in rule} == set()


def test_every_route_is_listed(app, client):
    """GET / has a line about each route of the application, and about no other."""
    routes = {
        f"{method} {rule.rule}" for rule in app.url_map.iter_rules() for method in rule.methods - {"HEAD"}
    }
    lines = client.get("/").json["routes"]
    assert {*lines} == routes
    assert all(line and "\n" not in line for line in lines.values())


def test_documents_are_as_described(client, document):
    """Every JSON document of a GET is valid by its schema."""
    # Names of schemas of predictions begin with the model's name and a point.
    names = [name for name in document["components"]["schemas"] if "." not in name]
    schemas = {name: schema(document, name) for name in names}
    for path, method, operation in operations(document):
        content = operation["responses"]["200"]["content"].get("application/json")
        if method == "get" and content:
            described = {**content["schema"], "components": {"schemas": schemas}}
            jsonschema_rs.validate(described, client.get(path).json)


def test_features(document):
    """Each feature has its type, the range that the model computes with, and the training range."""
    record = schema(document, "iris.1.Record")
    assert list(record["properties"]) == record["required"] == FLOWERS
    assert not record["additionalProperties"]
    length = record["properties"]["petal_length"]
    assert (length["type"], length["minimum"], length["maximum"]) == ("number", -1e300, 1e300)
    assert "in training: 1 to 6.9, median 4.35" in length["description"]
    row = schema(document, "iris.1.Row")
    assert row["prefixItems"] == list(record["properties"].values())


def test_missing_values_and_categories(document):
    """A feature that may be missing may be null, and categories are listed."""
    features = schema(document, "people.1.Record")["properties"]
    assert {"type": "null"} in features["age"]["anyOf"]
    assert features["city"]["description"] == "category; in training: 'Bonn', 'Köln', 'Trier'"
    assert schema(document, "iris.1.ClassName") == {"enum": SPECIES}


def test_examples_are_answered(client, document):
    """Every example of a body is answered with 200."""
    for path, method, operation in operations(document):
        content = operation.get("requestBody", {}).get("content", {})
        for kind, body in content.items():
            for example in body.get("examples", {"": {"value": body.get("example")}}).values():
                if example["value"] is None:
                    continue
                sent = example["value"] if kind == "text/csv" else json.dumps(example["value"])
                answer = client.open(path, method=method, data=sent, content_type=kind)
                assert answer.status_code == 200, answer.text


def test_every_error_is_described(document):
    """Each error that a client may get is in the responses of its status."""
    responses = document["components"]["responses"]
    for error in RequestError.__subclasses__():
        assert f"`{error.code}`" in responses[str(error.status)]["description"]
        assert error.code in schema(document, "Error")["properties"]["code"]["enum"]
    predict = document["paths"]["/predict"]["post"]["responses"]
    assert {*predict} == {"200", *map(str, (400, 404, 408, 411, 413, 415, 422, 500, 503, 504))}


def test_it_follows_what_is_served(models, tmp_path):
    """The next document has a version that is published; without a change it stays the same."""
    shelve(models, tmp_path / "iris", "iris")
    service = Service(Config(models=str(tmp_path), reload_seconds=0))
    client = flask_app(service).test_client()
    before = client.get("/openapi.json")
    assert client.get("/openapi.json").data == before.data
    assert "/models/iris/labels/new/predict" not in before.json["paths"]
    shelve(models, tmp_path / "iris", "iris", first=2)
    (tmp_path / "iris" / "serving.toml").write_text(
        'load = "all"\n[labels]\nnew = 2\nold = 1\n[traffic]\nnew = 0.5\nold = 0.5\n'
    )
    for _ in range(3):
        service.repository.refresh()
    paths = client.get("/openapi.json").json["paths"]
    assert paths["/models/iris/labels/new/predict"]["post"]["responses"]["200"]["headers"]["Model-Version"][
        "schema"
    ]["enum"] == ["2"]
    assert paths["/predict"]["post"]["parameters"][0]["name"] == "X-Request-Key"


def test_what_versions_share(split):
    """A request to several versions is described as one that each of them takes."""
    app = create_app(Config(models=str(split)))
    document = app.test_client().get("/openapi.json").json
    features = {kind: schema(document, f"people.{kind}.Record")["properties"] for kind in ("1", "2", "all")}
    assert "anyOf" in features["1"]["age"]
    assert features["all"]["age"]["type"] == features["2"]["age"]["type"] == "number"
    assert set(features["all"]["city"]["enum"]) == {"Bonn", "Köln", "Trier"}
    assert "enum" not in features["1"]["city"]
    plain = document["paths"]["/predict"]["post"]
    assert "refused (400)" in plain["description"]
    assert "people.all.Request" in json.dumps(plain["requestBody"])
    assert "people.all.Answer" not in document["components"]["schemas"]


def test_versions_whose_tensors_differ(models):
    """Versions that take the same features as other tensors are described by the narrower type of each."""
    client = create_app(Config(models=str(models.path))).test_client()
    first = msgspec.convert(client.get("/models/people").json["manifest"], Manifest)
    numbers, *others = first.inputs
    second = structs.replace(first, inputs=(structs.replace(numbers, dtype="float32"), *others))
    common = shared([first, second])
    assert {tensor.features: tensor.dtype for tensor in common.inputs} == {
        (name,): "float32" if name in numbers.features else "string" for name in PERSON
    }
    assert common.golden.rows == first.golden.rows


def test_truth_values_that_only_some_versions_take(models):
    """A feature takes true and false on the paths of several versions only if it does in each of them."""
    client = create_app(Config(models=str(models.path))).test_client()
    first = msgspec.convert(client.get("/models/iris").json["manifest"], Manifest)
    features = tuple(structs.replace(feature, boolean=True) for feature in first.features)
    second = structs.replace(first, features=features)
    for versions, boolean in (([first, second], False), ([second, first], False), ([second] * 2, True)):
        assert {feature.boolean for feature in shared(versions).features} == {boolean}


@pytest.mark.long
def test_the_server_does_as_it_says(split, tmp_path):
    """Requests that the document allows, and ones that it forbids, are answered as it says."""
    (tmp_path / "schemathesis.toml").write_text(SHARED)
    with serving(tmp_path, models=split) as server:
        document = server.ask("/openapi.json")[1]
        for _, _, operation in operations(document):
            # The schema of a table is a sentence, from which no table can be generated.
            for kind in (media.CSV, media.ARROW):
                operation.get("requestBody", {}).get("content", {}).pop(kind, None)
        (tmp_path / "openapi.json").write_text(json.dumps(document))
        command = [BIN / "schemathesis", "run", "openapi.json", "--url", server.url, "--checks", "all"]
        limits = ["--max-examples", "6", "--generation-deterministic", "--no-color"]
        limits += ["--request-timeout", str(PATIENCE)]
        # The paths that remain are those of both versions, and predictions with one label.
        limits += ["--exclude-path-regex", r"/new|/versions/[0-9]|/old(/[mrcs]\w+)?$"]
        environ = environment(PYTHONWARNINGS="default")
        completed = run([*command, *limits], cwd=tmp_path, env=environ)
    assert completed.returncode == 0, completed.stdout


def test_docs_are_shipped(client):
    """The page and all its files come from the server itself, under a strict policy."""
    page = client.get("/docs")
    assert page.content_type == "text/html; charset=utf-8"
    assert "'unsafe" not in page.headers["Content-Security-Policy"]
    parts = re.findall(r'(?:src|href)="(docs/[^"]+)"', page.text)
    assert len(parts) == 4
    for part in parts:
        answer = client.get(f"/{part}")
        assert answer.status_code == 200
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert client.get("/docs/index.html").json["code"] == "not_found"


def test_docs_are_kept(client):
    """A browser that has a file gets 304; one that accepts gzip gets that."""
    whole = client.get("/docs/swagger-ui.css")
    packed = client.get("/docs/swagger-ui.css", headers={"Accept-Encoding": "gzip, deflate, br"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert len(packed.data) < len(whole.data) / 3
    for answer in (whole, packed):
        again = client.get(
            "/docs/swagger-ui.css", headers={"If-None-Match": answer.headers["ETag"], **packed_by(answer)}
        )
        assert (again.status_code, again.data) == (304, b"")


@pytest.mark.parametrize(
    ("tags", "status"),
    [
        ("*", 304),
        ('W/{0}, "x"', 304),
        ('"x",{0}', 304),
        ("x{0}", 200),
        ('"x"', 200),
        ('"x{1}y"', 200),
        ("", 200),
    ],
)
def test_tags_are_compared_whole(client, tags, status):
    """A list of tags, weak or not, or a star matches as in RFC 9110, section 13.1.2."""
    tag = client.get("/docs").headers["ETag"]
    sent = tags.format(tag, tag.strip('"'))
    assert client.get("/docs", headers={"If-None-Match": sent}).status_code == status


def packed_by(answer):
    return {"Accept-Encoding": "gzip"} if "Content-Encoding" in answer.headers else {}


@pytest.mark.long
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
def test_docs_in_a_browser(models, tmp_path):
    """The page opens without a complaint, and a request sent from it is answered."""
    with (
        serving(tmp_path, "--default-model", "iris", models=models.path) as server,
        browsing(tmp_path) as tab,
    ):
        tab.open(f"{server.url}/docs#/iris/post%3Apredict")
        # A click that comes before the page has read its own example is lost.
        tab.wait("document.querySelector('textarea')?.value.includes('features')")
        tab.wait(
            "!!document.querySelector('.live-responses-table')"
            " || (document.querySelector('button.execute').click(), false)"
        )
        assert '"predicted_class": [' in tab.text(".live-responses-table")
        assert tab.complaints == []


@pytest.mark.long
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
def test_names_are_text_in_a_browser(hostile, tmp_path):
    """No name in a model file becomes mark-up, an element or an address on the page."""
    with serving(tmp_path, models=hostile) as server, browsing(tmp_path) as tab:
        tab.open(f"{server.url}/docs#/hostile/post%3Apredict")
        tab.wait("document.querySelector('textarea')?.value.includes('features')")
        tab.ask("document.querySelectorAll('.model-example .tab li button').forEach(e => e.click())")
        tab.wait("document.querySelector('.json-schema-2020-12-accordion')")
        for _ in range(4):
            tab.ask(f"document.querySelectorAll({json.dumps(FOLDED)}).forEach(e => e.click())")
        tab.wait("document.body.innerText.includes('in training')")
        marks = "document.querySelectorAll('#docs :is(img, .renderedMarkdown :is(a, em))').length"
        assert tab.ask(marks) == 0
        page = tab.text("body")
        assert HOSTILE[0] in page
        assert HOSTILE[1] in page
        assert "\\u202e" in page
        assert tab.complaints == []
