"""The package installs and runs under each Python that it supports, where that Python is on this machine.

It is looked for as python3.X in the PATH and among those of pyenv; a variable such as PYTHON_3_14 names
another program.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, serving
from test_packaging import CONSTRAINTS, pip, run

PYTHONS = "3.11", "3.12", "3.13", "3.14"
OTHERS = [version for version in PYTHONS if version != f"{sys.version_info.major}.{sys.version_info.minor}"]
WHICH = "import ssl, sys, venv; print(*sys.version_info[:2], sep='.')"
# A pipeline that is fitted, exported and loaded there: rows, and its answers to them.
EXPORTED = """
import json
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from unpickled import export_pipeline, load

X, y = load_iris(return_X_y=True)
pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
export_pipeline(pipeline, X, y, name="flowers", models="models")
rows, model = X[::7], load("models/flowers")
assert model.predict(rows).tolist() == pipeline.predict(rows).tolist()
print(json.dumps([rows.tolist(), pipeline.predict_proba(rows).tolist()]))
"""


def found(version: str) -> str | None:
    """The program of a Python with which environments can be made; None where there is none."""
    variable = os.environ.get(f"PYTHON_{version.replace('.', '_')}")
    kept = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    for program in (variable, shutil.which(f"python{version}"), *map(str, kept)):
        # That of pyenv in the PATH may be a script that refuses.
        if program and subprocess.run([program, "-c", WHICH], capture_output=True).stdout.split() == [
            version.encode()
        ]:
            return program
    return None


@dataclass(frozen=True)
class There:
    """An environment of another Python, and the folder that its commands run in."""

    bin: Path
    folder: Path

    def run(self, *words: str) -> str:
        return run(self.bin / words[0], *words[1:], cwd=self.folder)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, the same one for all."""
    folder = tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "models", "docs")
    shutil.copytree(ROOT, folder / "source", ignore=ignored)
    pip(Path(sys.executable), "wheel", "--no-deps", "--wheel-dir", folder, folder / "source")
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module", params=OTHERS)
def there(request, tmp_path_factory, wheel) -> There:
    """An environment of each other Python, with the wheel; skipped where there is no such Python."""
    program = found(request.param)
    if program is None:
        pytest.skip(f"there is no Python {request.param} on this machine")
    folder = tmp_path_factory.mktemp("python")
    run(program, "-m", "venv", "--without-pip", folder / "venv")
    bin_folder = folder / "venv" / "bin"
    pip(bin_folder / "python", "install", "--no-compile", *CONSTRAINTS, f"{wheel}[export,server]")
    return There(bin_folder, folder)


def test_the_pythons_are_those_of_the_package():
    """setup.cfg lists the Pythons that are tested here, and the oldest of them as the least."""
    text = (ROOT / "setup.cfg").read_text()
    assert tuple(re.findall(r"Programming Language :: Python :: (3\.\d+)", text)) == PYTHONS
    assert f"python_requires = >={PYTHONS[0]}\n" in text


@pytest.mark.long
def test_the_first_commands_run_there(there):
    """train writes a model; check says that it answers as the pipeline did."""
    assert "models/iris/1/model.onnx" in there.run("unpickled", "train", "iris")
    assert "0 of 12 labels different" in there.run("unpickled", "check", "models/iris")


@pytest.mark.long
def test_answers_there_are_those_of_the_pipeline(there, tmp_path):
    """Its own process and its server answer as a pipeline does that is fitted and exported there."""
    rows, expected = json.loads(there.run("python", "-c", EXPORTED).splitlines()[-1])
    program = (there.bin / "unpickled", "serve", "--port", "{port}", "--default-model", "flowers")
    with serving(tmp_path, models=there.folder / "models", program=program, python_path="") as server:
        status, answer = server.ask("/predict", json.dumps({"features": rows}).encode())
    assert status == 200
    assert np.allclose(answer["probabilities"], expected, rtol=0, atol=1e-6)
