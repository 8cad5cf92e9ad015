"""The baseline: a fitted pipeline as most tutorials serve it.

PIPELINE=pipeline.pickle gunicorn --threads 4 --chdir benchmarks/servers/baselines tutorial:app
"""

import os
import pickle
from typing import Any

import numpy as np
from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue
from sklearn.base import is_regressor

app = Flask(__name__)

with open(os.environ["PIPELINE"], "rb") as file:
    pipeline = pickle.load(file)


def classes(rows: Any) -> dict[str, Any]:
    probabilities = pipeline.predict_proba(rows)
    labels = pipeline.classes_[probabilities.argmax(axis=1)]
    return {"prediction": labels.tolist(), "probabilities": probabilities.tolist()}


def numbers(rows: Any) -> dict[str, Any]:
    return {"prediction": pipeline.predict(rows).tolist()}


answer = numbers if is_regressor(pipeline) else classes


@app.post("/predict")
def predict() -> ResponseReturnValue:
    return jsonify(answer(np.atleast_2d(request.get_json()["features"])))
