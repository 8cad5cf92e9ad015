"""The time of each stage of one request, in process, without a network.

    python -m benchmarks.stages [--model NAME] [--save FILE] [--against FILE]

CPU time, the median of many rounds in which the stages take turns. To measure a change of the server, use
--save before it and --against after it. No other file of the benchmarks imports the server.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from struct import Struct
from typing import Any

from benchmarks.errors import BenchmarkError
from unpickled.server import Config
from unpickled.server.errors import UnpickledError
from unpickled.server.inference.prediction import Prediction
from unpickled.server.inference.predictor import Predictor
from unpickled.server.lifecycle.versions import Served
from unpickled.server.message.body import read
from unpickled.server.model.feeds import PACKING
from unpickled.server.model.session import Model
from unpickled.server.observe.values import tally_of
from unpickled.server.protocols.native import Native
from unpickled.server.protocols.rows import Reader
from unpickled.server.serve.fastpath import fast_path
from unpickled.server.service import Service

Call = Callable[[Any], object]

MEANING = {
    "read": "the body, from the HTTP server",
    "decode": "JSON to numbers, validated",
    "array": "numbers to the graph's input",
    "run": "the graph",
    "encode": "labels and scores to JSON",
    "count": "metrics: status, times, rows, classes or numbers",
    "rest": "finding the model, headers, calls between",
}
# So few rows stay in the cache of the processor, as those of a real request do.
ROWS = 100
_HOST = "localhost:8000"
ROUNDS = 1000


def main(arguments: list[str] | None = None) -> int:
    """The exit status."""
    options = _parse(arguments)
    try:
        times = measure(Service(Config(models=str(options.models))), options.model, options.rounds)
        before = _read(options.against) if options.against else None
        if options.save:
            options.save.write_text(json.dumps(times) + "\n", "utf-8")
    except (BenchmarkError, UnpickledError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(times) if options.json else table(times, before))
    return 0


def measure(service: Service, model: str | None = None, rounds: int = ROUNDS) -> dict[str, float]:
    """Microseconds of each stage of one single-row request, in the order in which they happen.

    The rows differ, for a processor learns every branch of a tree when it sees the same row again.
    """
    calls = _calls(service, service.repository.find(model))
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, (call, arguments) in calls.items():
            samples[name].append(_microseconds(call, arguments))
    medians = {name: statistics.median(times) for name, times in samples.items()}
    # A request reads the clock four times, at the borders of its phases.
    count = medians["count"] + 4 * medians["clock"]
    inside = medians["read"] + medians["decode"] + medians["answer"] + medians["count"] + 2 * medians["clock"]
    stages = {
        "read": medians["read"],
        "decode": medians["decode"],
        "array": medians["array"],
        "run": medians["row"] - medians["array"],
        "encode": medians["answer"] - medians["row"] - 2 * medians["clock"],
        "count": count,
        "rest": medians["whole"] - inside,
    }
    return {name: round(time_us, 3) for name, time_us in stages.items()}


def table(times: Mapping[str, float], before: Mapping[str, float] | None) -> str:
    """The stages as lines of text, with the change since ``before``."""
    lines = []
    for name, meaning in MEANING.items():
        lines.append(_line(name, times[name], before[name] if before else None, meaning))
    total = sum(before.values()) if before else None
    lines.append(_line("total", sum(times.values()), total, "one request, without HTTP"))
    return "\n".join(lines)


def _line(name: str, time_us: float, before: float | None, meaning: str) -> str:
    change = "" if before is None else f"  ({time_us - before:+.2f})"
    return f"{name:<8}{time_us:8.2f} us{change}  {meaning}"


def _calls(service: Service, served: Served) -> dict[str, tuple[Call, list[Any]]]:
    """The calls to time, and their arguments. ``array`` is part of ``row``, ``row`` of ``answer``."""
    model = served.model
    rows = _rows(model)
    bodies = [json.dumps({"features": row}).encode() for row in rows]
    limit = max(map(len, bodies))
    environs = [_environ(f"/models/{served.name}/predict", body) for body in bodies]
    predictor = Predictor(model, max_rows=1)
    reader = Reader(predictor)
    native = Native(predictor, reader)
    application = fast_path(_no_application, service.routes, {_HOST})
    return {
        "read": (lambda environ: read(environ, limit), environs),
        "decode": (lambda body: reader.decode_row(body).features, bodies),
        "array": (_array(model), rows),
        "row": (_row(model), rows),
        "answer": (native.answer_row, rows),
        "clock": (lambda _: time.perf_counter(), rows),
        "count": (_count(service, served), _predictions(model)),
        "whole": (lambda environ: application(environ, _start_response), environs),
    }


def _rows(model: Model) -> list[tuple[Any, ...]]:
    """Rows drawn from the values of the golden rows, feature by feature; no value is missing."""
    random = Random(0)
    golden = zip(*model.manifest.golden.rows, strict=True)
    columns = [[value for value in column if value is not None] or [0.0] for column in golden]
    return [tuple(random.choice(column) for column in columns) for _ in range(ROWS)]


def _environ(path: str, body: bytes) -> dict[str, Any]:
    """The members of granian's environ that the server reads."""
    return {
        "PATH_INFO": path,
        "HTTP_HOST": _HOST,
        "REQUEST_METHOD": "POST",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": _Input(body),
    }


def _predictions(model: Model) -> list[Prediction]:
    """Predictions of one row, to be counted."""
    labels, scores = model.run(model.signature.feeds(_rows(model)))
    answers = zip(labels.tolist(), map(tuple, scores.tolist()), strict=True)
    return [Prediction(b"", 0.0, 0.0, (), (label,), (row,)) for label, row in answers]


def _count(service: Service, served: Served) -> Call:
    """Count one row, given its prediction."""
    route, outputs = "/models/<name>/predict", served.model.outputs
    answered = tally_of(service.block, served.name, served.version, route, outputs).answered
    now = time.perf_counter()
    return lambda prediction: answered(now, now, prediction)


def _array(model: Model) -> Call:
    if model.run_row is None:
        return lambda row: model.signature.feeds([row])
    tensor = model.manifest.inputs[0]
    form = Struct(f"{len(tensor.features)}{PACKING[tensor.dtype]}")
    memory = bytearray(form.size)
    return lambda row: form.pack_into(memory, 0, *row)


def _row(model: Model) -> Call:
    return model.run_row or (lambda row: model.run(model.signature.feeds([row])))


def _microseconds(call: Call, arguments: list[Any]) -> float:
    """CPU time of one call."""
    started = time.thread_time_ns()
    for argument in arguments:
        call(argument)
    return (time.thread_time_ns() - started) / len(arguments) / 1000


class _Input:
    """A body that can be read more than once."""

    def __init__(self, body: bytes) -> None:
        self.read = lambda length: body


def _no_application(environ: Mapping[str, Any], start_response: object) -> list[bytes]:
    raise BenchmarkError(f"{environ['PATH_INFO']} is not answered by the fast path")


def _start_response(status: str, headers: list[tuple[str, str]]) -> None:
    if status != "200 OK":
        raise BenchmarkError(f"the request is answered {status}")


def _read(file: Path) -> dict[str, float]:
    try:
        times = json.loads(file.read_text("utf-8"))
        # Files of older servers have no stage "count".
        return {name: float(times.get(name, 0) if name == "count" else times[name]) for name in MEANING}
    except (ValueError, KeyError, TypeError):
        raise BenchmarkError(f"{file} holds no stages: write it with --save") from None


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stages", description=__doc__.split("\n")[0])
    parser.add_argument("--models", type=Path, default=Path("models"), help="default: models")
    parser.add_argument("--model", help="default: the only one")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"default: {ROUNDS}")
    parser.add_argument("--save", type=Path, metavar="FILE", help="save the figures")
    parser.add_argument("--against", type=Path, metavar="FILE", help="show the difference to saved figures")
    parser.add_argument("--json", action="store_true", help="print JSON, in microseconds")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
