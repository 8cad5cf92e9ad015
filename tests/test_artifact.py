"""Files that must not be served are refused by name, with the reason; the other models serve."""

import json
import random

import msgspec
import numpy as np
import onnx
import pytest
from conftest import FLOWER, serving
from handmade import MANIFEST, NODES, NUMBERS, embed, graph, regressor, store, undigested
from msgspec.structs import replace
from onnx import TensorProto, helper

from unpickled.server import Config, create_app
from unpickled.server.artifact import manifest as artifact
from unpickled.server.artifact.manifest import Errors, Feature, Golden, Metrics, Outputs
from unpickled.server.errors import ArtifactError
from unpickled.server.model import session as model

FEATURE, GOLDEN, TENSOR = MANIFEST.features[0], MANIFEST.golden, MANIFEST.inputs[0]
CATEGORY = Feature(name="x", kind="category", missing=False, categories=("a", "b"))
ACCURACY = Metrics(accuracy=1.0, log_loss=None, classes=(), confusion=())
TEXTS = replace(MANIFEST.inputs[0], dtype="string")


def external() -> bytes:
    """A graph that keeps its weights in a file in the working directory."""
    file = graph()
    weights = file.graph.initializer[1]
    onnx.external_data_helper.set_external_data(weights, "/etc/hostname")
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    return embed(file)


def foreign(domain: str = "com.example", nested: bool = False) -> bytes:
    """A graph with an operator that is not ONNX's own; ``nested`` puts it inside a loop."""
    node = helper.make_node("Gelu", ["X"], ["y"], domain=domain)
    file = graph()
    if nested:
        body = helper.make_graph([node], "body", [], [helper.make_tensor_value_info("y", 1, None)])
        node = helper.make_node("Scan", ["X"], ["z"], body=body, num_scan_inputs=1)
    file.graph.node.append(node)
    file.opset_import.append(helper.make_opsetid(domain, 1))
    return embed(file)


def functions() -> bytes:
    file = graph()
    negate = helper.make_node("Neg", ["x"], ["y"])
    opset = helper.make_opsetid("", 21)
    file.functions.append(helper.make_function("local", "Negate", ["x"], ["y"], [negate], [opset]))
    return embed(file)


def length_delimited(tag: int, payload: bytes) -> bytes:
    def varint(number: int) -> bytes:
        low, rest = number & 0x7F, number >> 7
        return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])

    return varint(tag) + varint(len(payload)) + payload


def disguised() -> bytes:
    """Like foreign, but the field number of the domain has a bit above the 32 that readers keep."""
    file = graph()
    file.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    single = helper.make_node("Cast", ["X"], ["single"], to=TensorProto.FLOAT).SerializeToString()
    gelu = helper.make_node("Gelu", ["single"], ["y"]).SerializeToString()
    gelu += length_delimited((7 << 3 | 2) | 1 << 32, b"com.microsoft")
    nodes = (
        file.graph.SerializeToString()
        + length_delimited(1 << 3 | 2, single)
        + length_delimited(1 << 3 | 2, gelu)
    )
    file.ClearField("graph")
    return embed(file) + length_delimited(7 << 3 | 2, nodes)


def domain_is_a_number() -> bytes:
    """A node whose domain field is a varint, which protobuf would skip as unknown."""
    file = graph()
    nodes = file.graph.SerializeToString() + length_delimited(1 << 3 | 2, b"\x38\x01")
    file.ClearField("graph")
    return embed(file) + length_delimited(7 << 3 | 2, nodes)


def summed() -> bytes:
    """A graph with a single score, whatever the number of rows."""
    where = helper.make_node("Where", ["positive", "high", "low"], ["chosen"])
    label = helper.make_node("ArgMax", ["chosen"], ["label"], axis=1, keepdims=0)
    total = helper.make_node("ReduceSum", ["chosen"], ["probabilities"], keepdims=0)
    return embed(graph([NODES[0], where, label, total]))


def edited(**changes) -> bytes:
    """The sound graph with a changed manifest."""
    return embed(graph(), **changes)


def golden(**changes) -> bytes:
    """The sound graph with changed golden rows."""
    return edited(golden=replace(GOLDEN, **changes))


def numbers(**changes) -> bytes:
    """The sound regressor with changed outputs."""
    return regressor(outputs=replace(NUMBERS.outputs, **changes))


def predicted(**changes) -> bytes:
    """The sound regressor with changed golden rows."""
    return regressor(golden=replace(NUMBERS.golden, **changes))


WHOLE = embed(graph())
# Name -> content of the file, pattern of the reason for its refusal.
REFUSED = {
    "empty": (b"", "not an ONNX file"),
    "text": (b"<!doctype html><html><body>404</body></html>", "damaged|not an ONNX"),
    "pickle": (b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x07builtins\x94.", "damaged|not an ONNX"),
    "git-lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "damaged|not an ONNX"),
    "truncated": (WHOLE[:-20], "truncated"),
    "half": (WHOLE[: len(WHOLE) // 2], "truncated|not an ONNX"),
    "twice": (WHOLE + WHOLE, "more than one graph"),
    "external data": (external(), "external data"),
    "foreign operator": (foreign(), "'com.example.Gelu'"),
    "contributed operator": (foreign("com.microsoft"), "'com.microsoft.Gelu'"),
    "foreign operator in a loop": (foreign(nested=True), "'com.example.Gelu'"),
    "foreign operator in disguise": (disguised(), "damaged|com.microsoft"),
    "domain is a number": (domain_is_a_number(), "damaged"),
    "functions": (functions(), "functions"),
    "unknown operator": (embed(graph([*NODES, helper.make_node("No", ["X"], ["y"])])), "'No' is none that"),
    "no manifest": (embed(graph(), None), "'unpickled.manifest'"),
    "manifest not json": (embed(graph(), b'{"schema": 1, "na'), "manifest cannot be read"),
    "manifest not utf-8": (WHOLE.replace(b'"name"', b'"\xff\xffme"'), "manifest cannot be read"),
    "manifest of another shape": (embed(graph(), b'{"schema": 1, "name": 5}'), "manifest cannot be read"),
    "newer schema": (embed(graph(), b'{"schema": 2, "future": true}'), "schema 2.*upgrade the server"),
    "older schema": (edited(schema=0), "schema 0.*export the pipeline again"),
    "no features": (edited(features=(), inputs=()), "contradicts itself: it has no features"),
    "feature twice": (edited(features=(FEATURE, FEATURE)), "two features called 'x'"),
    "feature not fed": (edited(inputs=(replace(TENSOR, features=("y",)),)), "'x' is no column of any input"),
    "input twice": (edited(inputs=(TENSOR, TENSOR)), "two inputs called 'X'"),
    "feature fed twice": (edited(inputs=(replace(TENSOR, features=("x", "x")),)), "inputs twice"),
    "column unknown": (edited(inputs=(replace(TENSOR, features=("x", "y")),)), "'y', which is no feature"),
    "categories of none": (
        edited(features=(replace(CATEGORY, closed=True, categories=()),), inputs=(TEXTS,)),
        "takes only known values, and knows none",
    ),
    "empty range": (edited(features=(replace(FEATURE, lowest=2.0, highest=1.0),)), "2.0 is above 1.0"),
    "no classes": (edited(classes=(), class_names=()), "it has no classes"),
    "golden scores too few": (golden(scores=((0.75, 0.25),)), "2 golden rows have 2 labels and 1 rows of"),
    "golden scores too short": (golden(scores=((1.0,), (0.25, 0.75))), "golden row 0 has 1 scores for 2"),
    "class twice": (edited(classes=(0, 0)), "the class '0' twice"),
    "class name twice": (edited(class_names=("a", "a")), "two classes called 'a'"),
    "too few class names": (edited(class_names=("a",)), "2 classes have 1 names"),
    "no golden rows": (edited(golden=Golden(rows=(), labels=(), scores=())), "it has no golden rows"),
    "golden row too long": (golden(rows=((1.0, 2.0), (1.0,))), "golden row 0 has 2 values for 1 feature"),
    "golden label unknown": (golden(labels=(0, 7)), "golden row 1 has the label '7'"),
    "golden label wrong": (golden(labels=(1, 1)), "answers golden row 0"),
    "golden score wrong": (golden(scores=((0.75, 0.25), (0.3, 0.7))), "golden row 1"),
    "golden row of text": (golden(rows=(("a",), ("b",))), "golden"),
    "golden row missing": (golden(rows=((None,), (1.0,))), "golden"),
    "weights wrong": (embed(graph(low=[[0.74, 0.26]])), "answers golden row 0"),
    "category for a number": (
        edited(features=(CATEGORY,), golden=replace(GOLDEN, rows=(("a",), ("b",)))),
        "'x' is a category, but its input holds float64",
    ),
    "category for a number alone": (edited(features=(CATEGORY,)), "holds float64"),
    "other tensor name": (edited(inputs=(replace(TENSOR, name="Y"),)), "its graph takes"),
    "other tensor type": (edited(inputs=(replace(TENSOR, dtype="float32"),)), "its graph takes"),
    "other output": (edited(outputs=replace(MANIFEST.outputs, scores="p")), "its graph makes"),
    "outputs swapped": (edited(outputs=Outputs(label="probabilities", scores="label", kind="scores")), ""),
    "scores of no shape": (summed(), "golden"),
    "three classes told": (
        embed(
            graph(),
            classes=(0, 1, 2),
            class_names=("a", "b", "c"),
            golden=replace(GOLDEN, scores=((0.7, 0.2, 0.1), (0.2, 0.7, 0.1))),
        ),
        "golden",
    ),
    "labels of text told": (
        edited(classes=("0", "1"), golden=replace(GOLDEN, labels=("0", "1"))),
        "its graph makes",
    ),
    "no targets": (numbers(targets=(), deciles=()), "it has no targets"),
    "target twice": (numbers(targets=("a", "a"), deciles=()), "two targets called 'a'"),
    "deciles of no target": (numbers(deciles=((1.0,), (2.0,))), "targets is 1, and it has deciles of 2"),
    "deciles in disorder": (numbers(deciles=((1.0, 1.0),)), "deciles of target 'price' do not ascend"),
    "spans of no target": (numbers(spans=((0.0, 1.0),) * 2), "targets is 1, and it has spans of 2"),
    "span of nothing": (numbers(spans=((1.0, 0.0),)), "the span of target 'price' is 0.0"),
    "number with classes": (regressor(classes=(0, 1), class_names=("a", "b")), "numbers, and has classes"),
    "number with a label": (numbers(label="label"), "numbers, and has an output with labels"),
    "golden number with labels": (predicted(labels=(0, 1)), "its golden rows have labels"),
    "accuracy of numbers": (
        regressor(training=replace(NUMBERS.training, metrics=ACCURACY)),
        "the accuracy of a classifier",
    ),
    "errors of no target": (
        regressor(
            training=replace(
                NUMBERS.training,
                errors=(Errors(target="cost", rows=1, mae=0.0, rmse=0.0, r2=None, residuals=()),),
            )
        ),
        "errors of 'cost', which are not its targets",
    ),
    "golden numbers too few": (predicted(scores=((2.0,),)), "2 golden rows have 1 rows of predictions"),
    "golden numbers too long": (predicted(scores=((2.0, 1.0), (6.0,))), "row 0 has 2 predictions for 1"),
    "golden number wrong": (predicted(scores=((2.0,), (6.001,))), r"answers golden row 1 with \[6.0\]"),
    "golden number of no number": (predicted(rows=((None,), (3.0,))), "golden"),
    "two targets told": (
        regressor(
            outputs=replace(NUMBERS.outputs, targets=("a", "b"), deciles=()),
            golden=replace(NUMBERS.golden, scores=((2.0, 2.0), (6.0, 6.0))),
        ),
        "fails on its golden rows.*numbers of shape",
    ),
    "classifier told": (
        regressor(outputs=MANIFEST.outputs, classes=(0, 1), class_names=("a", "b"), golden=GOLDEN),
        "its graph makes",
    ),
    "numbers told": (embed(graph(), NUMBERS), "its graph makes"),
    "opset of the future": (embed(graph(opset=999)), "ONNX Runtime cannot load"),
}  # fmt: skip


def test_the_handmade_files_are_sound():
    """The files that the refused ones are made from are served."""
    assert model.load(WHOLE).manifest == MANIFEST
    assert model.load(regressor()).manifest == NUMBERS


@pytest.mark.parametrize(("content", "reason"), REFUSED.values(), ids=REFUSED)
def test_refused(content, reason):
    """Each file raises ArtifactError with its own reason, and no other exception."""
    with pytest.raises(ArtifactError, match=f"(?s){reason}"):
        model.load(content)


@pytest.fixture(scope="module")
def mixed(models, tmp_path_factory):
    """A folder with one sound model and every refused one."""
    folder = tmp_path_factory.mktemp("mixed")
    store(folder, "iris", (models.path / "iris" / "1" / "model.onnx").read_bytes())
    for index, (content, _) in enumerate(REFUSED.values()):
        store(folder, f"bad{index}", content)
    (folder / "empty").mkdir()
    (folder / "no-file" / "3").mkdir(parents=True)
    (folder / "is-a-folder" / "1" / "model.onnx").mkdir(parents=True)
    store(folder, "bad name", WHOLE)
    store(folder, ".hidden", WHOLE)
    (folder / "README").write_text("not a model")
    return folder


@pytest.fixture(scope="module")
def partly(mixed):
    return create_app(Config(models=str(mixed), default_model="iris")).test_client()


def test_the_others_serve(partly):
    """One sound model among many refused ones is served."""
    answer = partly.post("/predict", json={"features": FLOWER})
    assert (answer.status_code, answer.json["predicted_class"]) == (200, ["setosa"])


def test_not_ready_says_why(partly):
    """/readyz answers 503 with a reason for each refused model; /livez answers 200."""
    answer = partly.get("/readyz")
    assert (answer.status_code, answer.json["ready"], answer.json["served"]) == (503, False, ["iris"])
    expected = {f"bad{index}" for index in range(len(REFUSED))} | {
        "no-file",
        "is-a-folder",
        "bad name",
    }
    assert answer.json["refused"].keys() == expected
    assert "cannot be read" in answer.json["refused"]["no-file"]
    assert partly.get("/livez").status_code == 200


def test_listing_says_why(partly):
    """/models lists the refused models with their reasons, beside the others."""
    cards = {card["name"]: card for card in partly.get("/models").json["models"]}
    assert cards["iris"]["ready"] is True
    external_data = cards[f"bad{list(REFUSED).index('external data')}"]
    assert external_data["ready"] is False
    assert (external_data["version"], "external data" in external_data["reason"]) == (1, True)


@pytest.mark.parametrize("path", ["/models/bad0/predict", "/models/bad0/versions/1/predict"])
def test_refused_model_is_not_ready(partly, path):
    """A prediction from a refused model is 503 with the reason; from an unknown model it is 404."""
    answer = partly.post(path, json={"features": FLOWER})
    assert (answer.status_code, answer.json["code"], answer.json["model"]) == (503, "not_ready", "bad0")
    assert "not an ONNX file" in answer.json["error"]
    assert partly.get("/models/bad0").status_code == 503
    assert partly.post("/models/bad999/predict").status_code == 404


def test_server_with_refused_models(mixed, tmp_path):
    """The server starts, names the refused models in its banner, and serves the others."""
    with serving(tmp_path, "--default-model", "iris", models=mixed) as server:
        assert server.ask("/predict", json.dumps({"features": FLOWER}).encode())[0] == 200
        assert server.ask("/readyz")[0] == 503
        assert server.process.poll() is None
    printed = server.printed()
    assert printed.count("NOT SERVED") == len(REFUSED) + 3
    assert "Traceback" not in printed
    assert server.process.returncode == 0


def test_newest_version_is_served(models, tmp_path):
    """The highest number is the version that is served; folders with other names are ignored."""
    content = (models.path / "iris" / "1" / "model.onnx").read_bytes()
    for version in (2, 9, 10):
        store(tmp_path, "iris", content, version)
    for folder in ("latest", "011", "v12", ".new-1", "-3", "1e3"):
        (tmp_path / "iris" / folder).mkdir()
    (tmp_path / "iris" / "99").write_text("a file")
    client = create_app(Config(models=str(tmp_path))).test_client()
    assert client.post("/predict", json={"features": FLOWER}).headers["Model-Version"] == "10"
    assert client.post("/models/iris/versions/9/predict", json={"features": FLOWER}).status_code == 404


def damaged(content: bytes, seed: int) -> list[bytes]:
    """A file truncated at many places, and with single bits flipped all over it."""
    rng = random.Random(seed)
    cut = [content[:size] for size in rng.sample(range(len(content)), 60)]
    for place in rng.sample(range(len(content)), 500):
        flipped = bytearray(content)
        flipped[place] ^= 1 << rng.randrange(8)
        cut.append(bytes(flipped))
    return cut


@pytest.mark.parametrize("name", ["iris", "people", "forest"])
def test_damaged_files(models, capfd, name):
    """Without a digest, an altered file is refused, or answers its golden rows; the process never dies."""
    served = 0
    whole = undigested((models.path / name / "1" / "model.onnx").read_bytes())
    for content in damaged(whole, seed=5):
        try:
            loaded = model.load(content)
        except ArtifactError:
            continue
        served += 1
        golden = artifact.read(content).golden
        labels, scores = loaded.run(loaded.signature.feeds(golden.rows))
        assert labels.tolist() == list(golden.labels)
        np.testing.assert_allclose(scores, golden.scores, rtol=1e-5, atol=1e-5)
    assert 0 < served < 560


def test_manifest_survives_its_own_format(models):
    """A reader of JSON and a reader of ONNX get the same manifest from a file."""
    file = onnx.load(models.path / "iris" / "1" / "model.onnx")
    text = {entry.key: entry.value for entry in file.metadata_props}[artifact.MANIFEST_KEY]
    read = artifact.read(file.SerializeToString())
    assert msgspec.json.decode(text, type=artifact.Manifest) == read
    assert json.loads(text)["schema"] == artifact.SCHEMA == read.schema


def test_no_row_of_the_data(models):
    """Golden rows lie within the training ranges, and none is a row of the data."""
    manifest = artifact.read((models.path / "iris" / "1" / "model.onnx").read_bytes())
    rows = {tuple(row) for row in models.rows["iris"].tolist()}
    assert not rows & set(manifest.golden.rows)
    for row in manifest.golden.rows:
        assert all(
            feature.minimum <= cell <= feature.maximum
            for feature, cell in zip(manifest.features, row, strict=True)
        )
