"""BentoML and the pickled pipeline.

PIPELINE=pipeline.pickle bentoml serve --working-dir benchmarks/servers/peers bentoml_service:Classifier
"""

import os
import pickle
from typing import Any

import bentoml
import numpy as np


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Classifier:
    def __init__(self) -> None:
        with open(os.environ["PIPELINE"], "rb") as file:
            self.pipeline = pickle.load(file)

    @bentoml.api
    def predict(self, features: np.ndarray) -> dict[str, Any]:
        probabilities = self.pipeline.predict_proba(np.atleast_2d(features))
        labels = self.pipeline.classes_[probabilities.argmax(axis=1)]
        return {"prediction": labels.tolist(), "probabilities": probabilities.tolist()}
