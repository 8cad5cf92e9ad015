"""The image of deploy/Containerfile: built on a base made by debootstrap, run by podman, as the page says."""

import configparser
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from chroots import Build, joined
from conftest import FLOWER, ROOT, copied, environment, eventually, run, serving, shelve, started
from containers import archive, engine, mounts
from documents import blocks, fits

from unpickled.__main__ import main
from unpickled.server import config
from unpickled.server.commands.serve import serve
from unpickled.server.config import Config

FILE = (ROOT / "deploy" / "Containerfile").read_text("utf-8")
LINES = joined(FILE)
PAGE = ROOT / "docs" / "how-to" / "containers.md"
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg", "utf-8")
HARDENED = ("--read-only", "--read-only-tmpfs=false", "--tmpfs=/tmp", "--cap-drop=all")
ANSWERS = ("--data", json.dumps({"features": FLOWER}))
# A stand-in of S3, which prints its address.
STORE = (
    "import pathlib, sys, time, sites\n"
    "with sites.site(bucket=pathlib.Path(sys.argv[1])) as made:\n"
    "    print(made.address, flush=True)\n"
    "    time.sleep(1e6)"
)
ZOMBIES = (
    "import glob, pathlib\n"
    "texts = [pathlib.Path(name).read_text() for name in glob.glob('/proc/[0-9]*/stat')]\n"
    "print(sum(text.rpartition(') ')[2][0] == 'Z' for text in texts))"
)


def after(word):
    """The words behind an instruction, on each of its lines."""
    return [line.removeprefix(word).strip() for line in LINES if line.startswith(f"{word} ")]


def variables():
    return dict(re.findall(r"(\w+)=(\S+)", " ".join(after("ENV"))))


def extra(name):
    """The requirements of an extra."""
    text = SETUP["options.extras_require"][name]
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_stages():
    """The stage cuda is there, and a build without a target makes cpu."""
    stages = [line.split(" AS ")[1] for line in after("FROM")]
    assert {"cuda", "cpu"} <= {*stages}
    assert stages[-1] == "cpu"


def test_its_settings_are_settings():
    """Each variable sets what the page says, and the ports are those that are exposed."""
    chosen = {name: value for name, value in variables().items() if name.startswith("UNPICKLED_")}
    settings = config.load({}, chosen)
    assert [settings.models, settings.listening.host, settings.log.log_folder] == [
        "/models",
        "0.0.0.0",
        "/var/lib/unpickled",
    ]
    assert after("EXPOSE") == [f"{Config().listening.port} {settings.listening.admin_port}"]
    assert [provider.name[:4] for provider in settings.runtime.provider] == ["CUDA", "CPUE"]
    listed = re.findall(r"^\| `(UNPICKLED_\w+)` \| `(.*)` \|$", PAGE.read_text("utf-8"), re.M)
    assert dict(listed) == {name: value for name, value in chosen.items() if name != "UNPICKLED_PROVIDER"}


def test_its_user():
    """Both images run as 10001, the user of the contract with deploy/'s other files; no shell is between."""
    assert after("USER") == ["10001:10001"] * 2
    assert re.search("--uid 10001 --gid 10001", FILE)
    assert (after("CMD"), after("ENTRYPOINT")) == (['["unpickled", "serve"]'], [])
    assert after("STOPSIGNAL") == ["SIGTERM"]


def test_its_extras_are_extras():
    """The extras of the file and of the page are in setup.cfg."""
    extras = SETUP["options.extras_require"]
    assert "ARG EXTRAS=server\n" in FILE
    named = re.findall(r"EXTRAS=([\w,]+)|`(server,[\w,]+)`", PAGE.read_text("utf-8"))
    assert named
    assert {name for pair in named for text in pair for name in text.split(",") if name} <= {*extras}
    assert "server-gpu" in extras


def test_what_it_copies_reaches_the_build():
    """.dockerignore lets through what is copied, which is all of the package, and models."""
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    allowed = {line[1:] for line in ignored if line.startswith("!")}
    lines = [line.split() for line in after("COPY") if "--from=" not in line]
    sources = {word for line in lines for word in line[:-1] if not word.startswith("--")}
    assert sources == allowed - {"models"}
    assert all((ROOT / name).exists() for name in allowed)
    packages = {name.split(".")[1] for name in SETUP["options"]["packages"].split() if "." in name}
    assert packages | {"__init__.py", "__main__.py", "py.typed"} <= sources


def test_what_sagemaker_starts():
    """The command `serve` can be run, and gives `unpickled serve` SageMaker's port and folder."""
    file = ROOT / "deploy" / "sagemaker" / "serve"
    assert file.stat().st_mode & 0o111
    line = file.read_text("utf-8").splitlines()[-1]
    assert line.startswith("exec unpickled serve ")
    flags = serve.make_context("unpickled serve", line.split()[3:]).params
    settings = config.load(flags, variables())
    assert (settings.listening.port, settings.models) == (8080, "/opt/ml/model")
    assert settings.listening.host == "0.0.0.0"


@pytest.mark.long
def test_wheels_for_arm64(tmp_path):
    """All libraries of the extras that the page names have wheels for arm64 and the Python of the image."""
    version = re.search(r"BASE=\S+:([\d.]+)", FILE)[1]
    named = SETUP["options"]["install_requires"].splitlines()
    for name in ("server", "objects", "signing", "log"):
        named += extra(name)
    (tmp_path / "asked.txt").write_text("\n".join(named))
    platforms = [f"--platform=manylinux_2_{number}_aarch64" for number in (17, 24, 26, 27, 28)]
    chosen = [
        *platforms,
        "--platform=manylinux2014_aarch64",
        f"--python-version={version}",
        "--only-binary=:all:",
    ]
    words = ["--dry-run", "--ignore-installed", "--target", tmp_path / "none", "-c", ROOT / "constraints.txt"]
    command = [sys.executable, "-m", "pip", "install", *words, *chosen, "-r", tmp_path / "asked.txt"]
    completed = run([*map(str, command)])
    assert completed.returncode == 0, completed.stderr
    assert "onnxruntime-" in completed.stdout


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """An archive with the files of a base; tests that need one are skipped where none can be made."""
    return archive(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def docker(base, tmp_path_factory):
    """An engine that has built the image `unpickled` from a copy of the tree."""
    with engine(tmp_path_factory.mktemp("engine"), base) as made:
        tree = copied(made.folder / "tree")
        made.output("docker", "build", "--tag", "unpickled", "--file", "deploy/Containerfile", ".", cwd=tree)
        yield made


@pytest.fixture(scope="module")
def home(docker, models):
    """A models folder that the user of the image may read: those of tests are closed to others."""
    return shutil.copytree(models.path, docker.folder / "models", copy_function=shutil.copyfile)


def served(folder: Path, place="/models"):
    folder.chmod(0o755)
    return f"--volume={folder}:{place}:ro"


@pytest.mark.long
def test_the_page(docker):
    """The commands of the page do what it shows, word for word."""
    tree = docker.folder / "tree"
    assert main(["train", "iris", "--models", str(tree / "models")]) == 0
    page = blocks(PAGE)
    file = next(block.text for block in page if block.language == "dockerfile")
    (tree / "iris.Containerfile").write_text(file)
    for block, following in zip(page, [*page[1:], None], strict=True):
        if block.language == "sh" and block.reason == "needs a container engine":
            printed = docker.output("bash", "-ec", block.text, cwd=tree)
            shown = following.text if following and following.language in ("text", "json") else None
            assert shown is None or fits(shown, printed), (
                f"{block.text}\nprinted:\n{printed}\nshown:\n{shown}"
            )


@pytest.fixture
def store(docker, models):
    """The address of a store with a model in it, where the containers reach it."""
    shelve(models, docker.folder / "store" / "iris", "iris")
    command = docker.command(sys.executable, "-c", STORE, docker.folder / "store")
    environ = environment(PYTHONPATH=str(ROOT / "tests"))
    with started(command, env=environ, stdout=subprocess.PIPE, text=True) as process:
        yield process.stdout.readline().strip()


@pytest.mark.long
def test_models_are_fetched(docker, store):
    """One container of the page brings a model from a store, and the other one serves it."""
    extras = ("--build-arg", "EXTRAS=server,objects,signing", "--tag", "fetching")
    tree = docker.folder / "tree"
    docker.output("docker", "build", *extras, "--file", "deploy/Containerfile", ".", cwd=tree)
    [text] = [block.text for block in blocks(PAGE) if (block.reason or "").endswith("an object store")]
    secrets = "AWS_ACCESS_KEY_ID=id", "AWS_SECRET_ACCESS_KEY=secret"
    given = " ".join(
        f"--env {each}" for each in (f"AWS_ENDPOINT_URL={store}", "AWS_ALLOW_HTTP=true", *secrets)
    )
    text = re.sub(r"unpickled(?= \\\n|\n\Z)", "fetching", text).replace(
        "--env AWS_REGION", f"{given} --env AWS_REGION"
    )
    try:
        docker.output("bash", "-ec", text)
        docker.ask("8000/readyz")
        assert json.loads(docker.ask("8000/predict", *ANSWERS))["predicted_class"] == ["setosa"]
        assert "version 1 has come from s3://bucket/iris/1" in docker.output("docker", "logs", "pull")
    finally:
        docker.run("docker", "rm", "--force", "--time", 0, "pull", "serve")


@pytest.mark.long
def test_where_no_engine_runs(base, models, tmp_path):
    """The same steps in a chroot make a server that answers as the pipeline and may write one folder."""
    file = copied(tmp_path / "tree") / "deploy" / "Containerfile"
    image = Build(file, base, tmp_path, mounts(tmp_path)).stage("cpu")
    shutil.copytree(models.path, image.root / "models", dirs_exist_ok=True, copy_function=shutil.copyfile)
    (image.root / "models").chmod(0o755)
    words = ("find", "/", "-xdev", "-writable", "-not", "-type", "l", "-not", "-perm", "-o+w")
    assert run(image.words(*words)).stdout == "/var/lib/unpickled\n"
    chosen = {"UNPICKLED_PORT": "{port}", "UNPICKLED_ADMIN_PORT": "", "UNPICKLED_DEFAULT_MODEL": "iris"}
    program = image.words(*image.command, **chosen)
    with serving(tmp_path, models=Path("/models"), program=program) as server:
        status, answer = server.ask("/predict", json.dumps({"features": FLOWER}).encode())
        assert status == 200, server.printed()
    expected = models.pipelines["iris"].predict_proba([FLOWER])
    np.testing.assert_allclose(answer["probabilities"], expected, rtol=0, atol=1e-12)


@pytest.mark.long
def test_it_answers_as_the_pipeline(docker, home, models):
    """A container gives the probabilities of the pipeline, as a user who may write nowhere but in /tmp."""
    with docker.container(*HARDENED, served(home), "-e=UNPICKLED_DEFAULT_MODEL=iris", "unpickled") as name:
        answer = json.loads(docker.ask("8000/predict", *ANSWERS))
        expected = models.pipelines["iris"].predict_proba([FLOWER])
        np.testing.assert_allclose(answer["probabilities"], expected, rtol=0, atol=1e-12)
        assert docker.output("docker", "exec", name, "id", "-u") == "10001\n"
        assert docker.run("docker", "exec", name, "find", "/", "-xdev", "-writable").stdout == "/tmp\n"
        docker.output("docker", "exec", name, "touch", "/tmp/file")


@pytest.mark.long
def test_nothing_is_his_own(docker):
    """Where the root may be written, that user can write where everybody can, and in the log's volume."""
    words = ("find", "/", "-xdev", "-writable", "-not", "-type", "l", "-not", "-perm", "-o+w")
    assert docker.run("docker", "run", "--rm", "unpickled", *words).stdout == "/var/lib/unpickled\n"


@pytest.mark.long
def test_health(docker, home):
    """The health check succeeds while the server lives, and fails where none does."""
    with docker.container(*HARDENED, served(home), "unpickled") as name:
        docker.ask("9000/readyz")
        assert docker.run("docker", "healthcheck", "run", name).returncode == 0
    with docker.container(*HARDENED, "unpickled", "sleep", "infinity") as name:
        assert docker.run("docker", "healthcheck", "run", name).returncode == 1


@pytest.mark.long
def test_sigterm(docker, home):
    """After SIGTERM requests are answered while the server drains; then the container ends with status 0."""
    with docker.container(*HARDENED, served(home), "-e=UNPICKLED_DRAIN_DELAY=15", "unpickled") as name:
        docker.ask("9000/readyz")
        docker.output("docker", "kill", "--signal", "TERM", name)
        ready = ("curl", "--silent", "127.0.0.1:9000/readyz")
        eventually(lambda: json.loads(docker.output(*ready))["draining"])
        assert json.loads(docker.ask("8000/models/iris/predict", *ANSWERS))["prediction"] == [0]
        assert docker.output("docker", "wait", name) == "0\n"


@pytest.mark.long
def test_no_process_stays_behind(docker, home):
    """A killed worker is replaced, and the first process of the container takes note of all that end."""
    words = (
        *HARDENED,
        served(home),
        "-e=UNPICKLED_LOG_SHARE=1",
        "--tmpfs=/var/lib/unpickled:mode=1777",
    )
    with docker.container(*words, "unpickled") as name:
        worker = json.loads(docker.ask("9000/readyz"))["workers"][0]["pid"]
        docker.output("docker", "exec", name, "python", "-c", f"import os; os.kill({worker}, 9)")
        eventually(lambda: json.loads(docker.ask("9000/readyz"))["workers"][0]["pid"] not in (worker, None))
        docker.ask("8000/models/iris/predict", *ANSWERS)
        eventually(lambda: docker.output("docker", "exec", name, "python", "-c", ZOMBIES) == "0\n")


@pytest.mark.long
def test_sagemaker(docker, home):
    """The command `serve` serves SageMaker's folder on its port."""
    with docker.container(*HARDENED, served(home, "/opt/ml/model"), "unpickled", "serve"):
        docker.ask("8080/ping")
        assert json.loads(docker.ask("8080/models/iris/predict", *ANSWERS))["predicted_class"] == ["setosa"]


@pytest.mark.long
def test_what_is_not_in_it(docker):
    """The environment has no library of training, and no pip; every command is there."""
    code = "import importlib.metadata as m, json; print(json.dumps([d.name for d in m.distributions()]))"
    names = {
        name.lower()
        for name in json.loads(docker.output("docker", "run", "--rm", "unpickled", "python", "-c", code))
    }
    assert {"unpickled", "onnxruntime", "granian"} <= names
    assert not names & {"scikit-learn", "skl2onnx", "onnx", "pandas", "scipy", "joblib", "cloudpickle", "pip"}
    assert "onnxruntime 1." in docker.output("docker", "run", "--rm", "unpickled", "unpickled", "version")
