"""The ONNX file that Unpickled serves, in plain Flask: it separates the gain of the graph from the server's.

MODEL=model.onnx gunicorn --threads 4 --chdir benchmarks/servers/baselines flask_onnx:app
"""

import os
from typing import Any

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


def classes(rows: Any) -> dict[str, Any]:
    labels, probabilities = session.run(None, {name: rows})
    return {"prediction": labels.tolist(), "probabilities": probabilities.tolist()}


def numbers(rows: Any) -> dict[str, Any]:
    [predictions] = session.run(None, {name: rows})
    return {"prediction": predictions[:, 0].tolist()}


# A regressor has no output beside its numbers.
answer = numbers if len(session.get_outputs()) == 1 else classes


@app.post("/predict")
def predict() -> ResponseReturnValue:
    return jsonify(answer(np.atleast_2d(np.asarray(request.get_json()["features"], dtype))))
