"""Write the folder that MLServer starts from: the pipeline, model-settings.json and settings.json.

PIPELINE=pipeline.pickle python benchmarks/servers/peers/mlserver_model.py FOLDER
MLSERVER_HTTP_PORT=8000 mlserver start FOLDER
"""

import json
import os
import pickle
import sys
from pathlib import Path

import joblib

folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
with open(os.environ["PIPELINE"], "rb") as file:
    joblib.dump(pickle.load(file), folder / "model.joblib")

model = {
    "name": "model",
    "implementation": "mlserver_sklearn.SKLearnModel",
    "parameters": {"uri": "./model.joblib"},
}
# Without parallel workers, inference happens in the server's own process.
server = {"host": "127.0.0.1", "debug": False, "parallel_workers": 0}
(folder / "model-settings.json").write_text(json.dumps(model, indent=2))
(folder / "settings.json").write_text(json.dumps(server, indent=2))
