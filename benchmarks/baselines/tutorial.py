"""The baseline: a fitted pipeline as most tutorials serve it.

PIPELINE=pipeline.pickle gunicorn --threads 4 --chdir benchmarks tutorial:app
"""

import os
import pickle

from flask import Flask, jsonify, request

app = Flask(__name__)

with open(os.environ["PIPELINE"], "rb") as file:
    pipeline = pickle.load(file)


@app.post("/predict")
def predict():
    rows = [request.get_json()["features"]]
    return jsonify(
        prediction=pipeline.predict(rows).tolist(),
        probabilities=pipeline.predict_proba(rows).tolist(),
    )
