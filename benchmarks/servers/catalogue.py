"""The servers that are compared: what each is, how it is started and what it speaks."""

import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.results import FLOOR, TUTORIAL, UNPICKLED, Group

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
BASELINES, PEERS = HERE / "baselines", HERE / "peers"


@dataclass(frozen=True)
class Places:
    """What the lines of an entry name in braces, besides {baselines} and {peers}, the folders here."""

    bin: Path  # the programs of its environment
    folder: Path  # its own, to write to
    work: Path  # that of the whole run
    models: Path  # what Unpickled serves
    pickle: Path
    onnx: Path
    port: int  # where it listens
    spare: tuple[int, ...]  # three more free ports

    def fill(self, text: str) -> str:
        return text.format(**asdict(self), baselines=BASELINES, peers=PEERS)


@dataclass(frozen=True)
class Entry:
    """One server. ``contract`` is one of contracts.CONTRACTS, ``versions`` the distributions it is made of.

    ``requirements`` names a file of pinned requirements in peers/; without one it runs in this environment.
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

    def started(self, places: Places) -> list[str]:
        """The command line that serves."""
        return [places.fill(part) for part in self.command.split()]

    def prepared(self, places: Places) -> list[str]:
        """The command line that has to run before; empty where there is none."""
        return [places.fill(part) for part in self.prepare.split()]

    def variables(self, places: Places) -> dict[str, str]:
        """The environment of both."""
        own = {name: places.fill(value) for name, value in self.environment.items()}
        path = f"{places.bin}{os.pathsep}{os.environ.get('PATH', '')}"
        given = {"PATH": path, "PIPELINE": str(places.pickle), "MODEL": str(places.onnx)}
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        if not self.requirements:
            # The server of this checkout, installed or not.
            kept["PYTHONPATH"] = str(ROOT)
        return {**kept, **QUIET, "HOME": str(places.folder), **given, **own}


# Of the caller's environment; the rest could change one server's settings and not the others'.
KEPT = ("LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "SSL_CERT_FILE")
# Nothing that is measured phones home meanwhile.
QUIET = {
    "DO_NOT_TRACK": "true",
    "ORT_DISABLE_TELEMETRY": "1",
    "BENTOML_DO_NOT_TRACK": "True",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
}

_GUNICORN = "{bin}/gunicorn --threads 4 --log-level error --bind 127.0.0.1:{port} --chdir {baselines} "

_UVICORN = "{bin}/uvicorn --no-access-log --host 127.0.0.1 --port {port} --app-dir {peers} "

# The tutorial is first: half of what it takes is the rate that the latency of all is compared at.
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
        "{bin}/python -m server --models {models} --port {port}",
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
            # The paths of its sockets may not be longer than 97 characters, 60 of which are its own.
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
    """Where the programs of the running environment are."""
    return Path(sys.executable).parent
