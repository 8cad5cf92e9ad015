"""Sessions of ONNX Runtime, as the server and the gate open them."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from unpickled.server.model.session import open_graph


def test_a_factor_beside_a_product_keeps_its_digits():
    """ONNX Runtime would move it into the product and round it to float32."""
    random = np.random.default_rng(0)
    x, weights = random.normal(size=(5, 3)), random.normal(size=(3, 2))
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "c"], ["y"]), helper.make_node("MatMul", ["y", "w"], ["z"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.DOUBLE, ["rows", 3])],
        [helper.make_tensor_value_info("z", TensorProto.DOUBLE, ["rows", 2])],
        [numpy_helper.from_array(np.array(0.1), "c"), numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    [products] = open_graph(model.SerializeToString()).run(None, {"x": x})
    np.testing.assert_allclose(products, (x * 0.1) @ weights, rtol=1e-14)
