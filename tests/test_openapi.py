"""The OpenAPI document: it is valid, it is complete, and the server answers as it says."""

import json
import re
import shutil

import jsonschema_rs
import numpy as np
import pandas as pd
import pytest
import schemathesis
from browser import CHROMIUM, browsing
from conftest import BIN, FLOWERS, SPECIES, environment, people, run, serving, shelve
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from unpickled.export import export_pipeline
from unpickled.server import Config, create_app
from unpickled.server.app import flask_app
from unpickled.server.errors import RequestError
from unpickled.server.service import Service

# No answer but an error: load and unload are not supported. Files are parts of pages.
UNDOCUMENTED = {
    "/v2/repository/models/<name>/load",
    "/v2/repository/models/<name>/unload",
    "/assets/<file>",
    "/docs/<file>",
}
# Marks of Markdown and HTML, a line end that only some know, and what turns a line around.
HOSTILE = [
    '"><img src=x onerror="document.title=\'run\'">',
    "[here](javascript:alert(1)) ![it](/secret.png) *a* `b` &lt;",
    "\u2028\u2028<img src=/y.png>\u202e http://127.0.0.1:9/z",
]
# As the words of these paths have it: what only some versions take, the others refuse.
SHARED = """
[[operations]]
include-path-regex = "^(?!.*/(labels|versions)/)"
checks.negative_data_rejection.expected-statuses = ["200", "400", "404", "413", "415"]
"""
# What can be unfolded on the page.
FOLDED = (
    ".json-schema-2020-12-accordion:not(:has(.json-schema-2020-12-accordion__icon--expanded)),"
    " button.json-schema-2020-12-expand-deep-button"
)


@pytest.fixture(scope="module")
def document(app):
    """That of iris, people and forest."""
    return app.test_client().get("/openapi.json").json


@pytest.fixture(scope="module")
def split(models, tmp_path_factory):
    """A models folder: of people's two versions, the second does without no age, and knows its cities."""
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
    """A model whose every name is one of HOSTILE."""
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
    """Path, method and operation of each."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_it_is_valid(document):
    """The document is OpenAPI 3.1, and every schema in it JSON Schema 2020-12."""
    schemathesis.openapi.from_dict(document).validate()
    for found in document["components"]["schemas"].values():
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **found})
    assert document["servers"] == [{"url": "."}]
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len({*names}) == len(names)


def test_references_lead_somewhere(document):
    """Whatever is referred to is there."""
    for kind, name in re.findall(r'"#/components/(\w+)/([^"]+)"', json.dumps(document)):
        assert name in document["components"][kind]


def test_every_route_is_described(app, document):
    """What the application answers is in the document, and nothing else is."""
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
    """Every JSON document that can be read is valid by the schema that is derived from its type."""
    # Names of schemas of predictions begin with the model's name and a point.
    names = [name for name in document["components"]["schemas"] if "." not in name]
    schemas = {name: schema(document, name) for name in names}
    for path, method, operation in operations(document):
        content = operation["responses"]["200"]["content"].get("application/json")
        if method == "get" and content:
            described = {**content["schema"], "components": {"schemas": schemas}}
            jsonschema_rs.validate(described, client.get(path).json)


def test_features(document):
    """Each feature has its type, what the model can compute with, and what the training rows had."""
    record = schema(document, "iris.1.Record")
    assert list(record["properties"]) == record["required"] == FLOWERS
    assert not record["additionalProperties"]
    length = record["properties"]["petal_length"]
    assert (length["type"], length["minimum"], length["maximum"]) == ("number", -1e300, 1e300)
    assert "in training: 1 to 6.9, median 4.35" in length["description"]
    row = schema(document, "iris.1.Row")
    assert row["prefixItems"] == list(record["properties"].values())


def test_missing_values_and_categories(document):
    """Null is a value where the pipeline can do without one; categories are told."""
    features = schema(document, "people.1.Record")["properties"]
    assert {"type": "null"} in features["age"]["anyOf"]
    assert features["city"]["description"] == "category; in training: 'Bonn', 'Köln', 'Trier'"
    assert schema(document, "iris.1.ClassName") == {"enum": SPECIES}


def test_examples_are_answered(client, document):
    """Every example of a body is answered as it stands there."""
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
    """Each error that a client may be told is in the responses of its status."""
    told = document["components"]["responses"]
    for error in RequestError.__subclasses__():
        assert f"`{error.code}`" in told[str(error.status)]["description"]
        assert error.code in schema(document, "Error")["properties"]["code"]["enum"]
    predict = document["paths"]["/predict"]["post"]["responses"]
    assert {*predict} == {"200", "400", "404", "408", "413", "415", "500", "503"}


def test_it_follows_what_is_served(models, tmp_path):
    """A version that is published is in the next document; nothing is made anew while nothing changes."""
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
    found = client.get("/openapi.json").json["paths"]
    assert found["/models/iris/labels/new/predict"]["post"]["responses"]["200"]["headers"]["Model-Version"][
        "schema"
    ]["enum"] == ["2"]
    assert found["/predict"]["post"]["parameters"][0]["name"] == "X-Request-Key"


def test_what_versions_share(split):
    """A request to several versions is described as one that each of them takes."""
    app = create_app(Config(models=str(split)))
    found = app.test_client().get("/openapi.json").json
    features = {kind: schema(found, f"people.{kind}.Record")["properties"] for kind in ("1", "2", "all")}
    assert "anyOf" in features["1"]["age"]
    assert features["all"]["age"]["type"] == features["2"]["age"]["type"] == "number"
    assert set(features["all"]["city"]["enum"]) == {"Bonn", "Köln", "Trier"}
    assert "enum" not in features["1"]["city"]
    plain = found["paths"]["/predict"]["post"]
    assert "refused (400)" in plain["description"]
    assert "people.all.Request" in json.dumps(plain["requestBody"])
    assert "people.all.Answer" not in found["components"]["schemas"]


def test_the_server_does_as_it_says(split, tmp_path):
    """schemathesis sends what the document allows and what it forbids; every answer is as described."""
    (tmp_path / "schemathesis.toml").write_text(SHARED)
    with serving(tmp_path, models=split) as server:
        document = server.ask("/openapi.json")[1]
        for _, _, operation in operations(document):
            # Words describe a table: a schema that tables could be made from would need a grammar.
            operation.get("requestBody", {}).get("content", {}).pop("text/csv", None)
        (tmp_path / "openapi.json").write_text(json.dumps(document))
        command = [BIN / "schemathesis", "run", "openapi.json", "--url", server.url, "--checks", "all"]
        limits = ["--max-examples", "6", "--generation-deterministic", "--no-color"]
        # What remains are the paths that both share, and predictions with one label.
        limits += ["--exclude-path-regex", r"/new|/versions/[0-9]|/old(/[mrcs]\w+)?$"]
        environ = environment(PYTHONWARNINGS="default")
        found = run([*command, *limits], cwd=tmp_path, env=environ)
    assert found.returncode == 0, found.stdout


def test_docs_are_shipped(client):
    """The page for people and all that it asks for come from here, under a strict policy."""
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
    """A browser that has a file is told so; one that takes gzip gets that."""
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
    ("known", "status"),
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
def test_tags_are_compared_whole(client, known, status):
    """Any of a list, weak or not, or a star for all: RFC 9110, section 13.1.2."""
    tag = client.get("/docs").headers["ETag"]
    sent = known.format(tag, tag.strip('"'))
    assert client.get("/docs", headers={"If-None-Match": sent}).status_code == status


def packed_by(answer):
    return {"Accept-Encoding": "gzip"} if "Content-Encoding" in answer.headers else {}


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


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
def test_names_are_text_in_a_browser(hostile, tmp_path):
    """No name of a model file is a mark, an element or an address on the page, wherever it stands."""
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
