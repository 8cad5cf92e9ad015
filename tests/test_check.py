"""The command check: a file answers its golden rows, by this runtime and by that of browsers."""

import shutil

import numpy as np
import pytest

from unpickled.__main__ import main
from unpickled.server.artifact.manifest import FILE
from unpickled.server.errors import ArtifactError
from unpickled.server.model.session import load
from unpickled.server.runtimes import answers
from unpickled.server.runtimes.rows import made_up

NODE = pytest.mark.skipif(not shutil.which("node"), reason="needs node")


def checked(capsys, *words):
    """The exit status of the command, and all that it printed."""
    status = main(["check", *map(str, words)])
    captured = capsys.readouterr()
    return status, captured.out + captured.err


def model_of(models, name):
    return load((models.path / name / "1" / FILE).read_bytes())


@pytest.mark.parametrize("path", ["people", "people/1", "people/1/model.onnx"])
def test_a_file_is_loaded_as_by_a_server(models, capsys, path):
    """The file, its version's folder and its model's folder name the same file, which is described."""
    status, text = checked(capsys, models.path / path)
    about, golden = text.splitlines()
    assert status == 0
    assert about.endswith("people/1/model.onnx: people, 4 features; 2 classes: leaves, stays")
    assert " (Python) answers 13 golden rows as the pipeline did: 0 of 13 labels different, " in golden


def test_the_newest_version_is_checked(models, tmp_path, capsys):
    """The highest number in a model's folder counts, not the last one in the alphabet."""
    for number in (9, 10):
        shutil.copytree(models.path / "iris" / "1", tmp_path / "flowers" / str(number))
    assert "flowers/10/model.onnx: iris" in checked(capsys, tmp_path / "flowers")[1]


def test_numbers_have_no_labels(regressors, capsys):
    """A regressor's line has the largest difference alone."""
    status, text = checked(capsys, regressors.path / "areas")
    assert status == 0
    assert "golden rows as the pipeline did: largest difference " in text


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda data: data[:-20], "is not a complete ONNX file"),
        (lambda data: data.replace(b'"setosa"', b'"sexosa"', 1), "its manifest has changed since the export"),
    ],
)
def test_a_damaged_file(models, tmp_path, capsys, change, sentence):
    """A file that a server would refuse is refused with the reason, and status 1."""
    data = (models.path / "iris" / "1" / FILE).read_bytes()
    (tmp_path / "bad.onnx").write_bytes(change(data))
    status, text = checked(capsys, tmp_path / "bad.onnx")
    assert status == 1
    assert text.startswith(f"error: {tmp_path}/bad.onnx: it")
    assert sentence in text


@pytest.mark.parametrize("path", ["flowers", "flowers/1/model.onnx", "iris.onnx"])
def test_a_signature_that_is_required(models, tmp_path, capsys, monkeypatch, path):
    """The setting of the server holds: a file that is not signed is refused, as the server would."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(models.path / "iris" / "1", tmp_path / "flowers" / "1")
    shutil.copy(models.path / "iris" / "1" / FILE, "iris.onnx")
    assert main(["sign", "--new-key", "key.pem"]) == 0
    (tmp_path / "unpickled.toml").write_text('require_signature = "key.pub"\n')
    status, text = checked(capsys, path)
    assert status == 1
    assert text.splitlines()[-1].endswith(
        ": it has no signature, and one is required: sign it with unpickled sign"
    )
    assert main(["sign", "flowers/1", "--key", "key.pem"]) == 0
    assert main(["sign", "iris.onnx", "--key", "key.pem", "--name", "iris"]) == 0
    assert checked(capsys, path)[0] == 0


@pytest.mark.parametrize(
    ("path", "sentence"),
    [("none", "none does not exist: name a model.onnx"), (".", "holds neither a model.onnx nor a version")],
)
def test_no_file(tmp_path, capsys, path, sentence):
    """A path without a model file is refused, and the sentence says which paths are taken."""
    status, text = checked(capsys, tmp_path / path)
    assert status == 1
    assert sentence in text


def test_made_up_rows_lie_within_the_training_ranges(models):
    """They are the same each time, with missing values and unknown categories where these are accepted."""
    model = model_of(models, "people")
    rows = made_up(model.manifest, 200)
    assert rows == made_up(model.manifest, 200)
    ages, _, cities, _ = zip(*rows, strict=True)
    age = model.manifest.features[0]
    assert None in ages
    assert all(number is None or age.minimum <= number <= age.maximum for number in ages)
    assert {"Bonn", "something else"} < set(cities)
    assert all(model.signature.check_read(row, 0) for row in rows)


def test_other_answers_are_refused(models):
    """One other label is told, and scores that are too far apart, or no number; a tie is none of these."""
    model = model_of(models, "iris")
    labels, scores = np.array([0, 1]), np.array([[0.8, 0.2, 0.0], [0.5, 0.5, 0.0]])
    tie = answers.compared(model, (np.array([0, 0]), scores), (labels, scores))
    assert tie.text(True) == "0 of 2 labels different (1 tie aside), largest difference 0.0e+00"
    answers.refuse_disagreement(model, tie)
    for other in ((np.array([1, 1]), scores), (labels, scores + 1e-3), (labels, scores * np.nan)):
        with pytest.raises(ArtifactError, match="answers made-up rows otherwise"):
            answers.refuse_disagreement(model, answers.compared(model, other, (labels, scores)))


def test_without_node(models, capsys, monkeypatch):
    """The sentence says which program is missing, and which release of it."""
    monkeypatch.setenv("PATH", str(models.path))
    status, text = checked(capsys, models.path / "iris", "--runtime", "web")
    assert status == 1
    assert "there is no node on the PATH" in text
    assert "install release 20 or a newer one" in text


def test_an_old_node(models, tmp_path, capsys, monkeypatch):
    """A release that does not run the package is named."""
    (tmp_path / "node").write_text("#!/bin/sh\necho v18.19.0\n")
    (tmp_path / "node").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    status, text = checked(capsys, models.path / "iris", "--runtime", "web")
    assert status == 1
    assert "is Node.js 18.19.0: onnxruntime-web needs" in text


@NODE
def test_without_the_package(models, tmp_path, capsys, monkeypatch):
    """The sentence says where the package was looked for, and the command that installs it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NODE_PATH", "/one:/two")
    status, text = checked(capsys, models.path / "iris", "--runtime", "web")
    assert status == 1
    assert "(node_modules/onnxruntime-web, /one/onnxruntime-web, /two/onnxruntime-web)" in text
    assert "run npm install onnxruntime-web@1.30.0 here" in text
    text = checked(capsys, models.path / "iris", "--runtime", "web", "--node-modules", "site")[1]
    assert "is not found (site/onnxruntime-web)" in text


@NODE
def test_a_package_that_does_not_run(models, tmp_path, capsys):
    """The package's own complaint is the reason."""
    package(tmp_path, 'throw new Error("no WebAssembly here");')
    status, text = checked(capsys, models.path / "iris", "--runtime", "web", "--node-modules", tmp_path)
    assert status == 1
    assert "error: onnxruntime-web 9.9.9 (Node.js " in text
    assert text.endswith(") cannot run it: no WebAssembly here\n")


def package(folder, code):
    """A package onnxruntime-web with a module of its own."""
    module = folder / "onnxruntime-web" / "dist" / "ort.node.min.mjs"
    module.parent.mkdir(parents=True)
    module.write_text(code)
    (folder / "onnxruntime-web" / "package.json").write_text('{"version": "9.9.9"}')
