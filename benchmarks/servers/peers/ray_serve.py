"""Ray Serve and the pickled pipeline: one proxy and one replica.

export RAY_SERVE_THROUGHPUT_OPTIMIZED=1 RAY_SERVE_ENABLE_HA_PROXY=1
PIPELINE=pipeline.pickle python benchmarks/servers/peers/ray_serve.py --port 8000
"""

import argparse
import os
import pickle
from typing import Any

import numpy as np
import ray
from ray import serve
from starlette.requests import Request


# Ray Serve advises a higher limit for "async def" than its 5 requests at a time.
@serve.deployment(num_replicas=1, max_ongoing_requests=1000)
class Classifier:
    def __init__(self) -> None:
        with open(os.environ["PIPELINE"], "rb") as file:
            self.pipeline = pickle.load(file)

    async def __call__(self, request: Request) -> dict[str, Any]:
        rows = np.atleast_2d((await request.json())["features"])
        probabilities = self.pipeline.predict_proba(rows)
        labels = self.pipeline.classes_[probabilities.argmax(axis=1)]
        return {"prediction": labels.tolist(), "probabilities": probabilities.tolist()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000)
    port = parser.parse_args().port
    ray.init(include_dashboard=False)
    quiet = {"enable_access_log": False}
    serve.start(http_options={"host": "127.0.0.1", "port": port}, logging_config=quiet)
    serve.run(Classifier.bind(), route_prefix="/predict", logging_config=quiet, blocking=True)
