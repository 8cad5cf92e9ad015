"""Model files that export/ would never write, made with the onnx package."""

import json
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from conftest import serving
from msgspec.structs import replace
from onnx import TensorProto, helper, numpy_helper

from unpickled.server.artifact.manifest import (
    MANIFEST_KEY,
    SCHEMA,
    Feature,
    Golden,
    Input,
    Manifest,
    Outputs,
    Parity,
    Training,
    read,
)
from unpickled.server.model.classification import Classification

# For a number x above 0, the label is 1 with probability 0.75; for any other, it is 0 with probability 0.75.
NODES = [
    helper.make_node("Greater", ["X", "zero"], ["positive"]),
    helper.make_node("Where", ["positive", "high", "low"], ["probabilities"]),
    helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
]
WEIGHTS = {"zero": [[0.0]], "high": [[0.25, 0.75]], "low": [[0.75, 0.25]]}

MANIFEST = Manifest(
    schema=SCHEMA,
    name="sign",
    created="2026-01-01T00:00:00+00:00",
    features=(Feature(name="x", kind="number", missing=False, minimum=-1.0, maximum=1.0),),
    inputs=(Input(name="X", dtype="float64", features=("x",)),),
    outputs=Outputs(label="label", scores="probabilities", kind="probabilities"),
    classes=(0, 1),
    class_names=("negative", "positive"),
    golden=Golden(rows=((-1.0,), (1.0,)), labels=(0, 1), scores=((0.75, 0.25), (0.25, 0.75))),
    parity=Parity(rows={}, max_difference=0.0, tolerance=1e-5, tie_gap=1e-6, ties=0),
    training=Training(pipeline=("by hand",)),
)


def graph(nodes: list[Any] = NODES, opset: int = 21, **weights: Any) -> onnx.ModelProto:
    """A model of these nodes from X (rows, features) to label (rows,) and probabilities (rows, classes)."""
    return helper.make_model(
        helper.make_graph(
            nodes,
            "handmade",
            [helper.make_tensor_value_info("X", TensorProto.DOUBLE, [None, None])],
            [
                helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
                helper.make_tensor_value_info("probabilities", TensorProto.DOUBLE, [None, None]),
            ],
            [
                numpy_helper.from_array(np.array(value), name)
                for name, value in {**WEIGHTS, **weights}.items()
            ],
        ),
        opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3)],
        ir_version=10,
    )


def classes(*names: str) -> Classification:
    """The outputs of a model whose labels count from 0."""
    count = len(names)
    golden = Golden(rows=((0.0,),), labels=(0,), scores=((1 / count,) * count,))
    return Classification(replace(MANIFEST, classes=tuple(range(count)), class_names=names, golden=golden))


def embed(model: onnx.ModelProto, manifest: Manifest | bytes | None = MANIFEST, **changes: Any) -> bytes:
    """The bytes of a model file; ``changes`` are fields of the manifest."""
    if isinstance(manifest, Manifest):
        manifest = msgspec.json.encode(replace(manifest, **changes))
    if manifest is not None:
        helper.set_model_props(model, {MANIFEST_KEY: manifest.decode()})
    return model.SerializeToString()


def changed(content: bytes, properties: dict[str, str]) -> bytes:
    """A model file with other metadata."""
    file = onnx.load_model_from_string(content)
    del file.metadata_props[:]
    helper.set_model_props(file, properties)
    return file.SerializeToString()


def undigested(content: bytes) -> bytes:
    """A model file as earlier releases wrote it, without a digest."""
    text = msgspec.json.encode(replace(read(content), graph_sha256=""))
    return changed(content, {MANIFEST_KEY: text.decode()})


def store(models: Path, name: str, content: bytes, version: int = 1) -> Path:
    """Put a file where the server looks for it."""
    path = models / name / str(version) / "model.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def slow(steps: int = 100, width: int = 8192) -> bytes:
    """A model file like that above, of which a row takes ``steps`` times the tanh of ``width`` numbers."""
    ones = np.ones((1, width))
    chain = [helper.make_node("Tanh", [f"wide{n}"], [f"wide{n + 1}"]) for n in range(steps)]
    nodes = [
        helper.make_node("MatMul", ["X", "ones"], ["wide0"]),
        *chain,
        helper.make_node("MatMul", [f"wide{steps}", "first"], ["x"]),
        *[helper.make_node("Greater", ["x", "zero"], ["positive"]), *NODES[1:]],
    ]
    return embed(graph(nodes, ones=ones, first=ones.T / width))


@contextmanager
def queueing(folder, *flags):
    """A server of a slow model that takes any number of requests, and a stack of what ends with it."""
    store(folder / "models", "slow", slow())
    flags = ("--max-queue-ms", "3600000", *flags)
    with serving(folder, *flags, models=folder / "models") as server, ExitStack() as stack:
        yield server, stack


def lasting(server, seconds: float) -> bytes:
    """A request that a slow model computes for so many seconds."""
    started = time.monotonic()
    assert server.ask("/predict", many(100))[0] == 200
    return many(round(100 * seconds / (time.monotonic() - started)) + 1)


def many(rows: int) -> bytes:
    """A request with so many rows of one number."""
    return json.dumps({"features": [[1.0]] * rows}).encode()


# The answer to a number x is 2 x.
DOUBLED = [helper.make_node("Mul", ["X", "two"], ["prediction"])]
NUMBERS = replace(
    MANIFEST,
    outputs=Outputs(scores="prediction", kind="prediction", targets=("price",), deciles=((-2.0, 0.0, 2.0),)),
    classes=(),
    class_names=(),
    golden=Golden(rows=((1.0,), (3.0,)), scores=((2.0,), (6.0,))),
)


def regressor(nodes: list[Any] = DOUBLED, **changes: Any) -> bytes:
    """The bytes of a model file that answers numbers; ``changes`` are fields of the manifest."""
    file = graph(nodes, two=[[2.0]])
    prediction = helper.make_tensor_value_info("prediction", TensorProto.DOUBLE, [None, None])
    del file.graph.output[:]
    file.graph.output.append(prediction)
    return embed(file, NUMBERS, **changes)
