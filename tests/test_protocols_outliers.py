"""A detector over every protocol: its label, and its score where the protocol has a place for it."""

import csv
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from sklearn.datasets import load_wine
from sklearn.ensemble import IsolationForest

from unpickled.export import export_pipeline
from unpickled.server import Config, create_app

NAMES = ["alcohol", "malic", "ash"]
X = load_wine().data[:, :3]
ROWS = [X.mean(axis=0).round(3).tolist(), (X.max(axis=0) * 3).tolist()]
RECORDS = [dict(zip(NAMES, row, strict=True)) for row in ROWS]
MATRIX = {"name": "input-0", "shape": [2, 3], "datatype": "FP64", "data": ROWS}
TABLE = "\n".join([",".join(NAMES), *(",".join(map(str, row)) for row in ROWS)])


def outputs(document: Any) -> list[int]:
    """The labels of a V2 answer."""
    (tensor,) = [each for each in document["outputs"] if each["name"] == "label"]
    assert (tensor["datatype"], tensor["shape"]) == ("INT64", [2])
    return list(tensor["data"])


# Path and document of a request, and the reader of the labels.
FORMS: dict[str, tuple[str, Any, Callable[[Any], Any]]] = {
    "arrays": ("/predict", {"features": ROWS}, lambda answer: answer["prediction"]),
    "Azure": ("/score", {"data": ROWS}, lambda answer: answer),
    "Azure input_data": ("/score", {"input_data": {"columns": NAMES, "data": ROWS}}, lambda answer: answer),
    "MLflow": ("/invocations", {"instances": ROWS}, lambda answer: answer["predictions"]),
    "V1": ("/v1/models/odd:predict", {"instances": ROWS}, lambda answer: answer["predictions"]),
    "V2": ("/v2/models/odd/infer", {"inputs": [MATRIX]}, outputs),
    "Vertex": (
        "/vertex",
        {"instances": RECORDS},
        lambda answer: [row["prediction"] for row in answer["predictions"]],
    ),
}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    """A client of a server of one detector, with every protocol."""
    folder = tmp_path_factory.mktemp("models")
    model = IsolationForest(n_estimators=10, random_state=0).fit(X)
    export_pipeline(model, X, name="odd", models=folder, feature_names=NAMES)
    return create_app(Config.of(models=str(folder), predict_route="/vertex")).test_client()


@pytest.mark.parametrize("form", sorted(FORMS))
def test_every_protocol_answers_a_detector(client: FlaskClient, form: str) -> None:
    """A row in the middle is an inlier, and one far outside an outlier."""
    path, document, read = FORMS[form]
    answer = client.post(path, data=json.dumps(document), content_type="application/json")
    assert answer.status_code == 200, answer.text
    labels = [row["prediction"] if isinstance(row, dict) else row for row in read(answer.json)]
    assert labels == [1, -1]


@pytest.mark.parametrize("path", ["/invocations", "/predict"])
def test_a_table_is_answered_with_label_and_scores(client: FlaskClient, path: str) -> None:
    """Each line of CSV has the label, and both scores as numbers."""
    answer = client.post(path, data=TABLE, content_type="text/csv")
    assert answer.status_code == 200, answer.text
    lines = list(csv.reader(answer.text.splitlines()))[-2:]
    assert [float(line[0]) for line in lines] == [1, -1]
    assert np.array([line[-2:] for line in lines], float).shape == (2, 2)
