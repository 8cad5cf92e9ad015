"""The Open Inference Protocol: a real server and the clients of the protocol."""

import asyncio
import gzip
import json
import math
import re
import time
import urllib.request
import zlib
from itertools import chain, product

import numpy as np
import pytest
import tritonclient.http.aio
from conftest import FLOWER, FLOWERS, PATIENCE, PERSON, SPECIES, eventually, serving, shelve
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from unpickled.server import Config, create_app
from unpickled.server.config import Traffic

LENGTH = "Inference-Header-Content-Length"
FORMS = list(product([True, False], repeat=2))
ROW = {"name": "numbers", "shape": [1, 4], "datatype": "FP64", "data": FLOWER}


@pytest.fixture(scope="module")
def server(tmp_path_factory, models):
    """A server of iris, forest and people with two workers."""
    folder = tmp_path_factory.mktemp("oip")
    with serving(folder, "--default-model", "iris", "--workers", "2", models=models.path) as server:
        yield server


@pytest.fixture
def triton(server):
    """Triton's client of that server."""
    timeouts = {"connection_timeout": PATIENCE, "network_timeout": PATIENCE}
    with InferenceServerClient(f"127.0.0.1:{server.port}", concurrency=2, **timeouts) as client:
        yield client


def tensor(name, values, binary=True):
    """An input of a Triton client."""
    infer_input = InferInput(name, list(values.shape), np_to_triton_dtype(values.dtype))
    return infer_input.set_data_from_numpy(values, binary_data=binary)


def outputs(binary, *names):
    """Outputs that a Triton client requests."""
    return [InferRequestedOutput(name, binary_data=binary) for name in names or ("label", "probabilities")]


def columns(table, binary=True):
    """A tensor for each column of a table, as pandas codecs write them."""
    return [tensor(name, table[name].to_numpy().reshape(-1, 1), binary) for name in table]


def post(server, path, document, content=b"", **headers):
    """Headers and body of an answer."""
    body = (document if isinstance(document, bytes) else json.dumps(document).encode()) + content
    request = urllib.request.Request(f"{server.url}{path}", body, headers)
    with urllib.request.urlopen(request) as answer:
        return answer.headers, answer.read()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("into", "out"), FORMS)
@pytest.mark.parametrize("name", ["iris", "forest"])
def test_the_same_numbers_as_scikit_learn(triton, models, name, into, out, dtype):
    """Tensors in JSON or binary, one row or many, are answered as scikit-learn answers them."""
    rows, pipeline = models.rows[name].astype(dtype), models.pipelines[name]
    for part in (rows, rows[:1]):
        answer = triton.infer(name, [tensor("numbers", part, into)], outputs=outputs(out))
        assert answer.as_numpy("label").tolist() == pipeline.predict(part).tolist()
        expected = pipeline.predict_proba(part.astype(float))
        np.testing.assert_allclose(answer.as_numpy("probabilities"), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("into", "out"), FORMS)
def test_a_tensor_for_each_feature(triton, models, into, out):
    """Features may be tensors of their own in any order, with gaps and text; labels may be text."""
    table, pipeline = models.rows["people"], models.pipelines["people"]
    answer = triton.infer("people", columns(table, into)[::-1], outputs=outputs(out))
    labels = [label.decode() if out else label for label in answer.as_numpy("label")]
    assert labels == pipeline.predict(table).tolist()
    expected = pipeline.predict_proba(table)
    np.testing.assert_allclose(answer.as_numpy("probabilities"), expected, rtol=0, atol=1e-5)


def test_columns_of_numbers(triton, models):
    """Numeric features may be tensors of their own, of one or two dimensions and of any type."""
    rows = models.rows["iris"].round()
    whole = triton.infer("iris", [tensor("numbers", rows)])
    kinds = [np.int64, np.float32, np.uint8, np.float16]
    parts = [
        tensor(name, column.astype(kind)) for name, column, kind in zip(FLOWERS, rows.T, kinds, strict=True)
    ]
    by_column = triton.infer("iris", parts)
    assert np.array_equal(by_column.as_numpy("probabilities"), whole.as_numpy("probabilities"))


def test_some_inputs_binary_and_some_not(triton, models):
    """Each input and output is JSON or binary as the client says."""
    table = models.rows["people"].head(3)
    mixed = [*columns(table[["age", "city"]]), *columns(table[["income", "plan"]], binary=False)]
    requested = [*outputs(False, "probabilities"), *outputs(True, "label")]
    answer = triton.infer("people", mixed, outputs=requested, request_id="one:two", priority=1, timeout=10**8)
    assert [output["name"] for output in answer.get_response()["outputs"]] == ["probabilities", "label"]
    assert answer.get_response()["id"] == "one:two"
    assert answer.get_output("label")["parameters"] == {"binary_data_size": len(answer._buffer)}
    assert answer.as_numpy("probabilities").shape == (3, 2)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False])
def test_compression(triton, models, coding, binary):
    """Requests and answers are compressed as the client says."""
    rows = models.rows["iris"]
    plain = triton.infer("iris", [tensor("numbers", rows)])
    compressed = triton.infer(
        "iris",
        [tensor("numbers", rows, binary)],
        outputs=outputs(binary),
        request_compression_algorithm=coding,
        response_compression_algorithm=coding,
    )
    assert np.array_equal(compressed.as_numpy("probabilities"), plain.as_numpy("probabilities"))


@pytest.mark.parametrize("accepted", ["gzip", "Deflate", "gzip, deflate", "br", "identity", "gzip, br"])
def test_only_who_names_one_coding_gets_it(server, accepted):
    """An answer is compressed for a client that names one coding; HTTP libraries name several."""
    headers, body = post(server, "/v2/models/iris/infer", {"inputs": [ROW]}, **{"Accept-Encoding": accepted})
    coding = headers["Content-Encoding"]
    assert coding == (accepted.lower() if accepted.lower() in {"gzip", "deflate"} else None)
    content = {"gzip": gzip.decompress, "deflate": zlib.decompress}.get(coding, bytes)(body)
    assert json.loads(content)["model_name"] == "iris"
    assert headers["Model-Version"] == "1"


def test_asyncio(server, models):
    """Triton's client for asyncio, which sends other headers, gets the same answers."""

    async def infer():
        address = f"127.0.0.1:{server.port}"
        async with tritonclient.http.aio.InferenceServerClient(address, conn_timeout=PATIENCE) as client:
            assert await client.is_server_ready()
            assert (await client.get_model_metadata("iris"))["platform"] == "onnx_onnxv1"
            pending = (
                client.infer(
                    "iris",
                    [tensor("numbers", rows, binary)],
                    request_compression_algorithm=coding,
                    response_compression_algorithm=coding,
                )
                for binary, coding in product([True, False], [None, "gzip", "deflate"])
            )
            with pytest.raises(InferenceServerException, match="there is no model 'none'"):
                await client.infer("none", [tensor("numbers", rows)])
            return await asyncio.gather(*pending)

    rows = models.rows["iris"]
    expected = models.pipelines["iris"].predict_proba(rows)
    for answer in asyncio.run(infer()):
        np.testing.assert_allclose(answer.as_numpy("probabilities"), expected, rtol=0, atol=1e-9)


def test_requests_at_once(triton, models):
    """Several requests of one client are answered at the same time."""
    rows = models.rows["iris"]
    pending = [triton.async_infer("iris", [tensor("numbers", rows[i : i + 1])]) for i in range(20)]
    labels = [answer.get_result().as_numpy("label")[0] for answer in pending]
    assert labels == models.pipelines["iris"].predict(rows[:20]).tolist()


def test_best_classes(triton, models):
    """classification=N is answered with the N best classes as value:index:name."""
    rows = models.rows["iris"][::50]
    expected = models.pipelines["iris"].predict_proba(rows)
    for count, binary in product([1, 2, 9], [True, False]):
        requested = [InferRequestedOutput("probabilities", binary_data=binary, class_count=count)]
        answer = triton.infer("iris", [tensor("numbers", rows)], outputs=requested)
        best = answer.as_numpy("probabilities")
        assert best.shape == (3, min(count, 3))
        for text, scores in zip(best[:, 0], expected, strict=True):
            value, index, name = (text.decode() if binary else text).split(":")
            assert (int(index), name) == (scores.argmax(), SPECIES[scores.argmax()])
            assert math.isclose(float(value), scores.max(), abs_tol=1e-9)


def test_a_body_without_json(server, models):
    """With Inference-Header-Content-Length: 0, the whole body is the tensor."""
    rows = models.rows["iris"]
    headers, body = post(server, "/v2/models/iris/infer", b"", rows.tobytes(), **{LENGTH: "0"})
    length = int(headers[LENGTH])
    label, scores = json.loads(body[:length])["outputs"]
    size = label["parameters"]["binary_data_size"]
    assert headers["Content-Type"] == "application/octet-stream"
    assert (
        np.frombuffer(body, "<i8", len(rows), length).tolist()
        == models.pipelines["iris"].predict(rows).tolist()
    )
    probabilities = np.frombuffer(body[length + size :], "<f8").reshape(scores["shape"])
    np.testing.assert_allclose(probabilities, models.pipelines["iris"].predict_proba(rows), rtol=0, atol=1e-9)


@pytest.mark.parametrize("gap", ["null", "NaN"])
@pytest.mark.parametrize("place", range(4))
def test_gaps(server, triton, models, gap, place):
    """null, the token NaN of Triton's client and a NaN in binary are missing values."""
    row = np.array([FLOWER])
    row[0, place] = np.nan
    expected = models.pipelines["forest"].predict_proba(row)
    body = json.dumps({"inputs": [ROW | {"data": row.tolist()}]}).replace("NaN", gap).encode()
    probabilities = json.loads(post(server, "/v2/models/forest/infer", body)[1])["outputs"][1]["data"]
    np.testing.assert_allclose([probabilities], expected, rtol=0, atol=1e-6)
    for binary in (True, False):
        answer = triton.infer("forest", [tensor("numbers", row, binary)])
        np.testing.assert_allclose(answer.as_numpy("probabilities"), expected, rtol=0, atol=1e-6)
        with pytest.raises(InferenceServerException, match=f"'{FLOWERS[place]}' of row 0 is missing"):
            triton.infer("iris", [tensor("numbers", row, binary)])


def test_metadata(triton):
    """Server, models and versions have metadata."""
    about = triton.get_server_metadata()
    assert about["name"] == "unpickled"
    assert {"binary_tensor_data", "classification", "statistics"} <= {*about["extensions"]}
    iris = triton.get_model_metadata("iris", "1")
    assert iris["inputs"] == [{"name": "numbers", "datatype": "FP64", "shape": [-1, 4]}]
    assert iris["versions"] == ["1"]
    people = triton.get_model_metadata("people")
    assert [(entry["name"], entry["datatype"], entry["shape"]) for entry in people["inputs"]] == [
        ("age", "FP64", [-1, 1]),
        ("income", "FP64", [-1, 1]),
        ("city", "BYTES", [-1, 1]),
        ("plan", "BYTES", [-1, 1]),
    ]
    assert [entry["datatype"] for entry in people["outputs"]] == ["BYTES", "FP64"]
    assert triton.get_model_config("people")["input"][2] == {
        "name": "city", "data_type": "TYPE_STRING", "dims": [1]
    }  # fmt: skip


def test_what_is_ready(triton):
    """Server, models and versions report whether they are live and ready, and the index lists them."""
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.is_model_ready("iris")
    assert triton.is_model_ready("iris", "1")
    assert not triton.is_model_ready("iris", "2")
    assert not triton.is_model_ready("none")
    index = triton.get_model_repository_index()
    assert [(entry["name"], entry["version"], entry["state"]) for entry in index] == [
        ("forest", "1", "READY"),
        ("iris", "1", "READY"),
        ("people", "1", "READY"),
    ]


def test_statistics(triton, server, models):
    """The statistics sum requests, rows, runs and their times over the workers and all protocols."""
    before, began = triton.get_inference_statistics("people")["model_stats"][0], 1000 * time.time()
    triton.infer("people", columns(models.rows["people"].head(30)))
    server.ask("/models/people/predict", json.dumps(PERSON).encode())
    with pytest.raises(InferenceServerException):
        triton.infer("people", columns(models.rows["people"][["age"]]))
    after = triton.get_inference_statistics("people", "1")["model_stats"][0]
    assert after["inference_count"] == before["inference_count"] + 31
    assert after["execution_count"] == before["execution_count"] + 2
    stats, old = after["inference_stats"], before["inference_stats"]
    assert stats["success"]["count"] == old["success"]["count"] + 2
    assert stats["fail"]["count"] == old["fail"]["count"] + 1
    parts = ("queue", "compute_input", "compute_infer", "compute_output")
    assert 0 < sum(stats[part]["ns"] for part in parts) == pytest.approx(stats["success"]["ns"], abs=4)
    assert {"cache_hit", "cache_miss"} <= {*stats}
    # The server measures with another clock than it reports, so the bounds are wide.
    assert began - 60_000 < after["last_inference"] < 1000 * time.time() + 1000
    every = triton.get_inference_statistics()["model_stats"]
    assert [entry["name"] for entry in every] == ["forest", "iris", "people"]


@pytest.mark.parametrize(
    ("ask", "status", "words"),
    [
        (lambda triton: triton.infer("none", [tensor("x", np.zeros(1))]), 404, "there is no model 'none'"),
        (lambda triton: triton.infer("iris", [tensor("x", np.zeros((1, 4)))]), 400, "'x' is unknown"),
        (lambda triton: triton.infer("iris", [tensor("numbers", np.zeros((1, 5)))]), 400, "shape"),
        (lambda triton: triton.infer("iris", [tensor("numbers", np.zeros((0, 4)))]), 400, "zero rows"),
        (lambda triton: triton.infer("iris", [tensor("numbers", np.zeros((10**5 + 1, 4)))]), 413, "rows"),
        (lambda triton: triton.infer("iris", [tensor("numbers", np.zeros((1, 4)))], "9"), 404, "no version"),
        (lambda triton: triton.infer("iris", [tensor("numbers", np.full((1, 4), np.inf))]), 400, "is inf"),
        (lambda triton: triton.infer("iris", [tensor("sepal_width", np.zeros(1))]), 400, "are not given"),
        (
            lambda triton: triton.infer(
                "iris", [tensor("numbers", np.zeros((1, 4)))], outputs=outputs(True, "x")
            ),
            400,
            "no output 'x'",
        ),
        (lambda triton: triton.load_model("iris"), 501, "models folder"),
        (lambda triton: triton.unload_model("iris"), 501, "models folder"),
        (lambda triton: triton.get_model_metadata("none"), 404, "there is no model 'none'"),
        (lambda triton: triton.get_inference_statistics("none"), 404, "there is no model 'none'"),
        (lambda triton: triton.get_model_config("iris", "9"), 404, "no version '9'"),
        (lambda triton: triton.get_trace_settings("iris"), 404, "there is nothing under"),
        (lambda triton: triton.get_cuda_shared_memory_status(), 404, "there is nothing under"),
    ],
)
def test_errors_are_sentences(triton, ask, status, words):
    """Triton's client shows the reason of every refusal."""
    with pytest.raises(InferenceServerException, match=words) as caught:
        ask(triton)
    assert caught.value.status() == str(status)


SPELLINGS = [
    {"inputs": [ROW]},
    {"id": "x", "inputs": [ROW]},
    {"inputs": [ROW], "id": None, "outputs": None, "parameters": None},
    {"inputs": [ROW | {"data": [FLOWER]}]},
    {"inputs": [ROW | {"name": "input-0", "datatype": "FP32"}]},
    {"inputs": [ROW], "outputs": [{"name": "label"}, {"name": "probabilities"}]},
    {"inputs": [ROW], "parameters": {"sequence_id": 5, "note": "a:b"}, "unknown": {}},
    {"inputs": [ROW | {"data": [FLOWER[0], FLOWER[1], *FLOWER[2:]], "parameters": {"content_type": "np"}}]},
    {
        "inputs": [
            {"name": name, "shape": [1], "datatype": "FP64", "data": [value]}
            for name, value in zip(FLOWERS, FLOWER, strict=True)
        ]
    },
]


@pytest.mark.parametrize("document", SPELLINGS)
def test_one_row_in_every_spelling(client, document):
    """Every spelling of a row gets the same bytes, apart from the id."""
    plain = client.post("/v2/models/iris/infer", data=json.dumps(SPELLINGS[0]))
    answer = client.post("/v2/models/iris/infer", data=json.dumps(document, indent=1))
    identity = f',"id":"{document["id"]}"' if document.get("id") else ""
    assert answer.data == plain.data[:-1] + identity.encode() + b"}"
    native = client.post("/predict", json={"features": FLOWER}).get_json()
    assert json.loads(plain.data)["outputs"][1]["data"] == native["probabilities"][0]


def test_one_mixed_tensor(client):
    """Features of two kinds may be one tensor of BYTES in JSON."""
    row = {"name": "input-0", "shape": [2, 4], "datatype": "BYTES"}
    people = [[*PERSON.values()], [None, 900, "Köln", None]]
    for data in (people, [value for person in people for value in person]):
        answer = client.post("/v2/models/people/infer", json={"inputs": [row | {"data": data}]})
        native = client.post("/models/people/predict", json={"features": people}).get_json()
        assert answer.get_json()["outputs"][0]["data"] == native["prediction"]
        assert answer.get_json()["outputs"][1]["data"] == [*chain.from_iterable(native["probabilities"])]


def test_versions_and_labels(tmp_path, models):
    """A version is addressed by its number or by its label."""
    (shelve(models, tmp_path / "iris", "iris", "forest") / "serving.toml").write_text(
        'load = "all"\n[labels]\nstable = 1\ncandidate = 2\n'
    )
    client = create_app(Config(models=str(tmp_path))).test_client()
    for word, version in (("1", "1"), ("2", "2"), ("stable", "1"), ("candidate", "2")):
        path = f"/v2/models/iris/versions/{word}"
        answer = client.post(f"{path}/infer", json={"inputs": [ROW]})
        assert answer.get_json()["model_version"] == answer.headers["Model-Version"] == version
        assert client.get(f"{path}/ready").get_json() == {"name": "iris", "ready": True}
        assert client.get(path).get_json()["versions"] == ["1", "2"]
        assert client.get(f"{path}/stats").get_json()["model_stats"][0]["version"] == version
    assert client.post("/v2/models/iris/versions/none/infer", json={"inputs": [ROW]}).status_code == 404
    assert client.get("/v2/models/iris/versions/none").status_code == 404


@pytest.mark.parametrize("name", ["iris", "people"])
def test_a_shadow_sees_tensors(tmp_path, models, name):
    """A shadow answers rows that came as tensors, whole or by feature."""
    home = shelve(models, tmp_path / name, name, name)
    (home / "serving.toml").write_text("[labels]\nstable = 1\n[shadow]\nversion = 2\n")
    client = create_app(Config(models=str(tmp_path))).test_client()
    rows = models.rows[name]
    inputs = [tensor("numbers", rows)] if name == "iris" else columns(rows)
    body, length = InferenceServerClient.generate_request_body(inputs)
    answer = client.post(f"/v2/models/{name}/infer", data=body, headers={LENGTH: length})
    assert answer.status_code == 200
    agreeing = re.compile(r'^unpickled_shadow_rows_total{.*agreement="same".*} (\d+)', re.MULTILINE)
    eventually(lambda: sum(map(float, agreeing.findall(client.get("/metrics").text))) == len(rows))


def test_without_the_fast_path(models, client):
    """Flask's view answers every form with the same bytes as the fast path."""
    without = create_app(Config(models=str(models.path), traffic=Traffic(fast_path=False))).test_client()
    body, length = InferenceServerClient.generate_request_body([tensor("numbers", models.rows["iris"])])
    for data, headers in ((body, {LENGTH: length}), (body, {}), (body[:-1], {LENGTH: length}), (b"{}", {})):
        request = {"data": data, "headers": headers}
        fast, flask = (each.post("/v2/models/iris/infer", **request) for each in (client, without))
        assert (fast.status_code, fast.data) == (flask.status_code, flask.data)
        # Each application gives ids of its own.
        assert len({answer.headers.pop("Prediction-Id", None) for answer in (fast, flask)} - {None}) in (0, 2)
        assert {*fast.headers.items()} == {*flask.headers.items()}
    for document in SPELLINGS:
        fast, flask = (each.post("/v2/models/iris/infer", json=document) for each in (client, without))
        assert (fast.status_code, fast.data) == (flask.status_code, flask.data)


def test_the_index_says_what_is_refused(tmp_path, models):
    """The index has the reason of a refused version, and readiness answers 503."""
    shelve(models, tmp_path / "iris", "iris")
    broken = tmp_path / "broken" / "3"
    broken.mkdir(parents=True)
    (broken / "model.onnx").write_bytes(b"?")
    client = create_app(Config(models=str(tmp_path))).test_client()
    first, second = client.post("/v2/repository/index").get_json()
    assert (first["name"], first["version"], first["state"]) == ("broken", "3", "UNAVAILABLE")
    assert first["reason"]
    assert client.post("/v2/repository/index", json={"ready": True}).get_json() == [second]
    assert client.post("/v2/repository/index", json=[]).status_code == 400
    answer = client.get("/v2/health/ready")
    assert (answer.status_code, answer.get_json()["ready"]) == (503, False)
    assert client.get("/v2/models/broken/ready").status_code == 503
