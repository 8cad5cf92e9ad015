"""What TensorFlow Serving's REST API, which KServe calls its V1 protocol, lets clients read.

https://www.tensorflow.org/tfx/serving/api_rest and
https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol.
"""

from typing import Any

from unpickled.server.lifecycle.repository import Repository
from unpickled.server.lifecycle.versions import Served
from unpickled.server.message.answer import Answer, Environ, document
from unpickled.server.message.page import Page

SIGNATURE = "serving_default"


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
