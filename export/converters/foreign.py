"""Estimators that skl2onnx converts, each alone and in float64: the only module that knows skl2onnx."""

import warnings
from typing import Any

import onnx
from sklearn.base import is_classifier
from sklearn.decomposition import PCA, IncrementalPCA, TruncatedSVD
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.naive_bayes import BernoulliNB, ComplementNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier

from unpickled.export.errors import NoGraph
from unpickled.export.graph import ML, OPSETS, Columns, Dtype, Graph, Tensor

# The graphs of exactly these types were compared with scikit-learn on far more rows than the gate tries.
CLASSIFIERS = (
    QuadraticDiscriminantAnalysis,
    KNeighborsClassifier,
    MultinomialNB,
    ComplementNB,
    BernoulliNB,
)
TRANSFORMERS = (PCA, IncrementalPCA, TruncatedSVD)
ROUNDING = TRANSFORMERS

_DTYPES: dict[int, Dtype] = {
    onnx.TensorProto.FLOAT: "float32",
    onnx.TensorProto.DOUBLE: "float64",
    onnx.TensorProto.INT64: "int64",
    onnx.TensorProto.STRING: "string",
}


def write(graph: Graph, step: Any, columns: Columns) -> list[Tensor]:
    """Add the nodes that skl2onnx writes for one estimator; returns its outputs."""
    text = {column.dtype == "string" for column in columns}
    if len(text) > 1:
        raise NoGraph("it gets text and numbers at once", "split them with a ColumnTransformer")
    dtype: Dtype = "string" if True in text else "float64"
    part = _converted(step, dtype, len(columns))
    return _inline(graph, part, graph.matrix(columns, dtype))


def _converted(step: Any, dtype: Dtype, width: int) -> onnx.ModelProto:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Imported here, as the import takes a second and most pipelines do not need it.
        from skl2onnx import to_onnx
        from skl2onnx.common.data_types import DoubleTensorType, StringTensorType

        kind = StringTensorType if dtype == "string" else DoubleTensorType
        options = {id(step): {"zipmap": False}} if is_classifier(step) else None
        types = [("X", kind([None, width]))]
        part: onnx.ModelProto = to_onnx(step, initial_types=types, target_opset=OPSETS, options=options)
    try:
        onnx.checker.check_model(part, full_check=True)
    except Exception as error:
        # For some estimators skl2onnx mixes float32 into a graph of float64.
        raise NoGraph("skl2onnx writes no valid graph for it") from error
    return part


def _inline(graph: Graph, part: onnx.ModelProto, x: str) -> list[Tensor]:
    """Add the nodes of another graph to this one; returns the outputs of the other graph."""
    foreign = {node.domain for node in part.graph.node} - {"", ML}
    if foreign or len(part.functions):
        raise NoGraph(f"skl2onnx wrote operators of the domain {', '.join(sorted(foreign)) or 'local'}")
    names = {part.graph.input[0].name: x, "": ""}
    for tensor in part.graph.initializer:
        names[tensor.name] = tensor.name = graph.fresh("constant")
        graph.adopt(tensor)
    for node in part.graph.node:
        for name in node.output:
            names[name] = graph.fresh(node.op_type.lower())
        inputs, outputs = [names[name] for name in node.input], [names[name] for name in node.output]
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        del copy.input[:], copy.output[:]
        copy.input.extend(inputs)
        copy.output.extend(outputs)
        copy.name = outputs[0]
        graph.nodes.append(copy)
    return [_output(value, names) for value in part.graph.output]


def _output(value: onnx.ValueInfoProto, names: dict[str, str]) -> Tensor:
    kind = value.type.tensor_type
    if kind.elem_type not in _DTYPES:
        raise NoGraph("skl2onnx gave it an output of a type this project does not know")
    dims = [dim.dim_value for dim in kind.shape.dim]
    return Tensor(names[value.name], _DTYPES[kind.elem_type], dims[1] if len(dims) > 1 else 0)
