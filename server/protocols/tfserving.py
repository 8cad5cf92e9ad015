"""TensorFlow Serving's REST API, which KServe calls its V1 protocol.

    {"instances": [[5.1, ...], {"sepal_length": 4.9, ...}]}   {"predictions": [{"prediction": 0,
                                                               "predicted_class": "setosa",
                                                               "probabilities": [0.98, 0.02, 0.0]}, ...]}
    {"inputs": {"sepal_length": [5.1, 4.9], ...}}             {"outputs": {"prediction": [0, 0],
    {"inputs": [[5.1, 3.5, 1.4, 0.2], ...]}                    "predicted_class": ["setosa", "setosa"],
                                                               "probabilities": [[...], ...]}}

https://www.tensorflow.org/tfx/serving/api_rest and
https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol. A model has one signature
here: ``signature_name`` may be anything.
"""

from collections.abc import Sequence
from typing import Any

from unpickled.server.inference.prediction import Prediction
from unpickled.server.inference.predictor import Predictor
from unpickled.server.lifecycle.repository import Repository
from unpickled.server.lifecycle.versions import Served
from unpickled.server.message.answer import OPTIONS, Answer, Environ, document, dumps
from unpickled.server.message.body import Members
from unpickled.server.message.page import Page
from unpickled.server.model.signature import Row
from unpickled.server.protocols.forms import chosen
from unpickled.server.protocols.rows import Reader

SIGNATURE = "serving_default"
_FORMS = {"instances": ("signature_name",), "inputs": ("signature_name",)}
_EXAMPLE = '{"instances": [row, ...]} or {"inputs": {feature name: [value, ...], ...}}'


class TFServing:
    """Answers ``:predict`` for one model."""

    def __init__(self, predictor: Predictor, reader: Reader) -> None:
        self._predictor = predictor
        self._reader = reader

    def predict(self, request: bytes, _: Environ) -> Prediction:
        """The answer to one request; raises RequestError."""
        rows = self._reader.instances(request) if b'"instances"' in request[:64] else None
        return self._predict_strictly(request) if rows is None else self._predictions(rows)

    def _predict_strictly(self, request: bytes) -> Prediction:
        members = self._reader.document(request, _EXAMPLE)
        if chosen(members, _FORMS, _EXAMPLE) == "instances":
            return self._predictions(self._reader.listed(members["instances"], "'instances'"))
        inputs = members["inputs"]
        if isinstance(inputs, Members):
            return self._outputs(self._reader.columns(inputs))
        return self._outputs(self._reader.listed(inputs, "'inputs'"))

    def _predictions(self, rows: Sequence[Row]) -> Prediction:
        run = self._predictor.run(rows)
        named = zip(run.labels, self._predictor.named(run.labels), run.scores.tolist(), strict=True)
        kind = self._predictor.kind
        answers = [{"prediction": label, "predicted_class": name, kind: row} for label, name, row in named]
        return run.prediction(dumps({"predictions": answers}), rows)

    def _outputs(self, rows: Sequence[Row]) -> Prediction:
        run = self._predictor.run(rows)
        content = dumps({"outputs": self._predictor.arrays(run.labels, run.scores)}, option=OPTIONS)
        return run.prediction(content, rows)


def pages(repository: Repository) -> list[Page]:
    """GET /v1/models, and status and metadata of a model, a version of it, what a label stands for."""

    def index(_: Environ) -> Answer:
        return document({"models": repository.served})

    def status(_: Environ, name: str, version: str | None = None, label: str | None = None) -> Answer:
        found = repository.find(name, version, label)
        if version is None and label is None:
            return document({"name": name, "ready": True, "model_version_status": _states(repository, name)})
        return document({"name": name, "ready": True, "model_version_status": [_available(found.version)]})

    def metadata(_: Environ, name: str, version: str | None = None, label: str | None = None) -> Answer:
        return document(_metadata(repository.find(name, version, label)))

    model = "/v1/models/<name>"
    rules = (model, f"{model}/versions/<version>", f"{model}/labels/<label>")
    return [
        Page("GET", "/v1/models", index),
        *(Page("GET", rule, status) for rule in rules),
        *(Page("GET", f"{rule}/metadata", metadata) for rule in rules),
    ]


def _states(repository: Repository, name: str) -> list[dict[str, Any]]:
    """Every version, the newest first: those served, and those that failed to load."""
    deployment = repository.deployment(name)
    states = {number: _available(number) for number in deployment.versions}
    for number, reason in deployment.refused.items():
        states.setdefault(number, _state(number, "END", "FAILED_PRECONDITION", reason))
    return [states[number] for number in sorted(states, reverse=True)]


def _available(version: int) -> dict[str, Any]:
    return _state(version, "AVAILABLE", "OK", "")


def _state(version: int, state: str, code: str, message: str) -> dict[str, Any]:
    status = {"error_code": code, "error_message": message}
    return {"version": str(version), "state": state, "status": status}


def _metadata(served: Served) -> dict[str, Any]:
    """A signature as TensorFlow Serving describes one; each feature is an input (rows,)."""
    manifest = served.model.manifest
    labels = "DT_STRING" if isinstance(manifest.classes[0], str) else "DT_INT64"
    signature = {
        "inputs": {
            feature.name: _tensor(feature.name, "DT_STRING" if feature.kind == "category" else "DT_DOUBLE")
            for feature in manifest.features
        },
        "outputs": {
            "prediction": _tensor("prediction", labels),
            "predicted_class": _tensor("predicted_class", "DT_STRING"),
            manifest.outputs.kind: _tensor(manifest.outputs.kind, "DT_DOUBLE", len(manifest.classes)),
        },
        "method_name": "tensorflow/serving/predict",
    }
    return {
        "model_spec": {"name": served.name, "signature_name": "", "version": str(served.version)},
        "metadata": {"signature_def": {"signature_def": {SIGNATURE: signature}}},
    }


def _tensor(name: str, dtype: str, *shape: int) -> dict[str, Any]:
    dimensions = [{"size": str(size), "name": ""} for size in (-1, *shape)]
    return {"dtype": dtype, "tensor_shape": {"dim": dimensions, "unknown_rank": False}, "name": name}
