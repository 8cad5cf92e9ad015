"""One graph in ONNX Runtime: loading it, checking its golden rows, running it."""

import os
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import Any

# ONNX Runtime reads this variable once, during its import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import numpy as np
import numpy.typing as npt
import onnxruntime

from unpickled.server.artifact import onnxfile
from unpickled.server.artifact.manifest import Manifest, read
from unpickled.server.config import Provider, Runtime
from unpickled.server.errors import ArtifactError, ProviderError, RequestError
from unpickled.server.model.cost import Measured, measured
from unpickled.server.model.feeds import PACKING, Feeds
from unpickled.server.model.kinds import outputs_of
from unpickled.server.model.placement import CPU, Placement, elsewhere, placed, refusal
from unpickled.server.model.row import RunRow, row_runner
from unpickled.server.model.runs import Runs
from unpickled.server.model.signature import Signature
from unpickled.server.quote import hint

# The library and its release.
LIBRARY = f"onnxruntime {onnxruntime.__version__}"

# The options with which each thread runs every session.
RUNS = Runs(onnxruntime.RunOptions)

_Arrays = Mapping[str, npt.NDArray[Any]]

# Optimizations that change digits: this one rounds a factor beside a product of matrices to float32.
_INEXACT = ["MatMulScaleFusion"]

_TENSOR_TYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(int64)": "int64",
    "tensor(string)": "string",
}


class Model:
    """A graph that has answered its golden rows as the pipeline did.

    ``run`` takes any number of rows. ``run_row`` takes one, without the fixed costs of ``run``; it is None
    for graphs that do not allow that. Any thread may call either.
    """

    def __init__(
        self, manifest: Manifest, session: onnxruntime.InferenceSession, placement: Placement
    ) -> None:
        self.manifest = manifest
        self.signature = Signature(manifest)
        self.outputs = outputs_of(manifest)
        self.outputs.check_graph(_dtypes(session.get_outputs()))
        self.placement = placement
        # Only the Python wrapper lets another provider take over when one fails during a run.
        self._run = (_bare(session) if placement.obtained == (CPU,) else session).run
        self._tensors = [tensor.name for tensor in self.outputs.tensors]
        self.run_row = self._row_runner(session)

    def run(self, feeds: Feeds) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
        """Labels (rows,), and scores (rows, classes) or (rows, targets).

        Raises InferenceFailed when the graph fails.
        """
        try:
            arrays = self._run(self._tensors, feeds, RUNS.options)
        except Exception as error:  # ONNX Runtime's own exceptions share no base
            RUNS.fail(error)
        return self.outputs.read(arrays, len(feeds[self.manifest.inputs[0].name]))

    @cached_property
    def cost(self) -> Measured:
        """The times that it takes, measured when first asked for."""
        return measured(self)

    def _row_runner(self, session: onnxruntime.InferenceSession) -> RunRow | None:
        """None unless the graph takes one tensor of numbers, answers with a fixed size, and is on the CPU."""
        tensor, make = self.manifest.inputs[0], self.outputs.buffers(_dtypes(session.get_outputs()))
        numeric = len(self.manifest.inputs) == 1 and tensor.dtype in PACKING
        if make is None or not numeric or self.placement.obtained != (CPU,):
            return None
        return row_runner(tensor, make, partial(_bind, session), _bare(session).run_with_iobinding, RUNS.fail)


def open_graph(data: bytes, runtime: Runtime | None = None) -> onnxruntime.InferenceSession:
    """A session for a graph that has no manifest yet, for the parity gate of an export.

    Raises ArtifactError when the file is unsafe, damaged or cannot be loaded.
    """
    onnxfile.contents(data)
    session, _ = _session(data, runtime or Runtime())
    return session


def load(data: bytes, runtime: Runtime | None = None) -> Model:
    """Load a model, and have it answer its golden rows.

    Args:
        data: The bytes of a model.onnx that an export has written.
        runtime: How ONNX Runtime is to run it; without it, on the CPU with one thread.

    Returns:
        The model, ready to run.

    Raises:
        ArtifactError: The file is unsafe or damaged, or it answers its golden rows otherwise than the
            pipeline did.
        ProviderError: A provider does not exist, or in strict mode the first one runs none of the nodes.

    Example:
        >>> from pathlib import Path
        >>> model = load(Path("models/iris/1/model.onnx").read_bytes())
        >>> labels, scores = model.run(model.signature.feeds([(5.1, 3.5, 1.4, 0.2)]))
        >>> labels.tolist(), scores.shape
        ([0], (1, 3))
    """
    runtime = runtime or Runtime()
    manifest = read(data)
    session, notes = _session(data, runtime)
    _check_tensors(manifest, session)
    placement = placed(session, runtime.provider, notes)
    if runtime.strict and (reason := refusal(placement)):
        raise ProviderError(reason)
    model = Model(manifest, session, placement)
    try:
        _check_golden(model)
    except ArtifactError as error:
        raise ArtifactError(f"{error}{elsewhere(placement)}") from error.__cause__
    return model


def _session(data: bytes, runtime: Runtime) -> tuple[onnxruntime.InferenceSession, list[str]]:
    available = onnxruntime.get_available_providers()
    notes = [_missing_note(provider.name) for provider in runtime.provider if provider.name not in available]
    chosen = [provider for provider in runtime.provider if provider.name in available]
    if all(provider.name != CPU for provider in chosen):
        chosen.append(Provider(name=CPU))
    providers = [(provider.name, dict(provider.options)) for provider in chosen]
    try:
        session = onnxruntime.InferenceSession(
            data, _session_options(runtime), providers=providers, disabled_optimizers=_INEXACT
        )
        return session, notes
    except Exception as error:  # as above
        raise ArtifactError(f"ONNX Runtime cannot load it: {error}") from error


def _session_options(runtime: Runtime) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = runtime.intra_op_threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = runtime.arena
    # Errors only: ONNX Runtime would warn of missing providers, which the placement already lists.
    options.log_severity_level = 3
    if runtime.intra_op_threads != 1:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Otherwise a file in ONNX Runtime's own format would be loaded without the checks of onnxfile.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    return options


def _missing_note(name: str) -> str:
    if name not in onnxruntime.get_all_providers():
        available = ", ".join(onnxruntime.get_available_providers())
        suggestion = hint(name, onnxruntime.get_all_providers())
        raise ProviderError(
            f"{name!r} is no execution provider: {suggestion}This onnxruntime has {available}."
        )
    remedy = {
        "CUDAExecutionProvider": "pip uninstall onnxruntime, then pip install onnxruntime-gpu",
        "TensorrtExecutionProvider": "pip uninstall onnxruntime, pip install onnxruntime-gpu and TensorRT",
        "DmlExecutionProvider": "pip uninstall onnxruntime, then pip install onnxruntime-directml",
        "OpenVINOExecutionProvider": "pip uninstall onnxruntime, then pip install onnxruntime-openvino",
    }.get(name, "install an onnxruntime build that has it")
    return f"{name} was not obtained: the installed onnxruntime is built without it ({remedy})."


def _check_tensors(manifest: Manifest, session: onnxruntime.InferenceSession) -> None:
    inputs = _dtypes(session.get_inputs())
    described = {tensor.name: tensor.dtype for tensor in manifest.inputs}
    if inputs != described:
        raise ArtifactError(f"its graph takes {inputs}, its manifest says {described}")


def _dtypes(tensors: Sequence[Any]) -> dict[str, str]:
    """The dtype of each of a session's inputs or outputs."""
    return {tensor.name: _TENSOR_TYPES.get(tensor.type, tensor.type) for tensor in tensors}


def _check_golden(model: Model) -> None:
    """ArtifactError unless each golden row is answered as the pipeline answered it."""
    golden = model.manifest.golden
    try:
        rows = [model.signature.check_row(list(row), index) for index, row in enumerate(golden.rows)]
        labels, scores = model.run(model.signature.feeds(rows))
    except RequestError as error:
        raise ArtifactError(f"it fails on its golden rows: {error.__cause__ or error}") from error
    model.outputs.check_golden(labels.tolist(), scores.tolist())
    if model.run_row is not None:
        single = [model.run_row(row) for row in rows]  # type: ignore[arg-type]
        model.outputs.check_golden([label for label, _ in single], [row for _, row in single])


def _bare(session: onnxruntime.InferenceSession) -> Any:
    """The C++ session inside the Python wrapper, which costs 0.8 to 3 us a run; else the wrapper itself."""
    return getattr(session, "_sess", session)


def _bind(session: onnxruntime.InferenceSession, inputs: _Arrays, outputs: _Arrays) -> tuple[Any, ...]:
    """The arguments of a run that reads and writes these arrays, for the present thread."""
    binding = session.io_binding()
    for name, array in inputs.items():
        binding.bind_input(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
    for name, array in outputs.items():
        binding.bind_output(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
    if not hasattr(session, "_sess"):
        # Passing run options through the wrapper would cost 25 us.
        return (binding,)
    return (binding._iobinding, RUNS.options)
