"""LitServe and the pickled pipeline: one HTTP process and one inference process.

PIPELINE=pipeline.pickle python benchmarks/servers/peers/litserve_server.py --port 8000
"""

import argparse
import os
import pickle
from typing import Any

import litserve
import numpy as np


class Classifier(litserve.LitAPI):
    def setup(self, device: str) -> None:
        with open(os.environ["PIPELINE"], "rb") as file:
            self.pipeline = pickle.load(file)

    def decode_request(self, request: dict[str, Any]) -> np.ndarray:
        return np.atleast_2d(request["features"])

    def predict(self, rows: np.ndarray) -> np.ndarray:
        return self.pipeline.predict_proba(rows)

    def encode_response(self, probabilities: np.ndarray) -> dict[str, Any]:
        labels = self.pipeline.classes_[probabilities.argmax(axis=1)]
        return {"prediction": labels.tolist(), "probabilities": probabilities.tolist()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000)
    port = parser.parse_args().port
    # LitServe advises fast_queue above 100 requests/s, and the log level "warning" for production.
    server = litserve.LitServer(Classifier(), accelerator="cpu", workers_per_device=1, fast_queue=True)
    server.run(
        host="127.0.0.1", port=port, num_api_servers=1, log_level="warning", generate_client_file=False
    )
