"""FastAPI, ONNX Runtime and orjson: the ONNX file that Unpickled serves.

MODEL=model.onnx uvicorn --no-access-log --app-dir benchmarks/servers/peers fastapi_onnx:app
"""

import os

import numpy as np
import onnxruntime
import orjson
from fastapi import FastAPI, Response
from pydantic import BaseModel

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])
name = session.get_inputs()[0].name
dtype = {"tensor(double)": np.float64, "tensor(float)": np.float32}[session.get_inputs()[0].type]

app = FastAPI()


class Rows(BaseModel):
    features: list[float] | list[list[float]]


# FastAPI advises "async def" for functions that only compute: "def" costs a change of thread per request.
@app.post("/predict")
async def predict(rows: Rows) -> Response:
    labels, probabilities = session.run(None, {name: np.atleast_2d(np.asarray(rows.features, dtype))})
    answer = {"prediction": labels, "probabilities": probabilities}
    return Response(orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")


@app.get("/livez")
async def livez() -> Response:
    return Response()
