"""pip installs one package, unpickled, which works in any folder and beside any other package."""

import json
import shutil
import sys
import sysconfig
import zipfile
from pathlib import Path

import conftest
import pytest
from conftest import FLOWER, ROOT, serving

import unpickled

CONSTRAINTS = ["-c", ROOT / "constraints.txt"] if (ROOT / "constraints.txt").exists() else []
SERVED = (
    "import json, sys\n"
    "from unpickled import Config, create_app\n"
    "app = create_app(Config(models=sys.argv[1], default_model='people'))\n"
    "models = app.test_client().get('/models').json['models']\n"
    "print(json.dumps(sorted(model['name'] for model in models)))"
)
BODY = json.dumps({"features": FLOWER}).encode()


def run(*command: object, cwd: Path | str = "/") -> str:
    """The output of a command; AssertionError with both streams where it fails."""
    completed = conftest.run([*map(str, command)], cwd=cwd)
    assert completed.returncode == 0, completed.stdout + completed.stderr
    return completed.stdout


def pip(python: Path, *words: object) -> None:
    """Run the tests' own pip on another environment."""
    run(sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "--python", python, *words)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with a copy of the tree in source/, because a build leaves files in the tree."""
    folder = tmp_path_factory.mktemp("packaging")
    ignored = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "models", "docs")
    shutil.copytree(ROOT, folder / "source", ignore=ignored)
    return folder


@pytest.fixture(scope="module")
def wheel(folder) -> Path:
    """The wheel that is built from the source distribution."""
    run(sys.executable, "-m", "build", "--outdir", folder / "dist", folder / "source")
    (wheel,) = (folder / "dist").glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def installed(folder, wheel) -> Path:
    """bin/ of a clean environment with the wheel and its [server] extra."""
    run(sys.executable, "-m", "venv", "--without-pip", folder / "clean")
    pip(folder / "clean" / "bin" / "python", "install", *CONSTRAINTS, f"{wheel}[server]")
    return folder / "clean" / "bin"


@pytest.fixture(scope="module", params=["wheel", "editable"])
def user(request, folder) -> tuple[Path, Path]:
    """bin/ of an environment of a user, and a folder with a server.py and an export.py of that user.

    The package is installed there as a wheel or for editing; its libraries are those of the tests.
    """
    environment, here = folder / f"{request.param}-venv", folder / f"{request.param}-home"
    run(sys.executable, "-m", "venv", "--without-pip", environment)
    python = environment / "bin" / "python"
    package = ["--editable", folder / "source"]
    if request.param == "wheel":
        package = [request.getfixturevalue("wheel")]
    pip(python, "install", "--no-deps", *package)
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    # The tests' libraries come after the environment's own. Their editable install, a .pth file, is not read.
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    here.mkdir()
    for name in ("server.py", "export.py"):
        (here / name).write_text("raise SystemExit('this file is the user's own')")
    return environment / "bin", here


@pytest.mark.long
def test_one_top_level_name(wheel):
    """The wheel installs unpickled and no other name: no server, no export, no tests."""
    names = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in names if not name.endswith(".dist-info")} == {"unpickled"}


@pytest.mark.long
def test_every_module_is_packaged(wheel):
    """The wheel holds every module, all files of the pages, the scripts, and says that it is typed."""
    names = {name.removeprefix("unpickled/") for name in zipfile.ZipFile(wheel).namelist()}
    sources = [*ROOT.glob("*.py"), *(ROOT / "server").rglob("*.py"), *(ROOT / "export").rglob("*.py")]
    expected = {str(file.relative_to(ROOT)) for file in sources} | {"py.typed"}
    assets = [file for file in (ROOT / "server" / "pages" / "assets").rglob("*") if file.is_file()]
    scripts = (ROOT / "server" / "runtimes").glob("*.mjs")
    expected |= {str(file.relative_to(ROOT)) for file in (*assets, *scripts)}
    assert {name for name in names if "dist-info" not in name} == expected


@pytest.mark.long
def test_nothing_of_training_is_installed(installed):
    """The [server] extra pulls in no scikit-learn, no converter, no pandas."""
    code = "import importlib.metadata as m, json; print(json.dumps([d.name for d in m.distributions()]))"
    names = {name.lower().replace("_", "-") for name in json.loads(run(installed / "python", "-c", code))}
    assert {"unpickled", "click", "flask", "granian", "onnxruntime", "orjson", "msgspec"} <= names
    assert not names & {"scikit-learn", "skl2onnx", "onnx", "pandas", "scipy", "joblib", "cloudpickle"}


@pytest.mark.long
def test_it_serves_there(installed, models, tmp_path):
    """The installed program serves files that were exported elsewhere."""
    program = (installed / "unpickled", "serve", "--port", "{port}", "--default-model", "iris")
    with serving(tmp_path, models=models.path, program=program, python_path="") as server:
        status, document = server.ask("/predict", BODY)
        assert (status, document["predicted_class"]) == (200, ["setosa"])
        assert server.ask("/readyz")[0] == 200


@pytest.mark.long
def test_all_models_load_there(installed, models):
    """Every exported file loads without the libraries that made it."""
    assert json.loads(run(installed / "python", "-c", SERVED, models.path)) == ["forest", "iris", "people"]


@pytest.mark.long
def test_a_model_in_process_needs_few_libraries(folder, wheel, models):
    """The extra [embedded] brings no server; an answer that needs another library names it."""
    python = folder / "embedded" / "bin" / "python"
    run(sys.executable, "-m", "venv", "--without-pip", folder / "embedded")
    pip(python, "install", *CONSTRAINTS, f"{wheel}[embedded]")
    code = (
        f"import unpickled; model = unpickled.load({str(models.path / 'iris')!r}); row = [5.1, 3.5, 1.4, 0.2]"
    )
    assert run(python, "-c", f"{code}; print(model.predict(row), model.class_names[0])") == "[0] setosa\n"
    failed = conftest.run([python, "-c", f"{code}; model.predict(row, as_frame=True)"])
    assert "a frame for rows that are in none needs pandas: pip install pandas" in failed.stderr
    assert (
        "needs flask: pip install 'unpickled[server]'"
        in conftest.run([python, "-c", "import unpickled; unpickled.create_app()"]).stderr
    )


@pytest.mark.long
def test_a_missing_extra_is_named(installed):
    """train names the extra that it lacks; the help and the versions need none."""
    completed = conftest.run([installed / "unpickled", "train", "iris"])
    assert completed.returncode == 1
    assert completed.stderr.startswith("error: this command needs ")
    assert completed.stderr.endswith(": pip install 'unpickled[export]'\n")
    assert "train" in run(installed / "unpickled", "--help")
    assert "scikit-learn" not in run(installed / "unpickled", "version")


@pytest.mark.long
def test_train_and_serve_beside_the_users_own_files(user):
    """In a folder with a server.py and an export.py, the command trains, serves and answers."""
    programs, here = user
    assert "serve it: unpickled serve" in run(programs / "unpickled", "train", "iris", cwd=here)
    program = (programs / "unpickled", "serve", "--port", "{port}")
    with serving(here, models=here / "models", program=program, python_path="") as server:
        assert server.ask("/predict", BODY)[1]["predicted_class"] == ["setosa"]
    assert "iris" in run(programs / "python", "-m", "unpickled", "models", "list", cwd=here)


@pytest.mark.long
@pytest.mark.parametrize("factory", ["unpickled:create_app()", "unpickled.server:create_app()"])
def test_gunicorn_beside_the_users_own_files(user, models, factory):
    """Any WSGI server finds the application by either name."""
    programs, here = user
    program = (programs / "python", "-m", "gunicorn", factory, "--bind", "127.0.0.1:{port}")
    with serving(here, models=models.path, program=program, python_path="") as server:
        assert server.ask("/models/iris/predict", BODY)[1]["predicted_class"] == ["setosa"]


@pytest.mark.long
def test_the_users_own_files_are_their_own(user):
    """A module of the user with the name of a package here is the one that Python runs."""
    programs, here = user
    for name in ("server", "export"):
        completed = conftest.run([programs / "python", "-m", name], cwd=here)
        assert "this file is the user's own" in completed.stderr
    code = "import unpickled.server, unpickled.export; print(unpickled.__file__, unpickled.__version__)"
    file, version = run(programs / "python", "-c", code, cwd=here).split()
    assert str(here.parent) in file
    assert version == unpickled.__version__


def test_public_surface():
    """The package offers four names, and an error names any other."""
    assert unpickled.__all__ == ["Config", "create_app", "export_pipeline", "load"]
    assert {*unpickled.__all__, "__version__"} <= {*dir(unpickled)}
    assert all(getattr(unpickled, name).__doc__ for name in unpickled.__all__)
    with pytest.raises(AttributeError, match="module 'unpickled' has no attribute 'exportpipeline'"):
        unpickled.exportpipeline  # noqa: B018
