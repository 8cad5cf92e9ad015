"""Which nodes of a graph have a kernel in ONNX Runtime's CUDA provider.

``cuda_kernels.json`` has the types that its kernels take. They were read from the provider itself.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import onnx
from onnx import TensorProto, defs, shape_inference

_KERNELS = json.loads((Path(__file__).parent / "cuda_kernels.json").read_text("utf-8"))["kernels"]
# As kernels name the types of tensors.
_TYPES = {
    TensorProto.BOOL: "bool",
    TensorProto.DOUBLE: "double",
    TensorProto.FLOAT: "float",
    TensorProto.INT32: "int32",
    TensorProto.INT64: "int64",
    TensorProto.STRING: "string",
}


def left(model: onnx.ModelProto) -> list[str]:
    """The operators of the nodes that have no kernel for the types which they have here, one per node."""
    types = dict(_types(shape_inference.infer_shapes(model, strict_mode=True).graph))
    versions = {entry.domain: entry.version for entry in model.opset_import}
    return [node.op_type for node in model.graph.node if not _has_kernel(node, types, versions[node.domain])]


def _types(graph: onnx.GraphProto) -> Iterator[tuple[str, str]]:
    """The name and the type of each tensor."""
    for value in (*graph.input, *graph.value_info, *graph.output):
        yield value.name, _TYPES[value.type.tensor_type.elem_type]
    for tensor in graph.initializer:
        yield tensor.name, _TYPES[tensor.data_type]


def _has_kernel(node: onnx.NodeProto, types: Mapping[str, str], version: int) -> bool:
    kernel = _KERNELS.get(f"{node.domain}:{node.op_type}" if node.domain else node.op_type)
    return kernel is not None and all(
        parameter not in kernel or tensor in kernel[parameter].split()
        for parameter, tensor in _bound(node, types, version)
    )


def _bound(node: onnx.NodeProto, types: Mapping[str, str], version: int) -> Iterator[tuple[str, str]]:
    """The type parameters of a node's operator, each with the type of a tensor there."""
    schema = defs.get_schema(node.op_type, version, node.domain)
    for names, parameters in ((node.input, schema.inputs), (node.output, schema.outputs)):
        # The last parameter may stand for any number of tensors.
        repeated = [*parameters, *parameters[-1:] * len(names)]
        yield from (
            (parameter.type_str, types[name])
            for name, parameter in zip(names, repeated, strict=False)
            if name
        )
