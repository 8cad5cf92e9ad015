"""The document of one run: every figure of every repetition, as JSON that people can read.

A new optional member leaves SCHEMA as it is; a change that an older reader would misread raises it.
"""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from benchmarks.errors import BenchmarkError

SCHEMA = 1

# Servers that the suite knows by name.
UNPICKLED, TUTORIAL, FLOOR = "unpickled", "tutorial", "floor"

Kind = Literal["baselines", "all"]
Group = Literal["ours", "floor", "baseline", "peer"]
Stage = Literal["install", "start", "check", "measure"]


class Record(Struct, kw_only=True, tag_field="measure", forbid_unknown_fields=True):
    """One measurement of one server with one model; ``repeat`` counts from 0."""

    model: str
    server: str
    repeat: int

    @property
    def at(self) -> float | str | None:
        """The rate or the size of the batch, which two repetitions of a measurement have in common."""
        return None


class Start(Record, kw_only=True, tag="start"):
    """Time from the start of the process to its first answer (s), and memory after the load (MiB).

    ``rss_mb`` is the resident memory of the largest process; ``tree_mb`` is the memory of all
    ``processes`` of the server, with shared pages counted once (PSS).
    """

    ready_s: float
    rss_mb: float
    tree_mb: float
    processes: int


class Saturation(Record, kw_only=True, tag="saturation"):
    """The most requests that the server answers; CPU time is that of the server, per request."""

    connections: int
    seconds: float
    requests: int
    requests_per_s: float
    cpu_us: float | None = None
    p50_us: float | None = None
    p99_us: float | None = None
    generator_busy: float | None = None


class Alone(Record, kw_only=True, tag="alone"):
    """One connection, each request sent after the previous answer."""

    requests_per_s: float
    p50_us: float
    p99_us: float | None = None


class Latency(Record, kw_only=True, tag="latency"):
    """Requests at a fixed rate, timed from when each was due; ``late`` is the delay of the generator."""

    rate: float
    half_of: str | None = None
    seconds: float
    requests: int
    failures: int = 0
    achieved: float
    p50_us: float
    p90_us: float | None = None
    p99_us: float | None = None
    p999_us: float | None = None
    max_us: float | None = None
    late_p50_us: float | None = None
    late_p99_us: float | None = None
    generator_busy: float | None = None

    @property
    def at(self) -> float | str:
        return self.half_of or self.rate


class Batch(Record, kw_only=True, tag="batch"):
    """Several rows in each request, one connection."""

    rows: int
    requests_per_s: float
    rows_per_s: float
    p50_us: float | None = None

    @property
    def at(self) -> float:
        return self.rows


class Compute(Record, kw_only=True, tag="compute"):
    """One call in process without HTTP; the server is "onnxruntime" or "scikit-learn"."""

    rows: int
    us: float

    @property
    def at(self) -> float:
        return self.rows


class Stages(Record, kw_only=True, tag="stages"):
    """Time of one request (us): ``stages`` inside the application, and CPU time around them."""

    stages: dict[str, float]
    total_us: float
    floor_cpu_us: float
    server_cpu_us: float


AnyRecord = Start | Saturation | Alone | Latency | Batch | Compute | Stages


class Machine(Struct, kw_only=True, forbid_unknown_fields=True):
    processor: str
    cores: int
    memory_mb: int
    system: str
    # -1: not pinned to a core.
    server_core: int = -1
    generator_core: int = -1


class Commit(Struct, kw_only=True, forbid_unknown_fields=True):
    id: str
    clean: bool


class Model(Struct, kw_only=True, forbid_unknown_fields=True):
    """A model of the run; a regressor has 0 classes."""

    title: str
    estimator: str
    features: int
    classes: int
    pickle_bytes: int
    onnx_bytes: int


class Server(Struct, kw_only=True, forbid_unknown_fields=True):
    """A server of the run; ``artifact`` is the kind of file that it loads: "onnx", "pickle" or none."""

    title: str
    group: Group
    artifact: str = ""
    versions: dict[str, str] = {}
    note: str = ""


class Failure(Struct, kw_only=True, forbid_unknown_fields=True):
    """The reason for missing figures of a server; without a model, for all models."""

    server: str
    model: str | None = None
    stage: Stage
    reason: str


class Run(Struct, kw_only=True, forbid_unknown_fields=True):
    """One run. ``complete`` is false until the last record is added."""

    schema: int = SCHEMA
    kind: Kind
    started: datetime
    finished: datetime | None = None
    complete: bool = False
    machine: Machine
    versions: dict[str, str] = {}
    commit: Commit | None = None
    options: dict[str, Any] = {}
    generators: dict[str, str] = {}
    models: dict[str, Model] = {}
    servers: dict[str, Server] = {}
    failures: list[Failure] = []
    records: list[AnyRecord] = []

    @property
    def file_name(self) -> str:
        return f"{self.kind}-{self.started.astimezone(UTC):%Y%m%d-%H%M%S}.json"

    def add(self, record: AnyRecord) -> None:
        """Append a record; BenchmarkError where a figure is missing or not a number."""
        try:
            self.records.append(msgspec.json.decode(msgspec.json.encode(record), type=AnyRecord))
        except msgspec.ValidationError as error:
            measure = type(record).__name__.lower()
            raise BenchmarkError(
                f"{measure} of {record.server} with {record.model} has an unusable figure: {error}"
            ) from None

    def fail(self, server: str, model: str | None, stage: Stage, reason: str) -> None:
        """Record the reason for missing figures of a server."""
        self.failures.append(Failure(server=server, model=model, stage=stage, reason=reason))

    def finish(self) -> None:
        """Mark the run as complete."""
        self.finished = datetime.now(UTC).replace(microsecond=0)
        self.complete = True

    def save(self, folder: Path) -> Path:
        """Write the document into a folder, whole or not at all; its path."""
        path = folder / self.file_name
        temporary = path.with_suffix(".part")
        folder.mkdir(parents=True, exist_ok=True)
        temporary.write_text(encoded(self), "utf-8")
        os.replace(temporary, path)
        return path


def encoded(run: Run) -> str:
    """The document as JSON with a line per record, so that diffs are readable."""
    members = [f"{line(name)}: {block(getattr(run, name))}" for name in run.__struct_fields__]
    return "{\n" + ",\n".join(members) + "\n}\n"


def block(value: Any) -> str:
    """A list, or a mapping of structures, with an item per line; any other value in one line."""
    if isinstance(value, list) and value:
        return "[\n  " + ",\n  ".join(map(line, value)) + "\n]"
    if isinstance(value, dict) and any(isinstance(item, Struct) for item in value.values()):
        return "{\n  " + ",\n  ".join(f"{line(key)}: {line(item)}" for key, item in value.items()) + "\n}"
    return line(value)


def line(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=0).decode()


def read(path: Path) -> Run:
    """The document in a file; BenchmarkError where it is not one, or of another schema."""
    try:
        text = path.read_bytes()
        schema = msgspec.json.decode(text, type=Header).schema
        if schema != SCHEMA:
            raise BenchmarkError(f"{path} has schema {schema}, this reads schema {SCHEMA}: measure again")
        return msgspec.json.decode(text, type=Run)
    except OSError as error:
        raise BenchmarkError(f"{path} cannot be read: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BenchmarkError(f"{path} is not a results document: {error}; remove it") from None


class Header(Struct):
    """The member that every schema has."""

    schema: int


def read_all(folder: Path) -> list[Run]:
    """Every document in a folder, the newest first."""
    return sorted((read(path) for path in folder.glob("*.json")), key=lambda run: run.started, reverse=True)
