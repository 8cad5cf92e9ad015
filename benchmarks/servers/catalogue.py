"""The servers that are compared: the title, the command line and the contract of each."""

import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.results import FLOOR, TUTORIAL, UNPICKLED, Group
from benchmarks.servers.warden import ENDS_WITH

HERE = Path(__file__).parent
BASELINES, PEERS = HERE / "baselines", HERE / "peers"


@dataclass(frozen=True)
class Places:
    """The values for the braces in an entry; {baselines} and {peers} are the folders beside this file."""

    bin: Path  # the programs of the environment
    folder: Path  # for files of the server
    work: Path  # for files of the whole run
    models: Path  # the folder that Unpickled serves
    pickle: Path
    onnx: Path
    port: int  # the port to listen on
    spare: tuple[int, ...]  # three more free ports

    def fill(self, text: str) -> str:
        """A text with the values in place of the braces."""
        return text.format(**asdict(self), baselines=BASELINES, peers=PEERS)


@dataclass(frozen=True)
class Entry:
    """One server. ``contract`` is a key of contracts.CONTRACTS, ``versions`` are its distributions, and
    ``probe`` the path that says whether it lives.

    ``requirements`` is a file of pinned requirements in peers/; without one it runs in this environment.
    """

    title: str
    group: Group
    command: str
    contract: str = "native"
    artifact: str = "pickle"
    requirements: str = ""
    prepare: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    batches: bool = False
    ladder: bool = False
    versions: tuple[str, ...] = ()
    note: str = ""
    probe: str = "/livez"

    def started(self, places: Places) -> list[str]:
        """The command line that serves."""
        return [places.fill(part) for part in self.command.split()]

    def prepared(self, places: Places) -> list[str]:
        """The command line that runs before it; empty where there is none."""
        return [places.fill(part) for part in self.prepare.split()]

    def variables(self, places: Places) -> dict[str, str]:
        """The environment variables of both."""
        configured = {name: places.fill(value) for name, value in self.environment.items()}
        path = f"{places.bin}{os.pathsep}{os.environ.get('PATH', '')}"
        files = {"PATH": path, "PIPELINE": str(places.pickle), "MODEL": str(places.onnx)}
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        return {**inherited, **QUIET, "HOME": str(places.folder), **files, **configured}


# Variables of the caller; any other could change the settings of one server alone.
INHERITED = ("LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "SSL_CERT_FILE", ENDS_WITH)
# No server sends telemetry while it is measured.
QUIET = {
    "DO_NOT_TRACK": "true",
    "ORT_DISABLE_TELEMETRY": "1",
    "BENTOML_DO_NOT_TRACK": "True",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
}

_GUNICORN = "{bin}/gunicorn --threads 4 --log-level error --bind 127.0.0.1:{port} --chdir {baselines} "

_UVICORN = "{bin}/uvicorn --no-access-log --host 127.0.0.1 --port {port} --app-dir {peers} "

# The tutorial is first: half of its rate is the one at which the latency of all servers is compared.
SERVERS: dict[str, Entry] = {
    TUTORIAL: Entry(
        "tutorial: Flask, pickle, jsonify on gunicorn",
        "baseline",
        _GUNICORN + "tutorial:app",
        batches=True,
        ladder=True,
        versions=("flask", "gunicorn", "scikit-learn"),
        note="gunicorn with 4 threads",
    ),
    FLOOR: Entry(
        "does nothing, same HTTP server",
        "floor",
        "{bin}/granian --interface wsgi --blocking-threads 64 --no-ws --log-level error"
        " --working-dir {baselines} --port {port} floor:app",
        contract="floor",
        artifact="",
        ladder=True,
        versions=("granian",),
    ),
    UNPICKLED: Entry(
        "Unpickled",
        "ours",
        "{bin}/python -m unpickled serve --models {models} --port {port}",
        artifact="onnx",
        batches=True,
        ladder=True,
        versions=("granian", "onnxruntime"),
    ),
    "tutorial-dev": Entry(
        "tutorial on Flask's development server",
        "baseline",
        "{bin}/python -m flask --app {baselines}/tutorial.py run --port {port}",
        versions=("flask", "scikit-learn"),
        note="closes each connection",
    ),
    "flask-onnx": Entry(
        "same ONNX file, plain Flask on gunicorn",
        "baseline",
        _GUNICORN + "flask_onnx:app",
        artifact="onnx",
        batches=True,
        ladder=True,
        versions=("flask", "gunicorn", "onnxruntime"),
        note="gunicorn with 4 threads",
    ),
    "fastapi-onnx": Entry(
        "same ONNX file, FastAPI on uvicorn",
        "peer",
        _UVICORN + "fastapi_onnx:app",
        artifact="onnx",
        requirements="fastapi-onnx.txt",
        batches=True,
        note="uvicorn[standard], async def, orjson",
    ),
    "fastapi-pickle": Entry(
        "FastAPI and pickle on uvicorn",
        "peer",
        _UVICORN + "fastapi_pickle:app",
        requirements="fastapi-pickle.txt",
        batches=True,
        note="uvicorn[standard], async def",
    ),
    "mlserver": Entry(
        "MLServer",
        "peer",
        "{bin}/mlserver start {folder}",
        contract="v2",
        requirements="mlserver.txt",
        prepare="{bin}/python {peers}/mlserver_model.py {folder}",
        environment={
            "MLSERVER_HTTP_PORT": "{port}",
            "MLSERVER_GRPC_PORT": "{spare[0]}",
            "MLSERVER_METRICS_PORT": "{spare[1]}",
        },
        note="inference in the main process, V2 JSON",
        probe="/v2/health/live",
    ),
    "bentoml": Entry(
        "BentoML",
        "peer",
        "{bin}/bentoml serve --working-dir {peers} --host 127.0.0.1 --port {port} bentoml_service:Classifier",
        requirements="bentoml.txt",
        environment={"BENTOML_HOME": "{folder}/bentoml"},
        note="one worker, no access log",
    ),
    "litserve": Entry(
        "LitServe",
        "peer",
        "{bin}/python {peers}/litserve_server.py --port {port}",
        requirements="litserve.txt",
        note="one HTTP and one inference process on the same core, fast_queue",
    ),
    "mlflow": Entry(
        "MLflow models serve",
        "peer",
        "{bin}/mlflow models serve -m {folder}/model --env-manager local --host 127.0.0.1 --port {port}"
        " --workers 1",
        contract="mlflow",
        requirements="mlflow.txt",
        prepare="{bin}/python {peers}/mlflow_model.py {folder}",
        environment={"UVICORN_ACCESS_LOG": "false"},
        note="one worker, uvicorn[standard], no access log",
    ),
    "ray-serve": Entry(
        "Ray Serve",
        "peer",
        "{bin}/python {peers}/ray_serve.py --port {port}",
        requirements="ray-serve.txt",
        environment={
            "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
            "RAY_SERVE_ENABLE_HA_PROXY": "1",
            "RAY_SERVE_HAPROXY_METRICS_PORT": "{spare[0]}",
            "RAY_SERVE_HAPROXY_STATS_PORT": "{spare[1]}",
            # The path of a socket has 97 characters at most, and 60 of them are Ray's own.
            "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": "{work}",
            "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": "{work}/server-state",
            "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": "{work}/haproxy.cfg",
            "RAY_SERVE_HAPROXY_SOCKET_PATH": "{work}/admin.sock",
            "RAY_TMPDIR": "{work}",
        },
        note="HAProxy, one replica, throughput optimised; all of its processes on the same core",
    ),
}


def own_bin() -> Path:
    """The folder of programs of the running environment."""
    return Path(sys.executable).parent
