"""The same rows in each form that a client can choose, sent to the same server.

    python -m benchmarks.formats [--save]

Batches go over one connection, each after the previous answer; single rows come over enough connections to
keep the server busy. The forms take turns; before that, the answers in every form are compared with
scikit-learn's. --save keeps the figures in benchmarks/results/formats/ and writes the documentation's table.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from benchmarks.errors import BenchmarkError
from benchmarks.measuring import generators, machine, serving
from benchmarks.measuring.generators import Target
from benchmarks.measuring.pipelines import RECIPES, Fitted, Floats, Recipe, fit, logistic
from benchmarks.reporting import formats as reporting
from benchmarks.reporting.formats import ALONE, Figure, Figures
from benchmarks.results import UNPICKLED
from benchmarks.servers import warden
from benchmarks.servers.catalogue import SERVERS
from benchmarks.traffic.connection import Address, Connection

MODELS = {
    "logistic": Recipe("breast_cancer", "logistic regression", 4, logistic),
    "forest": RECIPES["forest"],
}
NATIVE, INFER = "/models/model/predict", "/v2/models/model/infer"
# Each batch has other rows: a processor learns the branches of rows that it sees again.
BATCHES = 10
SINGLES = 2000


@dataclass(frozen=True)
class Form:
    """How rows are encoded, and how labels are read from an answer to ``count`` rows."""

    path: str
    body: Callable[[Floats], bytes]
    labels: Callable[[bytes, int], list[int]]
    kind: str = "application/json"

    def message(self, address: Address, rows: Floats) -> bytes:
        """The bytes of one request."""
        body = self.body(rows)
        if self.kind != "application/octet-stream":
            return address.message("POST", self.path, body, self.kind)
        headers = f"Inference-Header-Content-Length: {body.index(b'}]}') + 3}\r\n"
        return address.message("POST", self.path, body, self.kind, headers)


def _native(rows: Floats) -> bytes:
    return orjson.dumps({"features": rows[0].tolist() if len(rows) == 1 else rows.tolist()})


def _text(rows: Floats) -> bytes:
    return "".join(",".join(map(repr, row)) + "\n" for row in rows.tolist()).encode()


def _json(rows: Floats) -> bytes:
    return orjson.dumps({"inputs": [_tensor(rows, "FP64", data=rows.ravel().tolist())]})


def _binary(dtype: str, datatype: str) -> Callable[[Floats], bytes]:
    def body(rows: Floats) -> bytes:
        data = rows.astype(dtype).tobytes()
        tensor = _tensor(rows, datatype, parameters={"binary_data_size": len(data)})
        return orjson.dumps({"parameters": {"binary_data_output": True}, "inputs": [tensor]}) + data

    return body


def _tensor(rows: Floats, datatype: str, **members: Any) -> dict[str, Any]:
    return {"name": "numbers", "shape": list(rows.shape), "datatype": datatype, **members}


def _of_native(content: bytes, _: int) -> list[int]:
    return list(orjson.loads(content)["prediction"])


def _of_json(content: bytes, _: int) -> list[int]:
    return list(orjson.loads(content)["outputs"][0]["data"])


def _of_text(content: bytes, _: int) -> list[int]:
    return [int(line.split(b",")[0]) for line in content.splitlines()]


def _of_binary(content: bytes, count: int) -> list[int]:
    """An answer ends with a label (INT64) and the probabilities (FP64) of two classes for each row."""
    labels: list[int] = np.frombuffer(content[-24 * count :], "<i8", count).tolist()
    return labels


FORMS = {
    "JSON, /predict": Form(NATIVE, _native, _of_native),
    "CSV, /predict": Form(NATIVE, _text, _of_text, "text/csv; header=absent"),
    "JSON, OIP": Form(INFER, _json, _of_json),
    "binary FP64, OIP": Form(INFER, _binary("<f8", "FP64"), _of_binary, "application/octet-stream"),
    "binary FP32, OIP": Form(INFER, _binary("<f4", "FP32"), _of_binary, "application/octet-stream"),
}
SINGLE = ("JSON, /predict", "JSON, OIP")


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status."""
    options = _parse(arguments)
    warden.guard()
    try:
        figures = measure(options)
        print(reporting.text(figures))
        if options.save:
            for path in reporting.LATEST.save(figures):
                print(f"wrote {path}")
    except BenchmarkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def measure(options: argparse.Namespace) -> Figures:
    """The figures of every form with each model."""
    server_core, own_core = machine.cores(pinned=not options.unpinned)
    generator = generators.saturating()
    if generator == "locust" and options.save:
        raise BenchmarkError("wrk or h2load is missing (Debian: wrk, or nghttp2-client for h2load)")
    figures: list[Figure] = []
    for name in options.models:
        with tempfile.TemporaryDirectory(prefix="b-") as folder:
            fitted = fit(name, Path(folder), MODELS[name])
            with _serving(fitted, Path(folder), server_core) as address, _pinned(own_core):
                figures += _batches(fitted, address, options)
                if generator != "locust":  # Locust is slower than the server
                    figures += _singles(fitted, address, options, generator, Path(folder))
    return Figures(
        started=datetime.now(UTC).replace(microsecond=0),
        machine=machine.describe(server_core, own_core),
        versions=machine.versions(generator),
        commit=machine.commit(),
        rows=options.rows,
        figures=figures,
    )


@contextmanager
def _serving(fitted: Fitted, folder: Path, core: int | None) -> Iterator[Address]:
    places = serving.places(fitted, folder, folder)
    with serving.serving(SERVERS[UNPICKLED], places, fitted, core) as server:
        yield Address.of(f"http://127.0.0.1:{server.port}")


@contextmanager
def _pinned(core: int | None) -> Iterator[None]:
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _batches(fitted: Fitted, address: Address, options: argparse.Namespace) -> list[Figure]:
    """Rows/s of each form, and of the session alone: medians of several turns."""
    rows = np.array(fitted.rows)
    batches = [rows[index * options.rows :][: options.rows] for index in range(BATCHES)]
    connection = Connection(address)
    calls = {name: _exchanges(form, connection, batches, fitted) for name, form in FORMS.items()}
    calls[ALONE] = _runs(fitted, batches)
    rates: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(options.repeats):
        for name, call in calls.items():
            print(f"{fitted.title}: {turn + 1} of {options.repeats}, {name}", file=sys.stderr, flush=True)
            rates[name].append(options.rows / _seconds(call, options.seconds))
    connection.close()
    return _figures(fitted, options.rows, rates)


def _figures(fitted: Fitted, rows: int, rates: Mapping[str, list[float]]) -> list[Figure]:
    return [
        Figure(title=fitted.title, form=name, rows=rows, per_s=statistics.median(values))
        for name, values in rates.items()
    ]


def _exchanges(
    form: Form, connection: Connection, batches: list[Floats], fitted: Fitted
) -> Callable[[int], object]:
    messages = [form.message(connection.address, rows) for rows in batches]
    for index, message in enumerate(messages):
        answer = connection.exchange(message)
        first = index * len(batches[0])
        if answer.status != 200:
            raise BenchmarkError(f"{form.path} answers {answer.status}: {answer.content[:200]!r}")
        count = len(batches[index])
        if form.labels(answer.content, count) != fitted.labels[first : first + count]:
            raise BenchmarkError(f"{form.path} ({form.kind}) answers other labels than scikit-learn")
    return lambda turn: connection.exchange(messages[turn % BATCHES])


def _runs(fitted: Fitted, batches: list[Floats]) -> Callable[[int], object]:
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(fitted.onnx.read_bytes(), options, ["CPUExecutionProvider"])
    tensor = session.get_inputs()[0].name
    return lambda turn: session.run(None, {tensor: batches[turn % BATCHES]})


def _seconds(call: Callable[[int], object], seconds: float) -> float:
    """The median time of a call."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while (started := time.perf_counter()) < end or len(times) < BATCHES:
        call(len(times))
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def _singles(
    fitted: Fitted, address: Address, options: argparse.Namespace, generator: str, folder: Path
) -> list[Figure]:
    """Requests/s of single rows, over enough connections to keep the server busy."""
    rows = np.array(fitted.rows[:SINGLES])
    targets: dict[str, Target] = {}
    for name in SINGLE:
        bodies = folder / f"{len(targets)}.txt"
        bodies.write_bytes(b"\n".join(FORMS[name].body(rows[at : at + 1]) for at in range(len(rows))))
        targets[name] = Target(f"http://{address.host}:{address.port}", FORMS[name].path, bodies, ())
    rates: dict[str, list[float]] = {name: [] for name in targets}
    for _ in range(options.repeats):
        for name, target in targets.items():
            load = generators.closed_loop(generator, target, max(1.0, options.seconds), 32)
            rates[name].append(load.requests_per_s)
    return _figures(fitted, 1, rates)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.formats", description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS), help="default: all")
    parser.add_argument("--rows", type=int, default=1000, help="rows in a batch (default: 1000)")
    parser.add_argument("--repeats", type=int, default=5, help="turns (default: 5)")
    parser.add_argument("--seconds", type=float, default=1.0, help="seconds of each turn (default: 1)")
    parser.add_argument("--unpinned", action="store_true", help="do not pin processes to cores")
    parser.add_argument("--save", action="store_true", help="keep the figures, and write the table")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
