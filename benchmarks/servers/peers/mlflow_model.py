"""Save the pickled pipeline as an MLflow model that answers with probabilities.

PIPELINE=pipeline.pickle python benchmarks/servers/peers/mlflow_model.py FOLDER
mlflow models serve -m FOLDER/model --env-manager local --host 127.0.0.1 --port 8000 --workers 1
"""

import os
import pickle
import sys
from pathlib import Path

import mlflow.sklearn
import numpy as np
from mlflow.models import infer_signature

with open(os.environ["PIPELINE"], "rb") as file:
    pipeline = pickle.load(file)

row = np.zeros((1, pipeline.n_features_in_))
mlflow.sklearn.save_model(
    pipeline,
    str(Path(sys.argv[1]) / "model"),
    serialization_format=mlflow.sklearn.SERIALIZATION_FORMAT_CLOUDPICKLE,
    signature=infer_signature(row, pipeline.predict_proba(row)),
    pyfunc_predict_fn="predict_proba",
)
