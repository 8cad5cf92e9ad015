"""What pip installs: a wheel that serves in an environment with nothing of training in it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import FLOWER, ROOT, serving

CONSTRAINTS = ["-c", ROOT / "constraints.txt"] if (ROOT / "constraints.txt").exists() else []
SERVED = (
    "import json, sys\n"
    "from unpickled import Config, create_app\n"
    "app = create_app(Config(models=sys.argv[1], default_model='people'))\n"
    "models = app.test_client().get('/models').json['models']\n"
    "print(json.dumps(sorted(model['name'] for model in models)))"
)


def run(*line: object) -> str:
    """What a command prints; its complaints are the failure's."""
    done = subprocess.run([*map(str, line)], capture_output=True, text=True, cwd="/", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """bin/ of a clean environment with the wheel and its [server] extra."""
    folder = tmp_path_factory.mktemp("packaging")
    # A copy, as building leaves its traces.
    ignored = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "models", "tests")
    shutil.copytree(ROOT, folder / "source", ignore=ignored)
    bare, pip = folder / "venv" / "bin", ["-m", "pip", "--disable-pip-version-check", "--quiet"]
    run(sys.executable, "-m", "venv", bare.parent)
    run(bare / "python", *pip, "wheel", "--no-deps", "--wheel-dir", folder, folder / "source")
    (wheel,) = folder.glob("*.whl")
    run(bare / "python", *pip, "install", *CONSTRAINTS, f"{wheel}[server]")
    return bare


def test_nothing_of_training_is_installed(installed):
    """The [server] extra pulls in no scikit-learn, no converter, no pandas."""
    listed = json.loads(run(installed / "python", "-m", "pip", "list", "--format", "json"))
    names = {entry["name"].lower().replace("_", "-") for entry in listed}
    assert {"unpickled", "flask", "granian", "onnxruntime", "orjson", "msgspec", "prometheus-client"} <= names
    assert not names & {"scikit-learn", "skl2onnx", "onnx", "pandas", "scipy", "joblib", "cloudpickle"}


def test_every_module_is_packaged(installed):
    """The wheel holds all of both packages, and says that they are typed."""
    code = "import unpickled; print(unpickled.__path__[0])"
    site = Path(run(installed / "python", "-c", code).strip())
    for package in ("server", "export"):
        expected = {file.relative_to(ROOT) for file in (ROOT / package).rglob("*.py")}
        assert {file.relative_to(site) for file in (site / package).rglob("*.py")} == expected
    assert (site / "py.typed").exists()
    assets = {file.name for file in (ROOT / "server" / "pages" / "assets").iterdir()}
    assert {file.name for file in (site / "server" / "pages" / "assets").iterdir()} == assets
    assert not (site / "tests").exists()


def test_it_serves_there(installed, models, tmp_path):
    """The console script serves files exported elsewhere, over HTTP."""
    program = (installed / "unpickled-serve", "--port", "{port}")
    flags = ("--default-model", "iris")
    with serving(tmp_path, *flags, models=models.path, program=program, python_path="") as server:
        status, document = server.ask("/predict", json.dumps({"features": FLOWER}).encode())
        assert (status, document["predicted_class"]) == (200, ["setosa"])
        assert server.ask("/readyz")[0] == 200


def test_all_models_load_there(installed, models):
    """Every exported file loads without the libraries that made it."""
    assert json.loads(run(installed / "python", "-c", SERVED, models.path)) == ["forest", "iris", "people"]


def test_console_scripts(installed):
    """Both commands are there; the one that trains needs its extra and says which."""
    assert "--max-rows" in run(installed / "unpickled-serve", "--help")
    done = subprocess.run(
        [installed / "unpickled-export", "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 or "unpickled[export]" in done.stderr
