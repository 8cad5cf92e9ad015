"""Three small real models, exported once per session, and ways to talk to them."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, settings
from shop import Shop
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from benchmarks.servers import warden
from benchmarks.servers.ports import free_ports
from unpickled.export import export_pipeline
from unpickled.server import Config
from unpickled.server.app import flask_app
from unpickled.server.service import Service

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
FLOWER = [5.1, 3.5, 1.4, 0.2]
FLOWERS = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
SPECIES = ["setosa", "versicolor", "virginica"]
PERSON = {"age": 41.0, "income": 2100.5, "city": "Bonn", "plan": "pro"}
# Seconds, far beyond what any wait of a test takes on a busy machine.
PATIENCE = 900.0
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?(?![\w])")
# When this process began, in the time of time.monotonic().
BEGAN = time.monotonic()
# The most processes of a suite that have ports of their own.
SUITE = 16
# The ports that were given last: no server may listen there yet when the next one is drawn.
GIVEN: deque[int] = deque(maxlen=64)
# Processors with other instructions differ by less.
ROUNDING = Decimal("1e-6")

# The processes that the tests start end with this one, even if it is killed.
warden.guard()
# A script starts processes in the background with SIGINT ignored, which their own processes inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass(frozen=True)
class Models:
    """A models folder, with the fitted pipelines its files were made of and their training rows."""

    path: Path
    pipelines: dict[str, Pipeline]
    rows: dict[str, Any]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the option for those whose time is bounded, such as CI."""
    words = "seconds after which no test begins any more: the others are skipped"
    parser.addoption("--begin-within", type=float, metavar="SECONDS", help=words)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test for which there is no time left."""
    seconds = item.config.getoption("--begin-within")
    if seconds is not None and time.monotonic() - BEGAN > seconds:
        pytest.skip(f"{seconds:.0f} seconds are over: this test does not begin any more")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse names of tests with an address in them: processes that share the tests must agree on them."""
    unstable = [item.nodeid for item in items if " at 0x" in item.nodeid]
    if unstable:
        raise pytest.UsageError(f"{unstable[0]}: give the parameter a name by ids=")


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """iris (numbers), people (numbers and categories with gaps, labels are text), forest (trees)."""
    path = tmp_path_factory.mktemp("models")
    X, y = load_iris(return_X_y=True)
    iris = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    forest = make_pipeline(StandardScaler(), RandomForestClassifier(5, random_state=0)).fit(X, y)
    table, answers = people()
    mixed = make_pipeline(mixed_columns(), LogisticRegression()).fit(table, answers)
    export_pipeline(iris, X, y, name="iris", models=path, feature_names=FLOWERS, class_names=SPECIES)
    export_pipeline(forest, X, y, name="forest", models=path, feature_names=FLOWERS)
    export_pipeline(mixed, table, answers, name="people", models=path)
    return Models(
        path,
        pipelines={"iris": iris, "forest": forest, "people": mixed},
        rows={"iris": X, "forest": X, "people": table},
    )


@pytest.fixture(scope="session")
def regressors(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """area (one number), areas (two of them), spending (one, of rows with categories and gaps)."""
    path = tmp_path_factory.mktemp("regressors")
    X, (table, _) = load_iris(return_X_y=True)[0], people()
    areas = pd.DataFrame({"sepal": X[:, 0] * X[:, 1], "petal": X[:, 2] * X[:, 3]})
    one = make_pipeline(StandardScaler(), Ridge()).fit(X, areas["sepal"])
    two = make_pipeline(StandardScaler(), Ridge()).fit(X, areas)
    mixed = make_pipeline(mixed_columns(), Ridge()).fit(table, table["income"] * 0.3)
    export_pipeline(one, X, areas["sepal"], name="area", models=path, feature_names=FLOWERS)
    export_pipeline(two, X, areas, name="areas", models=path, feature_names=FLOWERS)
    export_pipeline(mixed, table, table["income"] * 0.3, name="spending", models=path)
    return Models(
        path,
        pipelines={"area": one, "areas": two, "spending": mixed},
        rows={"area": X, "areas": X, "spending": table},
    )


@pytest.fixture(scope="session")
def first_shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A shop whose champion is trained."""
    return Shop(tmp_path_factory.mktemp("shop")).train()


@pytest.fixture
def shop(first_shop: Shop, tmp_path: Path) -> Shop:
    """The same shop in a folder of its own, with a log that is empty."""
    return first_shop.like(tmp_path)


def generated(examples: int) -> settings:
    """Settings of hypothesis: the same examples on every run, and no files."""
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


def shelve(models: Models, home: Path, *names: str, first: int = 1) -> Path:
    """Copy exported models into ``home`` as the versions ``first``, ``first`` + 1 and so on of one model."""
    for number, name in enumerate(names, start=first):
        shutil.copytree(models.path / name / "1", home / str(number))
    return home


def copied(folder: Path) -> Path:
    """A copy of the tree without models, marked so that make installs nothing."""
    ignored = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", "build", "*.egg-info")
    shutil.copytree(ROOT, folder, ignore=ignored)
    shutil.rmtree(folder / "models" / "iris", ignore_errors=True)
    (folder / ".venv").mkdir()
    for stamp in ("serving", "benchmarking", "developing"):
        (folder / ".venv" / stamp).touch()
    return folder


def environment(**more: str) -> dict[str, str]:
    """The variables of a shell that finds the programs installed here."""
    return {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", **more}


def people() -> tuple[pd.DataFrame, np.ndarray]:
    """200 made-up customers, some without an age, and whether each stays."""
    rng = np.random.default_rng(7)
    age = rng.integers(18, 80, 200).astype(float)
    income = np.round(rng.lognormal(7.5, 0.5, 200), 2)
    table = pd.DataFrame({"age": age, "income": income})
    table["city"] = rng.choice(["Bonn", "Köln", "Trier"], 200)
    table["plan"] = rng.choice(["free", "pro"], 200)
    stays = np.where(age + 10 * (table["plan"] == "pro") + rng.normal(0, 9, 200) > 50, "stays", "leaves")
    table.loc[rng.random(200) < 0.1, "age"] = np.nan
    return table, stays


def mixed_columns() -> ColumnTransformer:
    """Prepares the numbers, with gaps, and the categories of people()."""
    return make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), ["age", "income"]),
        (OneHotEncoder(handle_unknown="ignore"), ["city", "plan"]),
    )


@pytest.fixture(scope="session")
def service(models: Models) -> Service:
    """All three models, iris behind /predict."""
    return Service(Config(models=str(models.path), default_model="iris"))


@pytest.fixture(scope="session")
def app(service: Service) -> Flask:
    """The application around that service."""
    return flask_app(service)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A client of that application, without a socket."""
    return app.test_client()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Both ends of a pipe, which holds all that a test writes."""
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


@dataclass(frozen=True)
class Serving:
    """A running server: its address, its process, and the file with its output."""

    port: int
    uds: Path | None
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX if self.uds else socket.AF_INET)
        connection.settimeout(PATIENCE)
        try:
            connection.connect(str(self.uds) if self.uds else ("127.0.0.1", self.port))
        except OSError:
            connection.close()
            raise
        return connection

    def listens(self) -> bool:
        try:
            self.connect().close()
        except OSError:
            return False
        return True

    def answers(self) -> bool:
        """Whether it answers: after a worker is killed, the others may not listen yet."""
        try:
            return self.ask("/livez")[0] == 200
        except OSError:
            return False

    def ended(self) -> bool:
        return self.process.poll() is not None

    def ask(self, path: str, body: bytes | None = None) -> tuple[int, Any]:
        """Status and document of a GET, or of a POST where there is a body."""
        try:
            with urllib.request.urlopen(f"{self.url}{path}", body, timeout=PATIENCE) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def workers(self) -> list[int]:
        """Process ids of the workers."""
        others = b"resource_tracker", b"payloads.writer"
        return [pid for pid in self.children() if not any(name in command_line(pid) for name in others)]

    def writers(self) -> list[int]:
        """Process ids of those that write the payload log: one, or none while it is replaced."""
        return [pid for pid in self.children() if b"payloads.writer" in command_line(pid)]

    def children(self) -> list[int]:
        """Process ids of all that the main process has started."""
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [*map(int, listed.split())]

    def announced(self, silent: bool) -> bool:
        """Whether the banner is printed, which happens once the address answers."""
        return silent or "Unpickled serves" in self.printed()

    def printed(self) -> str:
        return self.log.read_text()


def command_line(pid: int) -> bytes:
    """The command line of a process; empty once it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@contextmanager
def serving(
    folder: Path,
    *flags: str,
    models: Path,
    port: int | None = None,
    uds: Path | None = None,
    program: Sequence[str | Path] = (sys.executable, "-m", "server", "--port", "{port}"),
    python_path: str = str(ROOT),
    wait: bool = True,
) -> Iterator[Serving]:
    """``python -m server`` on a free port, its output in ``folder``; it ends with the block."""
    port = port or free_port()
    flags = (*flags, "--uds", str(uds)) if uds else flags
    environ = {key: value for key, value in os.environ.items() if not key.startswith("UNPICKLED_")}
    environ |= {"UNPICKLED_MODELS": str(models), "PYTHONPATH": python_path}
    command = [str(word).format(port=port) for word in (*program, *flags)]
    log = folder / f"server-{port}.log"
    with (
        log.open("wb") as output,
        started(command, stdout=output, stderr=output, cwd=folder, env=environ) as process,
    ):
        server = Serving(port, uds, process, log)
        silent = "gunicorn" in program
        eventually(lambda: not wait or server.ended() or (server.listens() and server.announced(silent)))
        yield server


@contextmanager
def started(command: Any, **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """A process in a session of its own; its process group ends with the block."""
    with subprocess.Popen(command, start_new_session=True, **options) as process:
        try:
            yield process
        finally:
            end(process)


def run(command: Any, **options: Any) -> subprocess.CompletedProcess[str]:
    """A process that has ended by itself, with its output."""
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with started(command, text=True, **pipes | options) as process:
        out, err = process.communicate(timeout=PATIENCE)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def end(process: subprocess.Popen[Any], grace: float = PATIENCE) -> None:
    """Send SIGTERM to a process; after ``grace`` seconds, send SIGKILL to the first group of its session."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(grace)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def halt(pid: int) -> None:
    """Stop a process, and wait until none of its threads runs: after the signal it runs on for a moment."""
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: are_threads(pid, "TtZX"))


def are_threads(pid: int, states: str) -> bool:
    """Whether each thread of a process is in one of these states, as ``ps`` has them, or is gone."""
    process = Path(f"/proc/{pid}")
    try:
        lines = [(thread / "stat").read_text() for thread in (process / "task").iterdir()]
    except OSError:
        # A thread ends, or the process.
        return not process.exists()
    # The state stands behind the name, which is in brackets.
    return all(line.rpartition(") ")[2][0] in states for line in lines)


def alike(text: str, expected: str) -> bool:
    """Whether words are equal and numbers as close as ``expected`` shows them; ``...`` there is any text."""
    words = [_pattern(part) for part in NUMBER.split(expected)]
    match = re.fullmatch(f"({NUMBER.pattern})".join(words), text)
    return match is not None and all(map(_close, match.groups(), NUMBER.findall(expected)))


def _pattern(words: str) -> str:
    """A pattern of these words, with gaps of any width between them."""
    parts = re.split(r"(\.\.\.|\s+)", words)
    return "".join({"...": ".*?"}.get(part, r"\s+" if part.isspace() else re.escape(part)) for part in parts)


def _close(number: str, expected: str) -> bool:
    """Whether a number is the expected one up to its last digit; whole numbers have to be equal."""
    if expected.lstrip("-").isdigit():
        return Decimal(number) == Decimal(expected)
    last = Decimal(1).scaleb(int(Decimal(expected).as_tuple().exponent))
    return abs(Decimal(number) - Decimal(expected)) <= max(last, ROUNDING)


def eventually(condition: Callable[[], object], patience: float = PATIENCE) -> None:
    """Wait until a condition is true."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"the condition is not true after {patience:.0f} s"
        time.sleep(0.02)


def free_port() -> int:
    """A port that no test was given lately, nor another process: their ports leave different remainders."""
    index = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    ports = (port for port in iter(lambda: free_ports(1)[0], 0) if port % SUITE == index % SUITE)
    GIVEN.append(next(port for port in ports if port not in GIVEN))
    return GIVEN[-1]
