"""One graph in ONNX Runtime: loaded, placed on providers, checked against its golden rows, run."""

import os
import struct
import threading
from collections.abc import Callable, Sequence
from typing import Any

# ONNX Runtime reads this once, while it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import msgspec
import numpy as np
import numpy.typing as npt
import onnxruntime

from unpickled.server.artifact import manifest as artifact
from unpickled.server.artifact import onnxfile
from unpickled.server.artifact.manifest import Manifest
from unpickled.server.config import Config, Provider
from unpickled.server.errors import ArtifactError, InferenceFailed, ProviderError, RequestError
from unpickled.server.model.signature import DTYPES, PACKING, Feeds, Signature

CPU = "CPUExecutionProvider"
_TENSOR_TYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(int64)": "int64",
    "tensor(string)": "string",
}

# Nodes of a provider that are named one by one.
LISTED = 50

# One row of numbers in feature order -> its label and its scores.
RunRow = Callable[[Sequence[float | None]], tuple[int, tuple[float, ...]]]


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """Where a graph runs. ``nodes`` counts its nodes per provider; ``notes`` say what was not obtained.

    ``graph`` lists them as ONNX Runtime has made them of the file's, "Gemm gemm_7", the first LISTED.
    """

    requested: tuple[str, ...]
    obtained: tuple[str, ...]
    nodes: dict[str, int]
    graph: dict[str, tuple[str, ...]]
    notes: tuple[str, ...]


class Model:
    """A graph that has answered its golden rows as the pipeline did.

    ``run`` takes any number of rows; ``run_row`` is the same for one, without its fixed costs,
    where the graph allows it, and else None. Both may be called from any thread.
    """

    def __init__(
        self, manifest: Manifest, session: onnxruntime.InferenceSession, placement: Placement
    ) -> None:
        self.manifest = manifest
        self.signature = Signature(manifest)
        self.placement = placement
        # The wrapper has another provider take over where one fails in the middle.
        self._run = (_bare(session) if placement.obtained == (CPU,) else session).run
        self._outputs = [manifest.outputs.label, manifest.outputs.scores]
        self.run_row = _row_runner(manifest, session, placement)

    def run(self, feeds: Feeds) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
        """Labels (rows,) and scores (rows, classes); InferenceFailed when the graph fails."""
        try:
            labels, scores = self._run(self._outputs, feeds, None)
        except Exception as error:  # ONNX Runtime's own exceptions share no base
            raise InferenceFailed("the model failed on this request") from error
        rows = len(feeds[self.manifest.inputs[0].name])
        if labels.shape != (rows,) or scores.shape != (rows, len(self.manifest.classes)):
            shapes = f"{labels.shape} and {scores.shape}"
            raise InferenceFailed(f"the model answered {rows} rows with labels and scores of shape {shapes}")
        # Widened, so that every form of answer writes the same digits.
        return labels, scores.astype(np.float64, copy=False)


def open_graph(data: bytes, config: Config | None = None) -> onnxruntime.InferenceSession:
    """A session of a graph that has no manifest yet, for the parity gate of an export.

    Raises ArtifactError when the file is unsafe, damaged or cannot be loaded.
    """
    onnxfile.metadata(data)
    session, _ = _session(data, config or Config())
    return session


def load(data: bytes, config: Config | None = None) -> Model:
    """The model in the bytes of a file.

    Raises ArtifactError when the file is unsafe, damaged or answers its golden rows wrongly,
    ProviderError in strict mode when the first provider was not obtained.
    """
    config = config or Config()
    manifest = artifact.read(data)
    session, notes = _session(data, config)
    _check_tensors(manifest, session)
    placement = _placement(session, config.provider, notes)
    if config.strict and placement.requested[0] not in placement.obtained:
        raise ProviderError(" ".join(placement.notes) or f"{placement.requested[0]} was not obtained")
    model = Model(manifest, session, placement)
    _check_golden(model)
    return model


def _session(data: bytes, config: Config) -> tuple[onnxruntime.InferenceSession, list[str]]:
    available = onnxruntime.get_available_providers()
    notes = [_missing_note(provider.name) for provider in config.provider if provider.name not in available]
    wanted = [provider for provider in config.provider if provider.name in available]
    if all(provider.name != CPU for provider in wanted):
        wanted.append(Provider(name=CPU))
    providers = [(provider.name, dict(provider.options)) for provider in wanted]
    try:
        return onnxruntime.InferenceSession(data, _session_options(config), providers=providers), notes
    except Exception as error:  # as above
        raise ArtifactError(f"ONNX Runtime cannot load it: {error}") from error


def _session_options(config: Config) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = config.intra_op_threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = config.arena
    # What ONNX Runtime would warn of here (providers not obtained) is in the placement.
    options.log_severity_level = 3
    if config.intra_op_threads != 1:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Else what looks like ORT's own format is read as that, unseen by onnxfile.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    return options


def _missing_note(name: str) -> str:
    if name not in onnxruntime.get_all_providers():
        known = ", ".join(onnxruntime.get_available_providers())
        raise ProviderError(f"{name} is no execution provider; this onnxruntime has {known}.")
    remedy = {
        "CUDAExecutionProvider": "pip uninstall onnxruntime, then pip install onnxruntime-gpu",
        "TensorrtExecutionProvider": "pip uninstall onnxruntime, pip install onnxruntime-gpu and TensorRT",
        "DmlExecutionProvider": "pip uninstall onnxruntime, then pip install onnxruntime-directml",
        "OpenVINOExecutionProvider": "pip uninstall onnxruntime, then pip install onnxruntime-openvino",
    }.get(name, "install an onnxruntime build that has it")
    return f"{name} was not obtained: the installed onnxruntime is built without it ({remedy})."


def _placement(
    session: onnxruntime.InferenceSession, providers: Sequence[Provider], notes: Sequence[str]
) -> Placement:
    obtained = session.get_providers()
    graph: dict[str, list[str]] = {name: [] for name in obtained}
    for part in session.get_provider_graph_assignment_info():
        graph.setdefault(part.ep_name, []).extend(map(_node, part.get_nodes()))
    nodes = {name: len(named) for name, named in graph.items()}
    return Placement(
        requested=tuple(provider.name for provider in providers),
        obtained=tuple(obtained),
        nodes=nodes,
        graph={name: tuple(named[:LISTED]) for name, named in graph.items()},
        notes=(*notes, *_placement_notes(providers, obtained, nodes, notes)),
    )


def _node(node: Any) -> str:
    try:
        return f"{node.op_type} {node.name}".rstrip()
    except UnicodeDecodeError:
        raise ArtifactError("a node of its graph has a name that is not UTF-8") from None


def _placement_notes(
    providers: Sequence[Provider], obtained: Sequence[str], nodes: dict[str, int], notes: Sequence[str]
) -> list[str]:
    found = []
    for name in (provider.name for provider in providers):
        if name in obtained and nodes[name] == 0 and name != CPU:
            found.append(
                f"{name} was obtained but runs none of the graph's nodes: the operators of classic models "
                "(ai.onnx.ml) run on the CPU."
            )
        elif name not in obtained and not any(note.startswith(name) for note in notes):
            found.append(
                f"{name} was not obtained although this onnxruntime has it: its libraries or its device are "
                "missing (for CUDA: a driver, CUDA and cuDNN that fit this onnxruntime-gpu)."
            )
    return found


def _check_tensors(manifest: Manifest, session: onnxruntime.InferenceSession) -> None:
    taken = {tensor.name: _TENSOR_TYPES.get(tensor.type, tensor.type) for tensor in session.get_inputs()}
    told = {tensor.name: tensor.dtype for tensor in manifest.inputs}
    if taken != told:
        raise ArtifactError(f"its graph takes {taken}, its manifest says {told}")
    made = {tensor.name: _TENSOR_TYPES.get(tensor.type, tensor.type) for tensor in session.get_outputs()}
    labels = "string" if isinstance(manifest.classes[0], str) else "int64"
    if made.get(manifest.outputs.label) != labels or made.get(manifest.outputs.scores) not in PACKING:
        raise ArtifactError(f"its graph makes {made}, its manifest says otherwise")


def _check_golden(model: Model) -> None:
    """ArtifactError unless each golden row is answered as the pipeline answered it."""
    golden = model.manifest.golden
    try:
        rows = [model.signature.check_row(list(row), index) for index, row in enumerate(golden.rows)]
        labels, scores = model.run(model.signature.feeds(rows))
    except RequestError as error:
        raise ArtifactError(f"it fails on its golden rows: {error.__cause__ or error}") from error
    for index, label in enumerate(labels.tolist()):
        expected = golden.labels[index], golden.scores[index]
        _compare(model, index, (label, scores[index]), expected)
        if model.run_row is not None:
            _compare(model, index, model.run_row(golden.rows[index]), expected)  # type: ignore[arg-type]


def _compare(model: Model, index: int, answer: tuple[Any, Any], expected: tuple[Any, Any]) -> None:
    tolerance = model.manifest.parity.tolerance
    close = np.allclose(answer[1], expected[1], rtol=tolerance, atol=tolerance)
    if answer[0] != expected[0] or not close:
        raise ArtifactError(
            f"it answers golden row {index} with {answer[0]!r} {list(answer[1])}, the pipeline answered "
            f"{expected[0]!r} {list(expected[1])}: the file or this onnxruntime computes something else"
        )


def _row_runner(
    manifest: Manifest, session: onnxruntime.InferenceSession, placement: Placement
) -> RunRow | None:
    """One row through buffers that are bound once per thread: 2 us less than ``run``.

    None where the graph does not have one numeric tensor in and integer labels out, or does not
    run on the CPU alone.
    """
    types = {
        tensor.name: _TENSOR_TYPES.get(tensor.type)
        for tensor in (*session.get_inputs(), *session.get_outputs())
    }
    tensor, outputs = manifest.inputs[0], manifest.outputs
    fits = (
        len(manifest.inputs) == 1
        and tensor.dtype in PACKING
        and types[outputs.label] == "int64"
        and types[outputs.scores] in PACKING
        and placement.obtained == (CPU,)
    )
    if not fits:
        return None
    local = _Buffers(manifest, session, str(types[outputs.scores]))
    pack = struct.Struct(f"{len(tensor.features)}{PACKING[tensor.dtype]}").pack_into
    unpack = struct.Struct(f"{len(manifest.classes)}{PACKING[str(types[outputs.scores])]}").unpack_from
    run = _bound_run(session)

    def run_row(values: Sequence[float | None]) -> tuple[int, tuple[float, ...]]:
        memory, label, scores, binding = local.bound
        try:
            pack(memory, 0, *values)
        except struct.error:  # a missing value; looking for one first would cost every row 0.4 us
            pack(memory, 0, *[np.nan if value is None else value for value in values])
        try:
            run(*binding)
        except Exception as error:  # as in run
            raise InferenceFailed("the model failed on this request") from error
        return label.item(), unpack(scores)

    return run_row


class _Buffers(threading.local):
    """Each thread's own tensors of one row, bound to the session once."""

    def __init__(self, manifest: Manifest, session: onnxruntime.InferenceSession, scores_dtype: str) -> None:
        tensor, outputs = manifest.inputs[0], manifest.outputs
        features = np.zeros((1, len(tensor.features)), DTYPES[tensor.dtype])
        label = np.zeros(1, np.int64)
        scores = np.zeros((1, len(manifest.classes)), DTYPES[scores_dtype])
        binding = session.io_binding()
        binding.bind_input(tensor.name, "cpu", 0, features.dtype, features.shape, features.ctypes.data)
        for name, array in ((outputs.label, label), (outputs.scores, scores)):
            binding.bind_output(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        self.bound = (features.data, label, scores.data, _run_arguments(session, binding))


def _bound_run(session: onnxruntime.InferenceSession) -> Callable[..., None]:
    return _bare(session).run_with_iobinding  # type: ignore[no-any-return]


def _bare(session: onnxruntime.InferenceSession) -> Any:
    """The C++ session itself where it is found, as its Python wrapper costs 0.8 to 3 us a run."""
    return getattr(session, "_sess", session)


def _run_arguments(session: onnxruntime.InferenceSession, binding: onnxruntime.IOBinding) -> tuple[Any, ...]:
    """Its arguments. Run options given once save 0.5 us; the wrapper loses 25 us to them instead."""
    if not hasattr(session, "_sess"):
        return (binding,)
    return (binding._iobinding, onnxruntime.RunOptions())
