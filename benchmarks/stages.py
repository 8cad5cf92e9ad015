"""Where the microseconds of one request go, in process, next to a server that does nothing.

    python -m benchmarks.stages [--model NAME] [--save FILE] [--against FILE]

CPU time, median of many alternated rounds. To see whether a change to the server helps: --save before,
--against after it. The only file here that imports the server.
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
from unpickled.server.lifecycle.repository import Repository
from unpickled.server.lifecycle.versions import Served
from unpickled.server.message.body import read
from unpickled.server.model.session import Model
from unpickled.server.model.signature import PACKING
from unpickled.server.observe.counters import Block, Memory
from unpickled.server.observe.inflight import InFlight
from unpickled.server.observe.tally import Tally
from unpickled.server.protocols.native import Native
from unpickled.server.protocols.rows import Reader
from unpickled.server.serve.fastpath import FastPath
from unpickled.server.serve.routes import Routes
from unpickled.server.serve.slots import Slots

Call = Callable[[Any], object]

MEANING = {
    "read": "the body, from the HTTP server",
    "decode": "JSON to numbers, validated",
    "array": "numbers to the graph's input",
    "run": "the graph",
    "encode": "labels and scores to JSON",
    "count": "metrics: status, times, rows, classes",
    "rest": "finding the model, headers, calls between",
}
# Few enough to stay in the processor's cache, as the numbers of a real request are.
ROWS = 100
ROUNDS = 1000


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)
    try:
        found = measure(Repository(Config(models=str(options.models))), options.model, options.rounds)
        before = _read(options.against) if options.against else None
        if options.save:
            options.save.write_text(json.dumps(found) + "\n", "utf-8")
    except (BenchmarkError, UnpickledError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(found) if options.json else table(found, before))
    return 0


def measure(repository: Repository, model: str | None = None, rounds: int = ROUNDS) -> dict[str, float]:
    """Microseconds of each stage of one single-row request, in the order in which they happen.

    The rows differ: on one row again and again, a processor guesses every branch of every tree.
    """
    calls = _calls(repository, repository.find(model))
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, (call, arguments) in calls.items():
            samples[name].append(_microseconds(call, arguments))
    took = {name: statistics.median(times) for name, times in samples.items()}
    # The borders of the phases are read off the clock wherever they lie: four times in all.
    count = took["count"] + 4 * took["clock"]
    inside = took["read"] + took["decode"] + took["answer"] + took["count"] + 2 * took["clock"]
    stages = {
        "read": took["read"],
        "decode": took["decode"],
        "array": took["array"],
        "run": took["row"] - took["array"],
        "encode": took["answer"] - took["row"] - 2 * took["clock"],
        "count": count,
        "rest": took["whole"] - inside,
    }
    return {name: round(time_us, 3) for name, time_us in stages.items()}


def table(found: Mapping[str, float], before: Mapping[str, float] | None) -> str:
    """The stages for people; with what they took before, where that is given."""
    lines = []
    for name, meaning in MEANING.items():
        lines.append(_line(name, found[name], before[name] if before else None, meaning))
    total = sum(before.values()) if before else None
    lines.append(_line("total", sum(found.values()), total, "one request, without HTTP"))
    return "\n".join(lines)


def _line(name: str, time_us: float, before: float | None, meaning: str) -> str:
    change = "" if before is None else f"  ({time_us - before:+.2f})"
    return f"{name:<8}{time_us:8.2f} us{change}  {meaning}"


def _calls(repository: Repository, served: Served) -> dict[str, tuple[Call, list[Any]]]:
    """What is timed, and on what: ``array`` is part of ``row``, that of ``answer``, all are of ``whole``."""
    model = served.model
    rows = _rows(model)
    bodies = [json.dumps({"features": row}).encode() for row in rows]
    limit = max(map(len, bodies))
    environs = [_environ(f"/models/{served.name}/predict", body) for body in bodies]
    predictor = Predictor(model, max_rows=1)
    reader = Reader(predictor)
    native = Native(predictor, reader)
    block = Memory(blocks=1).claim()
    application = FastPath(_no_application, Routes(repository, block, Slots(1), InFlight(block)))
    return {
        "read": (lambda environ: read(environ, limit), environs),
        "decode": (lambda body: reader.decode_row(body).features, bodies),
        "array": (_array(model), rows),
        "row": (_row(model), rows),
        "answer": (native.answer_row, rows),
        "clock": (lambda _: time.perf_counter(), rows),
        "count": (_count(served, block), _predictions(model)),
        "whole": (lambda environ: application(environ, _start_response), environs),
    }


def _rows(model: Model) -> list[tuple[Any, ...]]:
    """Made up of the golden rows' values, feature by feature; nothing is missing."""
    random = Random(0)
    golden = zip(*model.manifest.golden.rows, strict=True)
    columns = [[value for value in column if value is not None] or [0.0] for column in golden]
    return [tuple(random.choice(column) for column in columns) for _ in range(ROWS)]


def _environ(path: str, body: bytes) -> dict[str, Any]:
    """What granian makes of a request, as far as it is looked at."""
    return {
        "PATH_INFO": path,
        "REQUEST_METHOD": "POST",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": _Input(body),
    }


def _predictions(model: Model) -> list[Prediction]:
    """One row each."""
    labels = model.manifest.golden.labels
    return [Prediction(b"", 0.0, 0.0, (), (label,), ()) for label in labels]


def _count(served: Served, block: Block) -> Call:
    """One row is counted, as it was predicted."""
    answered = Tally(
        block, served.name, served.version, "/models/<name>/predict", served.model.outputs
    ).answered
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
    """A body that can be read again and again."""

    def __init__(self, body: bytes) -> None:
        self.read = lambda length: body


def _no_application(environ: Mapping[str, Any], start_response: object) -> list[bytes]:
    raise BenchmarkError(f"{environ['PATH_INFO']} is not answered by the fast path")


def _start_response(status: str, headers: list[tuple[str, str]]) -> None:
    if status != "200 OK":
        raise BenchmarkError(f"the request is answered {status}")


def _read(file: Path) -> dict[str, float]:
    try:
        found = json.loads(file.read_text("utf-8"))
        # Servers of before did not count.
        return {name: float(found.get(name, 0) if name == "count" else found[name]) for name in MEANING}
    except (ValueError, KeyError, TypeError):
        raise BenchmarkError(f"{file} holds no stages: write it with --save") from None


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stages", description=__doc__.split("\n")[0])
    parser.add_argument("--models", type=Path, default=Path("models"), help="default: models")
    parser.add_argument("--model", help="default: the only one")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"default: {ROUNDS}")
    parser.add_argument("--save", type=Path, metavar="FILE", help="keep the figures")
    parser.add_argument("--against", type=Path, metavar="FILE", help="show the difference to kept ones")
    parser.add_argument("--json", action="store_true", help="print JSON, microseconds")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
