"""The ONNX file that Unpickled serves, in plain Flask: it separates the gain of the graph from the server's.

MODEL=model.onnx gunicorn --threads 4 --chdir benchmarks/servers/baselines flask_onnx:app
"""

import os

import numpy as np
import onnxruntime
from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue

app = Flask(__name__)

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])
name = session.get_inputs()[0].name
dtype = {"tensor(double)": np.float64, "tensor(float)": np.float32}[session.get_inputs()[0].type]


@app.post("/predict")
def predict() -> ResponseReturnValue:
    rows = np.atleast_2d(np.asarray(request.get_json()["features"], dtype))
    labels, probabilities = session.run(None, {name: rows})
    return jsonify(prediction=labels.tolist(), probabilities=probabilities.tolist())
