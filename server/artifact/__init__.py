"""The model file: its manifest, and the checks of its bytes before ONNX Runtime loads them."""
