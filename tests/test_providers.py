"""Execution providers: the report is true, strict mode refuses, and golden rows catch other answers."""

import sys
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from conftest import FLOWER, Models, copied, run, serving
from handmade import MANIFEST, NODES, embed, graph, store
from msgspec.structs import replace
from onnx import TensorProto, helper
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from unpickled.export import export_pipeline
from unpickled.server.artifact.manifest import Input
from unpickled.server.config import Provider, Runtime
from unpickled.server.errors import ProviderError
from unpickled.server.model.session import load

OPENVINO = "OpenVINOExecutionProvider"
FLAGS = ["--provider", OPENVINO, "CPUExecutionProvider"]
# Every wheel for the CPU has this provider. It runs none of ONNX's own operators.
IDLE = "AzureExecutionProvider"
idle = pytest.mark.skipif(IDLE not in onnxruntime.get_available_providers(), reason=f"needs {IDLE}")


def runtime(strict: bool) -> Runtime:
    """A provider that runs no node, and then the CPU's."""
    return Runtime(provider=(Provider(name=IDLE), Provider(name="CPUExecutionProvider")), strict=strict)


def iris(models: Models) -> bytes:
    """The file of a scaler and a logistic regression."""
    return (models.path / "iris" / "1" / "model.onnx").read_bytes()


@idle
def test_a_provider_without_nodes_is_reported(models: Models) -> None:
    """It was obtained, it runs nothing, and a note says so."""
    placement = load(iris(models), runtime(strict=False)).placement
    assert placement.obtained == (IDLE, "CPUExecutionProvider")
    assert placement.nodes == {IDLE: 0, "CPUExecutionProvider": 5}
    (note,) = placement.notes
    assert note.startswith(f"{IDLE} was obtained but runs none of the graph's nodes: ")


@idle
def test_strict_refuses_a_provider_without_nodes(models: Models, tmp_path: Path) -> None:
    """In strict mode, a first provider that runs nothing is an error, and the server ends with one line."""
    with pytest.raises(ProviderError, match=f"^{IDLE} was obtained but runs none .*[^.]$"):
        load(iris(models), runtime(strict=True))
    flags = ["--provider", IDLE, "CPUExecutionProvider", "--strict"]
    with serving(tmp_path, *flags, models=models.path) as server:
        assert server.process.wait() == 1
    (line,) = server.printed().strip().splitlines()
    assert line.startswith(f"error: {IDLE} was obtained but runs none")


@idle
def test_strict_takes_the_cpu(models: Models) -> None:
    """Strict mode is about the first provider: with the CPU's, every model loads."""
    cpu = Runtime(provider=(Provider(name="CPUExecutionProvider"), Provider(name=IDLE)), strict=True)
    assert load(iris(models), cpu).placement.nodes == {"CPUExecutionProvider": 5, IDLE: 0}


@pytest.fixture(scope="module")
def openvino(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of an environment with onnxruntime-openvino, this package, and the tests' libraries."""
    folder = tmp_path_factory.mktemp("openvino")
    python = folder / "environment" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "--python", str(python)]
    source = str(copied(folder / "source"))
    for command in (
        [sys.executable, "-m", "venv", "--without-pip", str(folder / "environment")],
        [*pip, "install", "--no-deps", "onnxruntime-openvino==1.24.1", source],
    ):
        completed = run(command)
        assert completed.returncode == 0, completed.stderr
    (site,) = (folder / "environment" / "lib").glob("python*/site-packages")
    # The tests' onnxruntime comes after this environment's own.
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    return python


@pytest.fixture(scope="module")
def folder(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """double and trees compute in float64, single scales in float32, whole needs integers of 64 bits."""
    folder = tmp_path_factory.mktemp("placed")
    X, y = load_iris(return_X_y=True)
    rows = X.astype(np.float32)
    single = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, y)
    export_pipeline(single, rows, y, name="single", models=folder)
    trees = RandomForestClassifier(3, random_state=0).fit(X, y == 2)
    export_pipeline(trees, X, y == 2, name="trees", models=folder)
    store(folder, "double", iris(models))
    store(folder, "whole", whole())
    return folder


def whole() -> bytes:
    """The sign of a float32, which goes through an integer that is larger than any of 32 bits."""
    nodes = [
        helper.make_node("Cast", ["X"], ["number"], to=TensorProto.INT64),
        helper.make_node("Mul", ["number", "large"], ["larger"]),
        helper.make_node("Div", ["larger", "large"], ["again"]),
        helper.make_node("Cast", ["again"], ["x"], to=TensorProto.FLOAT),
        helper.make_node("Greater", ["x", "nothing"], ["positive"]),
        *NODES[1:],
    ]
    file = graph(nodes, large=np.int64(2**32), nothing=np.float32(0))
    file.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT
    golden = replace(MANIFEST.golden, rows=((-3000.0,), (3000.0,)))
    return embed(file, inputs=(Input(name="X", dtype="float32", features=("x",)),), golden=golden)


def server(openvino: Path, tmp_path: Path, models: Path, *flags: str) -> Any:
    """``unpickled serve`` of that environment."""
    program = (openvino, "-m", "unpickled", "serve", "--port", "{port}", *FLAGS, *flags)
    return serving(tmp_path, models=models, program=program, python_path="")


def test_the_handmade_file_is_right_on_the_cpu() -> None:
    """The CPU's provider answers the golden rows of the file that OpenVINO answers otherwise."""
    model = load(whole())
    labels, _ = model.run(model.signature.feeds([(-3000.0,), (3000.0,), (2.0**30,)]))
    assert labels.tolist() == [0, 1, 1]


@pytest.mark.long
def test_openvino_is_reported_truly(openvino: Path, folder: Path, tmp_path: Path) -> None:
    """It runs nothing in float64 and two nodes in float32, as the banner and /models say."""
    with server(openvino, tmp_path, folder) as running:
        models = running.ask("/models")[1]["models"]
    placed = {model["name"]: model["providers"] for model in models if model["ready"]}
    counts = {name: placement["nodes"][OPENVINO] for name, placement in placed.items()}
    assert counts == {"double": 0, "single": 2, "trees": 0}
    assert placed["single"]["graph"][OPENVINO] == ["Sub sub_2", "Div div_4"]
    assert placed["single"]["notes"][0].startswith(f"{OPENVINO} runs 2 of the graph's 6 nodes")
    assert placed["double"]["notes"][0].startswith(f"{OPENVINO} was obtained but runs none of")
    assert f"obtained {OPENVINO} (2 nodes), CPUExecutionProvider (4 nodes)" in running.printed()
    assert f"note       {OPENVINO} was obtained but runs none" in running.printed()


@pytest.mark.long
def test_openvino_answers(openvino: Path, folder: Path, tmp_path: Path) -> None:
    """An answer that OpenVINO has a part in is the one that the CPU gives."""
    body = b'{"features": %s}' % str(FLOWER).encode()
    with server(openvino, tmp_path, folder) as running:
        status, answer = running.ask("/models/single/predict", body)
    model = load((folder / "single" / "1" / "model.onnx").read_bytes())
    labels, scores = model.run(model.signature.feeds([tuple(FLOWER)]))
    assert (status, answer["prediction"]) == (200, labels.tolist())
    assert np.allclose(answer["probabilities"], scores, rtol=1e-5, atol=1e-5)


@pytest.mark.long
def test_golden_rows_catch_openvino(openvino: Path, folder: Path, tmp_path: Path) -> None:
    """OpenVINO computes with integers of 32 bits: the model is refused by name, and the others are served."""
    with server(openvino, tmp_path, folder) as running:
        status, document = running.ask("/readyz")
    assert (status, document["served"]) == (503, ["double", "single", "trees"])
    assert document["refused"].keys() == {"whole"}
    assert "it answers golden row 1 with 0" in document["refused"]["whole"]
    assert f"{OPENVINO} runs 5 of its 7 nodes" in document["refused"]["whole"]


@pytest.mark.long
@pytest.mark.parametrize(("name", "strict"), [("double", False), ("single", True)])
def test_strict_asks_for_nodes_on_openvino(
    openvino: Path, folder: Path, tmp_path: Path, name: str, strict: bool
) -> None:
    """In strict mode a server starts if OpenVINO runs a node, and otherwise ends with one sentence."""
    store(tmp_path / "models", name, (folder / name / "1" / "model.onnx").read_bytes())
    with server(openvino, tmp_path, tmp_path / "models", "--strict") as running:
        assert running.ended() is not strict
        assert not strict or running.ask("/readyz")[0] == 200
    lines = running.printed().strip().splitlines()
    refused = [line for line in lines if line.startswith(f"error: {OPENVINO} was obtained but runs none")]
    assert refused == ([] if strict else lines)
