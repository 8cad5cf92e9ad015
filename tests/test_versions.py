"""Every kind of pipeline exports beside each supported scikit-learn, and files of one convert beside another.

The long tests make an environment for each release, two at a time.
"""

import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import conftest
import pipelines
import pytest
import sklearn
from conftest import BIN, ROOT

from unpickled.export import releases

# Version of scikit-learn -> that of pandas beside it. The first of a release on pandas 3 is 1.8.
BESIDE = {"1.5.2": "2.2", "1.6.1": "2.2", "1.7.2": "2.3", "1.8.0": "3", "1.9.1": "2.3"}
TOLERANCE = 1e-6


@pytest.mark.parametrize(
    "name", [name for name in pipelines.classifications() if not name.endswith(" of two")]
)
def test_every_kind_of_pipeline_exports(tmp_path, name):
    """The graph of each kind passes the gate beside the installed scikit-learn."""
    assert pipelines.difference(pipelines.classifications()[name], tmp_path) < TOLERANCE


def test_each_release_is_tested():
    """The releases that setup.cfg allows are those that the export knows; each has an environment below."""
    first, end = re.findall(r"scikit-learn >=1\.(\d+),<1\.(\d+)", (ROOT / "setup.cfg").read_text())[0]
    allowed = tuple(f"1.{number}" for number in range(int(first), int(end)))
    assert allowed == releases.SUPPORTED == tuple(map(releases.of, BESIDE))
    assert releases.SUPPORTED[-1] == releases.INSTALLED


def run(command: str | list[Any], cwd: Path, **variables: str) -> Any:
    """A command that has ended; without the tests' own paths."""
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environ["OMP_NUM_THREADS"] = "1"  # Several threads for a few rows mostly wait for each other.
    words = ["bash", "-c", command] if isinstance(command, str) else [*map(str, command)]
    return conftest.run(words, cwd=cwd, env=environ | variables)


def output(command: str | list[Any], cwd: Path, **variables: str) -> str:
    """The output of a command; AssertionError with both streams where it fails."""
    completed = run(command, cwd, **variables)
    assert completed.returncode == 0, completed.stdout + completed.stderr
    return str(completed.stdout)


@dataclass(frozen=True)
class Environment:
    """An environment of one version, and what was printed there. Files of it are in ``folder``."""

    version: str
    folder: Path
    exported: dict[str, Any]
    trained: str

    @property
    def command(self) -> str:
        return f"sklearn-{self.version}/bin/unpickled"

    def convert(self, version: str) -> list[str]:
        """The command that converts a file that this version of scikit-learn has saved."""
        file = f"iris-{version}.joblib"
        return [
            self.command,
            *(f"convert {file} --sample rows.csv --target species --name of-{version}").split(),
        ]


def pip(folder: Path, version: str, pandas: str) -> list[Any]:
    """The command that installs the export, at the versions everything is tested with but for these two."""
    pinned = (ROOT / "constraints.txt").read_text() if (ROOT / "constraints.txt").exists() else ""
    lines = [line for line in pinned.splitlines() if not re.match("scikit-learn|pandas", line)]
    (folder / f"{version}.txt").write_text("\n".join([*lines, f"pandas=={pandas}.*"]))
    python = folder / f"sklearn-{version}" / "bin" / "python"
    words = ["--disable-pip-version-check", "--quiet", "--python", python, "install"]
    options = ["-c", folder / f"{version}.txt", "--find-links", folder / "dist"]
    return [sys.executable, "-m", "pip", *words, *options, "unpickled[export]", f"scikit-learn=={version}"]


def made(folder: Path, version: str) -> Environment:
    """An environment with this version, after everything was exported and trained there."""
    output([sys.executable, "-m", "venv", "--without-pip", f"sklearn-{version}"], folder)
    output(pip(folder, version, BESIDE[version]), folder)
    python = f"sklearn-{version}/bin/python"
    exported = json.loads(output([python, ROOT / "tests" / "pipelines.py", "."], folder))
    words = [f"sklearn-{version}/bin/unpickled", "train", "wine", "--classifier", "logistic_cv"]
    return Environment(version, folder, exported, output([*words, "--name", f"wine-{version}"], folder))


@pytest.fixture(scope="module")
def environments(tmp_path_factory) -> Iterator[dict[str, Future[Environment]]]:
    """Version -> its environment, all in one folder with the wheel in dist/."""
    folder = tmp_path_factory.mktemp("versions")
    ignored = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "models", "docs")
    shutil.copytree(ROOT, folder / "source", ignore=ignored)
    wheel = ["wheel", "--quiet", "--no-deps", "--wheel-dir", folder / "dist", folder / "source"]
    output([sys.executable, "-m", "pip", *wheel], folder)
    with ThreadPoolExecutor(2) as pool:
        yield {version: pool.submit(made, folder, version) for version in BESIDE}


@pytest.fixture
def environment(environments, version) -> Environment:
    """The environment of one version, once it is made."""
    return environments[version].result()


@pytest.mark.long
@pytest.mark.parametrize("version", BESIDE)
def test_every_kind_of_pipeline_exports_there(environment, version):
    """Beside each scikit-learn and its pandas, each kind passes the gate, and its file answers alike."""
    exported = environment.exported
    assert exported["scikit-learn"] == version
    assert exported["pandas"].startswith(BESIDE[version])
    failed = {name: text for name, text in exported["kinds"].items() if isinstance(text, str)}
    assert not failed
    assert len(exported["kinds"]) > 120
    assert max(exported["kinds"].values()) < TOLERANCE


@pytest.mark.long
@pytest.mark.parametrize("version", BESIDE)
def test_the_commands_run_there(environment, version):
    """train and convert write a model each, without a warning of scikit-learn."""
    assert "accuracy " in environment.trained
    completed = run(environment.convert(version), environment.folder)
    assert completed.returncode == 0, completed.stderr
    assert f"wrote models/of-{version}/" in completed.stdout
    assert "sklearn" not in completed.stderr
    assert "scikit-learn" not in completed.stderr


@pytest.mark.long
@pytest.mark.parametrize(("version", "other"), [("1.5.2", "1.9.1"), ("1.9.1", "1.5.2"), ("1.8.0", "1.7.2")])
def test_a_file_converts_with_the_commands_in_its_refusal(environments, environment, version, other):
    """A file of another release is refused, up and down; the commands it is refused with convert it."""
    file = f"iris-{environments[other].result().exported['scikit-learn']}.joblib"
    refused = run(environment.convert(other), environment.folder)
    assert refused.returncode == 1
    line = refused.stderr.splitlines()[-1]
    assert line.startswith(f"error: {file} was saved by scikit-learn {other}, and the installed {version}")
    links = f"{os.environ.get('PIP_FIND_LINKS', '')} {environment.folder / 'dist'}"
    commands = line.partition(", with ")[2]
    assert f"wrote models/of-{other}/" in output(commands, environment.folder, PIP_FIND_LINKS=links)


@pytest.mark.long
def test_the_installed_release_refuses_with_the_same_words(environments):
    """The suite's own command names the environment that is made here."""
    environment = environments["1.5.2"].result()
    _, *words = environment.convert("1.5.2")
    refused = run([BIN / "unpickled", *words], environment.folder)
    assert refused.returncode == 1
    assert f"the installed {sklearn.__version__} may answer otherwise" in refused.stderr
    assert refused.stderr.rstrip().endswith(shlex.join([environment.command, *words]))
