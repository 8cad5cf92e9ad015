"""Every mistake that a client can make, and the sentence that answers it."""

import json
import logging

import pytest
from conftest import FLOWER, FLOWERS
from handmade import NODES, embed, graph, store
from onnx import helper

from unpickled.server import Config, create_app
from unpickled.server.config import Limits

FORMS = ("features", "instances")
RECORD = dict(zip(FLOWERS, FLOWER, strict=True))
TWICE = '{"sepal_length": 1, "%s": 2, "sepal_width": 3, "petal_length": 4, "petal_width": 5}'

MALFORMED = {
    "empty": b"",
    "blank": b" \r\n\t ",
    "truncated": b'{"features": [5.1, 3.5',
    "trailing": b'{"features": [5.1, 3.5, 1.4, 0.2]} x',
    "two documents": b'{"features": [1, 2, 3, 4]}{"features": [1, 2, 3, 4]}',
    "nul behind": b'{"features": [5.1, 3.5, 1.4, 0.2]}\0',
    "two byte order marks": 2 * b"\xef\xbb\xbf" + b'{"features": [5.1, 3.5, 1.4, 0.2]}',
    "utf-16": '{"features": [5.1, 3.5, 1.4, 0.2]}'.encode("utf-16"),
    "bad utf-8": b'{"features": [5.1, 3.5, 1.4, "\xff"]}',
    "overlong utf-8": b'{"features\xc0\x80": 1}',
    "surrogate in utf-8": b'{"features": ["\xed\xa0\x80"]}',
    "half a surrogate pair": b'{"features": ["\\ud800", 1, 1, 1]}',
    "half a pair in a name": b'{"\\udc00": 1}',
    "deep arrays": b"[" * 100_000,
    "deep objects": b'{"a":' * 100_000,
    "deep and closed": b'{"features":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep behind a row": b'{"instances": [[1, 2, 3, 4], ' + b'{"a":' * 100_000,
    "single quotes": b"{'features': [1, 2, 3, 4]}",
    "comma at the end": b'{"features": [1, 2, 3, 4,]}',
    "leading zero": b'{"features": [01, 2, 3, 4]}',
    "plus": b'{"features": [+1, 2, 3, 4]}',
    "bare point": b'{"features": [.5, 2, 3, 4]}',
    "hexadecimal": b'{"features": [0x1, 2, 3, 4]}',
    "comment": b'{"features": [1, 2, 3, 4] /* four */}',
    "line break in text": b'{"features": ["\n", 2, 3, 4]}',
    "not json at all": b"features=5.1&features=3.5",
    "random": bytes(range(256)),
}

# Body, words of the error, details beside it.
INVALID = [
    (b"null", ["not an object"], {}),
    (b"[5.1, 3.5, 1.4, 0.2]", ["not an object"], {}),
    (b'{"features": []}', ["zero rows"], {}),
    (b'{"instances": []}', ["zero rows"], {}),
    (b'{"features": [[]]}', ["row 0", "0 values", "takes 4"], {"row": 0, "expected": 4, "received": 0}),
    (b'{"features": [1, 2, 3]}', ["3 values", "takes 4", "petal_width"], {"row": 0, "received": 3}),
    (b'{"features": [[1, 2, 3, 4], [1, 2, 3, 4, 5]]}', ["row 1", "5 values"], {"row": 1, "received": 5}),
    (b'{"features": [1, [2], 3, 4]}', ["row 0", "a number"], {"row": 0}),
    (b'{"features": {"a": 1}}', ["'features'", "not an array"], {}),
    (b'{"instances": 5}', ["'instances'", "not an array"], {}),
    (b'{"instances": [[1, 2, 3, 4], 5]}', ["row 1", "a number"], {"row": 1}),
    (b'{"features": [1, 2, 3, 4], "instances": []}', ["'instances'", "alone"], {}),
    (b'{"features": [1, 2, 3, 4], "extra": 1}', ["'extra'", "alone"], {}),
    (b'{"features": [1, 2, 3, 4], "features": [1, 2, 3, 4]}', ["'features'", "twice"], {}),
    (b'{"features": [1, 2, 3, 4], "f\\u0065atures": [1, 2, 3, 4]}', ["'features'", "twice"], {}),
    (b"{}", ["'sepal_length'", "not given"], {"row": 0, "feature": "sepal_length"}),
    (json.dumps({**RECORD, "nectar": 1}).encode(), ["'nectar'", "unknown"], {"row": 0, "feature": "nectar"}),
    (b'{"sepal_length": 1, "sepal_width": 2}', ["'petal_length'", "not given"], {"feature": "petal_length"}),
    (json.dumps({**RECORD, "Sepal_length": 1}).encode(), ["'Sepal_length'", "unknown"], {}),
    (json.dumps({"instances": [RECORD, {}]}).encode(), ["row 1", "'sepal_length'"], {"row": 1}),
    ((TWICE % "sepal_length").encode(), ["'sepal_length'", "twice"], {"row": 0, "feature": "sepal_length"}),
    ((TWICE % "sepal_\\u006cength").encode(), ["'sepal_length'", "twice"], {"feature": "sepal_length"}),
    (b'{"instances": [[1, 2, 3, 4], {"petal_width": 1, "petal_width": 1}]}', ["row 1", "twice"], {"row": 1}),
    (json.dumps({"x" * 100_000: 1}).encode(), ["xxx...", "unknown"], {"row": 0}),
    (json.dumps({"a": {"b": [1]}}).encode(), ["'a'", "unknown"], {"feature": "a"}),
]  # fmt: skip

# Wrong number -> words of the error.
WRONG_NUMBERS = {
    '"5.1"': ["text ('5.1')", "number belongs"],
    '""': ["text", "number belongs"],
    "true": ["is true", "number belongs"],
    "false": ["is false", "number belongs"],
    "{}": ["an object", "number belongs"],
    "null": ["missing", "null or NaN"],
    "NaN": ["missing", "null or NaN"],
    "Infinity": ["inf", "outside"],
    "-Infinity": ["-inf", "outside"],
    "1e999": ["inf", "outside"],
    "-1e999": ["-inf", "outside"],
    "9" * 5000: ["inf", "outside"],
    "-" + "9" * 5000: ["-inf", "outside"],
    "1.8e308": ["inf", "outside"],
}


def refused(answer, status, code):
    """The document of an error, after checking that it is one of the server's own."""
    assert answer.status_code == status, answer.text
    assert answer.content_type == "application/json"
    assert answer.json["code"] == code
    for trace in ("Traceback", 'File "', "<html", "<!doctype"):
        assert trace not in answer.text
    assert len(answer.text) < 2000
    return answer.json


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize("path", ["/predict", "/models/people/predict"])
def test_malformed_json(client, body, path):
    """A body that is not JSON is refused as such, with the position where there is one."""
    document = refused(client.post(path, data=body), 400, "malformed_json")
    assert document["error"].startswith("the body is not JSON: ")
    placeless = "nested" in document["error"] or "surrogate" in document["error"]
    assert placeless or 0 <= document["position"] <= len(body)


@pytest.mark.parametrize(("body", "words", "details"), INVALID)
def test_invalid_input(client, body, words, details):
    """The refusal of a wrong document names row and feature, and the value that belongs there."""
    document = refused(client.post("/predict", data=body), 400, "invalid_input")
    assert [word for word in words if word not in document["error"]] == []
    assert details.items() <= document.items()


@pytest.mark.parametrize(
    ("body", "clause"),
    [
        (b"age,city\n41,Bonn\n", "it begins with 'age,city\\n41,Bonn\\n', and a table"),
        (b"5.1,3.5,1.4,0.2", "it begins with '5.1,3.5,1.4,0.2', and a table"),
        (b"\x1f\x8b\x08\0", "it is compressed: say Content-Encoding: gzip"),
    ],
)
@pytest.mark.parametrize(
    "path", ["/predict", "/v1/models/people:predict", "/v2/models/people/infer", "/score"]
)
def test_a_table_that_is_sent_as_json_is_told_its_content_type(client, path, body, clause):
    """A client that forgot the header of a table, or of a compressed body, reads which one it is."""
    assert clause in refused(client.post(path, data=body), 400, "malformed_json")["error"]


def test_very_many_names(client):
    """An object with 100,000 names, one of them twice, is read in one pass."""
    pairs = ", ".join(f'"a{index}": 1' for index in range(100_000))
    document = refused(client.post("/predict", data=f'{{{pairs}, "a7": 1}}'), 400, "invalid_input")
    assert document["feature"] == "a7"
    assert "twice" in document["error"]


@pytest.mark.parametrize("wrong", WRONG_NUMBERS, ids=lambda text: text[:9])
@pytest.mark.parametrize("form", ["row", "rows", "record", "instances"])
def test_wrong_numbers(client, wrong, form):
    """The refusal of a wrong number names row and feature, in every form of a request."""
    row, record = (
        f"[5.1, {wrong}, 1.4, 0.2]",
        f'{{"petal_width": 0.2, "sepal_width": {wrong}, "petal_length": 1, "sepal_length": 1}}',
    )
    body = {
        "row": f'{{"features": {row}}}',
        "rows": f'{{"features": [[1, 2, 3, 4], {row}]}}',
        "record": record,
        "instances": f'{{"instances": [[1, 2, 3, 4], {record}]}}',
    }[form]
    document = refused(client.post("/predict", data=body), 400, "invalid_input")
    assert document["feature"] == "sepal_width"
    assert document["row"] == (1 if form in ("rows", "instances") else 0)
    assert [word for word in WRONG_NUMBERS[wrong] if word not in document["error"]] == []


@pytest.mark.parametrize(
    ("wrong", "words"),
    [("2", "a number (2)"), ("true", "is true"), ("{}", "an object"), ("1e999", "a number (inf)")],
)
def test_wrong_categories(client, wrong, words):
    """A category that is not text is refused by row and feature."""
    for body in (
        f'{{"features": [41, 2100, {wrong}, "pro"]}}',
        f'{{"age": 41, "income": 2100, "city": {wrong}, "plan": "pro"}}',
    ):
        document = refused(client.post("/models/people/predict", data=body), 400, "invalid_input")
        assert words in document["error"]
        assert "a category (text) belongs there" in document["error"]
        assert (document["row"], document["feature"]) == (0, "city")


@pytest.mark.parametrize("form", FORMS)
def test_too_many_rows(models, form):
    """max_rows are answered; one more is refused with 413 and the limit."""
    client = create_app(
        Config(models=str(models.path), default_model="iris", limits=Limits(max_rows=3))
    ).test_client()
    assert client.post("/predict", json={form: [FLOWER] * 3}).status_code == 200
    document = refused(client.post("/predict", json={form: [FLOWER] * 4}), 413, "too_many_rows")
    assert (document["rows"], document["limit"]) == (4, 3)


def test_body_over_the_limit(models):
    """max_body_bytes are answered; one more is refused with 413, even if the body is no JSON."""
    config = Config(models=str(models.path), default_model="iris", limits=Limits(max_body_bytes=100))
    client = create_app(config).test_client()
    body = json.dumps({"features": FLOWER}).encode().ljust(100)
    assert client.post("/predict", data=body).status_code == 200
    for wrong in (body + b" ", b"\xff" * 5000):
        assert refused(client.post("/predict", data=wrong), 413, "body_too_large")["limit"] == 100


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/models/rose/predict", ["'rose'", "forest, iris, people"]),
        ("/models/IRIS/predict", ["'IRIS'"]),
        ("/models/%C3%A9%FF/predict", ["é"]),
        ("/models/iris/versions/2/predict", ["no version '2'", "version 1"]),
        ("/models/iris/versions/01/predict", ["no version '01'"]),
        ("/models/iris/versions/-1/predict", ["no version '-1'"]),
        ("/models/rose/versions/1/predict", ["'rose'"]),
    ],
)
def test_unknown_model(client, path, words):
    """The refusal of an unknown model or version lists those that are served."""
    document = refused(client.post(path, json={"features": FLOWER}), 404, "unknown_model")
    assert [word for word in words if word not in document["error"]] == []


def test_no_default_model(models):
    """With several models and no default, the error at /predict names the path to use."""
    client = create_app(Config(models=str(models.path))).test_client()
    document = refused(client.post("/predict", json={"features": FLOWER}), 404, "unknown_model")
    assert "/models/<name>/predict" in document["error"]
    assert "forest, iris, people" in document["error"]


def test_no_models_at_all(tmp_path):
    """A server of an empty folder is not ready, and says that there are no models."""
    client = create_app(Config(models=str(tmp_path))).test_client()
    document = refused(client.post("/predict", json={"features": FLOWER}), 404, "unknown_model")
    assert "no models" in document["error"]
    assert client.get("/readyz").status_code == 503
    assert client.get("/livez").status_code == 200


@pytest.mark.parametrize(
    "path", ["/nope", "/predict/", "/models/", "/favicon.ico", "/%00", "/static/x", "/" + "a" * 5000]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_unknown_path(client, method, path):
    """An unknown path is answered in JSON too."""
    document = refused(client.open(path, method=method), 404, "not_found")
    assert "GET / lists" in document["error"]


def test_websockets(client):
    """A client that asks for a WebSocket learns that there are none."""
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket"}
    document = refused(client.get("/models", headers=upgrade), 400, "bad_request")
    assert "send the request without Upgrade" in document["error"]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "TRACE", "BREW"])
@pytest.mark.parametrize("path", ["/predict", "/models/iris/predict", "/models/iris/versions/1/predict"])
def test_wrong_method_to_predict(client, method, path):
    """A wrong method is refused with the allowed ones in the header and in the document."""
    answer = client.open(path, method=method)
    document = refused(answer, 405, "method_not_allowed")
    assert "POST" in answer.headers["Allow"].split(", ")
    assert document["allowed"] == answer.headers["Allow"].split(", ")
    assert method in document["error"]


@pytest.mark.parametrize("path", ["/", "/models", "/models/iris", "/livez", "/readyz"])
def test_wrong_method_to_a_page(client, path):
    """Pages take no POST."""
    answer = client.post(path)
    refused(answer, 405, "method_not_allowed")
    assert "GET" in answer.headers["Allow"]


@pytest.mark.parametrize(
    "path", ["/models//iris/predict", "//models/iris/predict", "/models/iris//versions/1/predict"]
)
def test_doubled_slashes(app, path):
    """A path with a doubled slash is answered in JSON, never with a page of HTML."""
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": path}
    answer = app.test_client().open(environ_overrides=environ, data=json.dumps({"features": FLOWER}))
    assert answer.content_type == "application/json"
    assert answer.status_code in (200, 404)


def failing(tmp_path, caplog):
    """A client of a model that fails for numbers from 5 on: they index beyond the end of a table."""
    clipped = [
        helper.make_node("Cast", ["X"], ["index"], to=7),
        helper.make_node("Gather", ["table", "index"], ["found"]),
        helper.make_node("Greater", ["found", "zero"], ["positive"]),
    ]
    store(tmp_path, "brittle", embed(graph(clipped + NODES[1:], table=[1.0, 1.0, 1.0, 1.0, -1.0])))
    caplog.set_level(logging.ERROR, "unpickled")
    return create_app(Config(models=str(tmp_path))).test_client()


@pytest.mark.parametrize(
    "body", ['{"features": [9]}', '{"features": [[1], [9]]}', '{"x": 9}', '{"instances": [{"x": 9}]}']
)
def test_graph_that_fails(tmp_path, caplog, body):
    """A graph that fails is answered with 500; its request id is in the log, with the reason."""
    client = failing(tmp_path, caplog)
    assert client.post("/predict", data='{"features": [1]}').status_code == 200
    document = refused(client.post("/predict", data=body), 500, "inference_failed")
    (record,) = caplog.records
    assert document["request_id"] in record.getMessage()
    assert "out of data bounds" in str(record.exc_info[1])
    assert "bounds" not in document["error"]
    assert client.post("/predict", data='{"features": [1]}').status_code == 200


@pytest.mark.parametrize(
    "body", ['{"features": [-3]}', '{"features": [[1], [-3]]}', '{"x": -3}', '{"instances": [[-3]]}']
)
def test_answer_that_is_not_a_number(tmp_path, body):
    """Probabilities that are NaN are never an answer."""
    root = [
        helper.make_node("Greater", ["X", "zero"], ["positive"]),
        helper.make_node("Add", ["X", "two"], ["shifted"]),
        helper.make_node("Log", ["shifted"], ["log"]),
        helper.make_node("Mul", ["log", "zero"], ["nothing"]),
        helper.make_node("Where", ["positive", "high", "low"], ["chosen"]),
        helper.make_node("Add", ["chosen", "nothing"], ["probabilities"]),
        NODES[2],
    ]
    store(tmp_path, "log", embed(graph(root, two=[[2.0]])))
    client = create_app(Config(models=str(tmp_path))).test_client()
    document = refused(client.post("/predict", data=body), 500, "inference_failed")
    assert "not a number" in document["error"]
    assert document["row"] == (1 if "[1]" in body else 0)
