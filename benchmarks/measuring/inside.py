"""Measurements without HTTP: the arithmetic alone, and the stages of one request."""

import itertools
import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

from benchmarks.errors import BenchmarkError, last_line
from benchmarks.measuring.pipelines import ROOT, Fitted, Floats

# One call is repeated until it has taken this long (s), at least three times.
COMPUTE_S = 0.2


def stages(fitted: Fitted, core: int | None) -> dict[str, float]:
    """Microseconds of each stage of one request (stages.py), in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.stages", "--json", "--models", str(fitted.models)]
    process = subprocess.run(
        command,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        cwd=ROOT,
        timeout=300,
        preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core}),
    )
    if process.returncode:
        raise BenchmarkError(f"the stages could not be measured: {last_line(process.stderr)}")
    times: dict[str, float] = json.loads(process.stdout)
    return times


def compute(fitted: Fitted, sizes: list[int]) -> dict[tuple[str, int], float]:
    """Microseconds of one call on one thread of this process: (onnxruntime or scikit-learn, rows) -> time."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime
    from threadpoolctl import threadpool_limits

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(fitted.onnx.read_bytes(), options, ["CPUExecutionProvider"])
    tensor = session.get_inputs()[0].name
    pipeline = pickle.loads(fitted.pickle.read_bytes())
    answer = pipeline.predict_proba if fitted.classes else pipeline.predict
    rows = np.array(fitted.rows)

    def run(batch: Floats) -> object:
        return session.run(None, {tensor: batch})

    times = {}
    with threadpool_limits(1):
        for size in sizes:
            batches = [rows[start : start + size] for start in range(0, len(rows) - size + 1, size)]
            times["onnxruntime", size] = _microseconds(run, batches)
            times["scikit-learn", size] = _microseconds(answer, batches)
    return times


def _microseconds(call: Callable[[Floats], object], batches: list[Floats]) -> float:
    """The median time of a call; the rows differ, for a processor learns the branches of equal rows."""
    call(batches[0])
    times: list[float] = []
    for batch in itertools.cycle(batches):
        started = time.perf_counter()
        call(batch)
        times.append(time.perf_counter() - started)
        if len(times) >= 3 and sum(times) >= COMPUTE_S:
            break
    return round(1e6 * float(np.median(times)), 2)
