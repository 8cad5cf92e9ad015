"""What is measured without HTTP: the arithmetic alone, and the stages of one request."""

import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from benchmarks.errors import BenchmarkError
from benchmarks.measuring.pipelines import Fitted

# One call is repeated until it has taken this long (s), at least three times.
COMPUTE_S = 0.2


def stages(fitted: Fitted, core: int | None) -> dict[str, float]:
    """Microseconds of each stage of one request (stages.py), in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.stages", "--json", "--models", str(fitted.models)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core}),
    )
    if done.returncode:
        raise BenchmarkError(f"the stages could not be measured: {done.stderr.strip()[-300:]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def compute(fitted: Fitted, sizes: list[int]) -> dict[tuple[str, int], float]:
    """Microseconds of one call, here, on one thread: (onnxruntime or scikit-learn, rows) -> time."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime
    from threadpoolctl import threadpool_limits

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(fitted.onnx.read_bytes(), options, ["CPUExecutionProvider"])
    tensor = session.get_inputs()[0].name
    pipeline = pickle.loads(fitted.pickle.read_bytes())
    found = {}
    with threadpool_limits(1):
        for size in sizes:
            rows = np.array(fitted.rows[:size])
            found["onnxruntime", size] = _microseconds(partial(session.run, None, {tensor: rows}))
            found["scikit-learn", size] = _microseconds(partial(pipeline.predict_proba, rows))
    return found


def _microseconds(call: Callable[[], object]) -> float:
    """The median time of a call."""
    call()
    times: list[float] = []
    while len(times) < 3 or sum(times) < COMPUTE_S:
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return round(1e6 * float(np.median(times)), 2)
