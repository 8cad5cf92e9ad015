"""The ONNX graph while it is written: its nodes, its constants, and the columns of its tensors."""

from collections.abc import Iterable, MutableSequence, Sequence, Set
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Dtype = Literal["float32", "float64", "int64", "string"]
Array = npt.NDArray[Any]

OPSETS = {"": 21, "ai.onnx.ml": 3}
ML = "ai.onnx.ml"
# The versions of a graph with a TreeEnsemble. There is no TreeEnsembleClassifier in them.
TREE_OPSETS = {**OPSETS, ML: 5}

# Operators with which a scaler changes each column independently of the others.
_SHIFTS = ("Add", "Sub", "Mul", "Div")

_ELEMENT = {
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    "int64": TensorProto.INT64,
    "string": TensorProto.STRING,
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """A (rows, width) tensor of the graph."""

    name: str
    dtype: Dtype
    width: int

    def columns(self) -> "Columns":
        """All of its columns, in order."""
        return tuple(Column(self, index) for index in range(self.width))


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a tensor. Selecting, dropping and joining columns adds no node to the graph.

    ``feature`` is the name of the feature whose numbers it holds unchanged, but for missing ones; None if
    they were computed.
    """

    tensor: Tensor
    index: int
    feature: str | None = None

    @property
    def dtype(self) -> Dtype:
        return self.tensor.dtype


Columns = tuple[Column, ...]
# The columns of a table: None for a column that nothing reads, which is no input of the graph.
OptionalColumns = tuple[Column | None, ...]


def present(columns: OptionalColumns) -> Columns:
    """The columns, none of which may be None."""
    inputs = tuple(column for column in columns if column is not None)
    assert len(inputs) == len(columns)
    return inputs


@dataclass(frozen=True, slots=True)
class ClassifierOutput:
    """Names of the tensors with a classifier's answers.

    ``winner`` is the index of the predicted class, int64 (rows,); ``label`` takes its place if the graph
    has labels only. ``probabilities`` and ``decision`` are (rows, classes), None if the classifier has
    none. With two classes, ``decision`` is [-score, score] if there are no probabilities; otherwise only
    its column 1 has a meaning. ``ranking`` (rows, classes) is what decides the label of a classifier that
    has neither: the share of the votes, or minus the distance. No other classifier computes with it.
    """

    classes: int
    winner: str | None = None
    label: str | None = None
    probabilities: str | None = None
    decision: str | None = None
    ranking: str | None = None
    dtype: Dtype = "float64"


@dataclass(frozen=True, slots=True)
class RegressorOutput:
    """The predictions of a regressor: a float64 tensor (rows, targets).

    ``single`` says that the library predicts float32 numbers, so that others compute with them in float32.
    """

    prediction: str
    targets: int = 1
    single: bool = False


@dataclass(frozen=True, slots=True)
class Output:
    """An output of the finished graph: ``tensor`` under ``name``; (rows,) if ``width`` is None."""

    name: str
    tensor: str
    dtype: Dtype
    width: int | None = None

    @property
    def shape(self) -> list[str | int]:
        return ["rows"] if self.width is None else ["rows", self.width]


class Graph:
    """Nodes in the order in which they were added; equal nodes on equal inputs are added once.

    A ``standard`` graph gets operators of ``ai.onnx`` alone, which any execution provider may run. Others
    have those of ``ai.onnx.ml`` too, which are faster on a CPU and have no kernels anywhere else.
    """

    def __init__(self, standard: bool = False) -> None:
        self.standard = standard
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: list[Tensor] = []
        # Feature -> the numbers that every encoder knows which reads it and refuses others.
        self.known: dict[str, frozenset[float]] = {}
        # Feature that the pipeline gets as pandas' categories -> these categories.
        self.native: dict[str, tuple[Any, ...]] = {}
        # The ids of estimators that get a sparse matrix, and take what it leaves out for missing.
        self.sparse: set[int] = set()
        # The texts of each feature in the rows given, and those that steps fill in.
        self.texts: dict[str, set[str]] = {}
        self.filled: set[str] = set()
        self._constants: dict[tuple[object, ...], onnx.TensorProto] = {}
        # Serialized node without outputs -> the names of its outputs.
        self._outputs: dict[bytes, tuple[str, ...]] = {}
        self._count = 0

    def input(self, name: str, dtype: Dtype, width: int) -> Tensor:
        """Declare a graph input of shape (rows, width)."""
        tensor = Tensor(name, dtype, width)
        self.inputs.append(tensor)
        return tensor

    def know(self, feature: str, numbers: Iterable[float]) -> None:
        """Note that an encoder refuses all numbers of a feature but these."""
        known = frozenset(numbers)
        self.known[feature] = self.known.get(feature, known) & known

    def fresh(self, stem: str) -> str:
        """A new name, which no tensor or node of the graph has."""
        self._count += 1
        return f"{stem}_{self._count}"

    def constant(self, value: npt.ArrayLike) -> str:
        """The name of an initializer with this value, one for all equal values; text is a string tensor."""
        array = np.asarray(value)
        if array.dtype.kind in "OU":
            array = array.astype(object)
            self.filled.update(array.ravel().tolist())
            key: tuple[object, ...] = ("string", array.shape, tuple(array.ravel().tolist()))
        else:
            array = np.ascontiguousarray(array).reshape(array.shape)
            key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = numpy_helper.from_array(array, self.fresh("constant"))
        return self._constants[key].name

    def adopt(self, tensor: onnx.TensorProto) -> None:
        """Add an initializer unchanged."""
        self._constants[("adopted", tensor.name)] = tensor

    def add(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output; returns the output's name."""
        return self.add_many(op, inputs, 1, domain, **attributes)[0]

    def add_many(
        self, op: str, inputs: Sequence[str], outputs: int, domain: str = "", **attributes: Any
    ) -> tuple[str, ...]:
        """Add a node; returns its outputs' names."""
        node = helper.make_node(op, list(inputs), [], domain=domain)
        node.attribute.extend(_attribute(key, value) for key, value in sorted(attributes.items()))
        key = node.SerializeToString(deterministic=True)
        if key not in self._outputs:
            names = tuple(self.fresh(op.lower()) for _ in range(outputs))
            node.output.extend(names)
            node.name = names[0]
            self.nodes.append(node)
            self._outputs[key] = names
        return self._outputs[key]

    def has(self, op: str) -> bool:
        """Whether a node of this operator has been added."""
        return any(node.op_type == op for node in self.nodes)

    def cast(self, name: str, dtype: Dtype) -> str:
        """Add a Cast node; returns the name of its output."""
        return self.add("Cast", name, to=_ELEMENT[dtype])

    def matrix(self, columns: Columns, dtype: Dtype = "float64") -> str:
        """The name of a tensor (rows, len(columns)) of exactly these columns, in this dtype."""
        pieces = []
        for tensor, run in groupby(columns, key=lambda column: column.tensor):
            piece = self._pick(tensor, [column.index for column in run])
            pieces.append(piece if tensor.dtype == dtype else self.cast(piece, dtype))
        return pieces[0] if len(pieces) == 1 else self.add("Concat", *pieces, axis=1)

    def _pick(self, tensor: Tensor, indices: list[int]) -> str:
        if indices == list(range(tensor.width)):
            return tensor.name
        first, count = indices[0], len(indices)
        if indices == list(range(first, first + count)):
            bounds = ([first], [first + count], [1])
            return self.add("Slice", tensor.name, *(self.constant(np.array(b, np.int64)) for b in bounds))
        return self.add("Gather", tensor.name, self.constant(np.array(indices, np.int64)), axis=1)

    def shifted(self, name: str, width: int) -> tuple[str, list[tuple[str, Array]]]:
        """The tensor that ``name`` is a shifted and scaled copy of, and the steps from it to ``name``.

        A step is (Add, Sub, Mul or Div, float64 constant of shape (width,)). Each keeps the order of the
        numbers in a column: it multiplies and divides by positive constants only.
        """
        producers = {
            node.output[0]: node for node in self.nodes if len(node.input) == 2 and node.op_type in _SHIFTS
        }
        constants = {tensor.name: tensor for tensor in self._constants.values()}
        steps: list[tuple[str, Array]] = []
        while name in producers and producers[name].input[1] in constants:
            node = producers[name]
            constant = numpy_helper.to_array(constants[node.input[1]])
            fits = constant.dtype == np.float64 and constant.shape in ((), (width,))
            if not fits or not _keeps_order(node.op_type, constant):
                break
            steps.append((node.op_type, np.broadcast_to(constant, (width,))))
            name = node.input[0]
        return name, steps[::-1]

    def model(self, outputs: Sequence[Output]) -> onnx.ModelProto:
        """The finished model with these outputs, and no unused node."""
        for output in outputs:
            self._name_output(output.tensor, output.name, {other.name for other in outputs})
        self._drop_unused({output.name for output in outputs})
        return self._model([_value(output.name, output.dtype, output.shape) for output in outputs])

    def traced(self, tensors: Sequence[Tensor]) -> onnx.ModelProto:
        """A model whose outputs are these tensors, called ``step_0`` and so on."""
        names = [f"step_{position}" for position in range(len(tensors))]
        for name, tensor in zip(names, tensors, strict=True):
            self.nodes.append(helper.make_node("Identity", [tensor.name], [name], name=name))
        return self._model(
            [_value(n, t.dtype, ["rows", t.width]) for n, t in zip(names, tensors, strict=True)]
        )

    def _model(self, outputs: Sequence[onnx.ValueInfoProto]) -> onnx.ModelProto:
        inputs = {name for node in self.nodes for name in node.input}
        graph = helper.make_graph(
            self.nodes,
            "pipeline",
            [_value(t.name, t.dtype, ["rows", t.width]) for t in self.inputs],
            list(outputs),
            initializer=[tensor for tensor in self._constants.values() if tensor.name in inputs],
        )
        versions = TREE_OPSETS if self.has("TreeEnsemble") else OPSETS
        opsets = [helper.make_opsetid(domain, version) for domain, version in versions.items()]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10, producer_name="unpickled")
        onnx.checker.check_model(model, full_check=False)
        return model

    def _name_output(self, old: str, new: str, taken: Set[str]) -> None:
        outputs = {name for node in self.nodes for name in node.output}
        if old not in outputs or old in taken:
            self.nodes.append(helper.make_node("Identity", [old], [new], name=new))
            return
        for node in self.nodes:
            _rename(node.input, old, new)
            _rename(node.output, old, new)

    def _drop_unused(self, outputs: Iterable[str]) -> None:
        needed, nodes = set(outputs), []
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                needed.update(node.input)
                nodes.append(node)
        self.nodes = nodes[::-1]


def _attribute(name: str, value: Any) -> onnx.AttributeProto:
    """An attribute; an array of integers or bytes becomes its list without a look at every element."""
    if not isinstance(value, np.ndarray):
        return helper.make_attribute(name, value)
    attribute = onnx.AttributeProto(name=name)
    if value.dtype.kind == "S":
        attribute.type = onnx.AttributeProto.STRINGS
        attribute.strings.extend(value.tolist())
    else:
        attribute.type = onnx.AttributeProto.INTS
        attribute.ints.extend(value.tolist())
    return attribute


def _keeps_order(op: str, constant: Array) -> bool:
    return bool(np.isfinite(constant).all() and (op in ("Add", "Sub") or (constant > 0).all()))


def _rename(names: MutableSequence[str], old: str, new: str) -> None:
    for index, name in enumerate(names):
        if name == old:
            names[index] = new


def _value(name: str, dtype: Dtype, shape: list[str | int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, _ELEMENT[dtype], shape)
