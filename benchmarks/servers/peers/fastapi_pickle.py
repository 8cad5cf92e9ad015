"""FastAPI and the pickled pipeline.

PIPELINE=pipeline.pickle uvicorn --no-access-log --app-dir benchmarks/servers/peers fastapi_pickle:app
"""

import os
import pickle

import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel

with open(os.environ["PIPELINE"], "rb") as file:
    pipeline = pickle.load(file)

app = FastAPI()


class Rows(BaseModel):
    features: list[float] | list[list[float]]


class Predictions(BaseModel):
    prediction: list[int]
    probabilities: list[list[float]]


# FastAPI advises "async def" for functions that only compute: "def" costs a change of thread per request.
@app.post("/predict")
async def predict(rows: Rows) -> Predictions:
    probabilities = pipeline.predict_proba(np.atleast_2d(rows.features))
    labels = pipeline.classes_[probabilities.argmax(axis=1)]
    return Predictions(prediction=labels.tolist(), probabilities=probabilities.tolist())
