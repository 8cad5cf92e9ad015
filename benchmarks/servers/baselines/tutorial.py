"""The baseline: a fitted pipeline as most tutorials serve it.

PIPELINE=pipeline.pickle gunicorn --threads 4 --chdir benchmarks/servers/baselines tutorial:app
"""

import os
import pickle

import numpy as np
from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue

app = Flask(__name__)

with open(os.environ["PIPELINE"], "rb") as file:
    pipeline = pickle.load(file)


@app.post("/predict")
def predict() -> ResponseReturnValue:
    rows = np.atleast_2d(request.get_json()["features"])
    probabilities = pipeline.predict_proba(rows)
    labels = pipeline.classes_[probabilities.argmax(axis=1)]
    return jsonify(prediction=labels.tolist(), probabilities=probabilities.tolist())
