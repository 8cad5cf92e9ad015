"""Graphs in ONNX Runtime itself, without the server's loader."""

import onnx
import onnxruntime


def opened(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """A session with one thread, as a server's is: for a few rows several would only wait for each other."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
