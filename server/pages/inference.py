"""The protocol beside inference: metadata, readiness, configuration, and the index of what is served.

Extensions: model_configuration, and of model_repository the index.
"""

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from typing import Any

from unpickled.server.errors import InvalidInput, NotReady, NotSupported
from unpickled.server.lifecycle.deployment import Deployment
from unpickled.server.lifecycle.repository import Repository
from unpickled.server.lifecycle.versions import Served
from unpickled.server.message import body
from unpickled.server.message.answer import Answer, Environ, document
from unpickled.server.message.body import Members
from unpickled.server.message.page import Page
from unpickled.server.protocols.oip import tensors

# Not model_repository, of which there is the index only.
_EXTENSIONS = ["binary_tensor_data", "classification", "model_configuration", "statistics"]
_MODEL = ("/v2/models/<name>", "/v2/models/<name>/versions/<version>")
_NO_LOADING = (
    "models are not loaded and unloaded over HTTP: this server follows its models folder, so export a "
    "version, retire it, or delete its folder"
)


def pages(repository: Repository) -> list[Page]:
    """Everything of /v2 but inference and statistics."""

    def models(_: Environ) -> Answer:
        return document({"models": repository.served})

    def model(_: Environ, name: str, version: str | None = None) -> Answer:
        return document(_metadata(repository, repository.find(name, version)))

    def model_ready(_: Environ, name: str, version: str | None = None) -> Answer:
        return document({"name": repository.find(name, version).name, "ready": True})

    def config(_: Environ, name: str, version: str | None = None) -> Answer:
        return document(_config(repository.find(name, version), repository.config.max_rows))

    def ready(_: Environ) -> Answer:
        if not repository.ready:
            raise NotReady("a model is not served: GET /readyz says which and why", live=True, ready=False)
        return document({"live": True, "ready": True})

    def index(environ: Environ) -> Answer:
        return document(_index(repository, _only_ready(environ, repository.config.max_body_bytes)))

    return [
        *(Page("GET", rule, _server) for rule in ("/v2", "/v2/")),
        Page("GET", "/v2/health/live", _live),
        Page("GET", "/v2/health/ready", ready),
        Page("GET", "/v2/models", models),
        *(Page("GET", rule, model) for rule in _MODEL),
        *(Page("GET", f"{rule}/ready", model_ready) for rule in _MODEL),
        *(Page("GET", f"{rule}/config", config) for rule in _MODEL),
        Page("POST", "/v2/repository/index", index),
        *(Page("POST", f"/v2/repository/models/<name>/{what}", _refuse) for what in ("load", "unload")),
    ]


def _server(_: Environ) -> Answer:
    try:
        version = installed("unpickled")
    except PackageNotFoundError:  # it runs out of a folder
        version = "unknown"
    return document({"name": "unpickled", "version": version, "extensions": _EXTENSIONS})


def _live(_: Environ) -> Answer:
    return document({"live": True})


def _refuse(_: Environ, name: str) -> Answer:
    raise NotSupported(_NO_LOADING, model=name[:200])


def _metadata(repository: Repository, served: Served) -> dict[str, Any]:
    manifest = served.model.manifest
    return {
        "name": served.name,
        "versions": [str(number) for number in repository.deployment(served.name).versions],
        "platform": "onnx_onnxv1",
        "inputs": tensors.inputs(manifest),
        "outputs": tensors.outputs(manifest),
    }


def _config(served: Served, max_rows: int) -> dict[str, Any]:
    """What tools read of Triton's ModelConfig; dims are without the rows, as these are its batch."""
    manifest = served.model.manifest
    return {
        "name": served.name,
        "platform": "onnxruntime_onnx",
        "backend": "onnxruntime",
        "version_policy": {"specific": {"versions": [served.version]}},
        "max_batch_size": max_rows,
        "input": [_configured(tensor) for tensor in tensors.inputs(manifest)],
        "output": [_configured(tensor) for tensor in tensors.outputs(manifest)],
        "instance_group": [{"name": served.name, "kind": "KIND_AUTO", "count": 1}],
        "default_model_filename": "model.onnx",
    }


def _configured(tensor: dict[str, Any]) -> dict[str, Any]:
    datatype = "STRING" if tensor["datatype"] == tensors.BYTES else tensor["datatype"]
    dims = tensor["shape"][1:]
    found: dict[str, Any] = {"name": tensor["name"], "data_type": f"TYPE_{datatype}", "dims": dims or [1]}
    if not dims:
        found["reshape"] = {"shape": []}
    return found


def _only_ready(environ: Environ, limit: int) -> bool:
    """What the body, which may be empty, asks for."""
    content = body.read(environ, limit)
    asked = body.parse(content) if content.strip() else Members()
    found = asked.get("ready", False) if isinstance(asked, Members) else None
    if not isinstance(found, bool):
        raise InvalidInput('the body is not {"ready": true or false}')
    return found


def _index(repository: Repository, only_ready: bool) -> list[dict[str, str]]:
    found = [entry for deployment in repository.deployments.values() for entry in _entries(deployment)]
    return [entry for entry in found if entry["state"] == "READY"] if only_ready else found


def _entries(deployment: Deployment) -> list[dict[str, str]]:
    """One for each version, served or refused."""
    states = dict.fromkeys(deployment.versions, ("READY", ""))
    refused = {number: ("UNAVAILABLE", reason) for number, reason in deployment.refused.items()}
    if not states and not refused:
        return [{"name": deployment.name, "state": "UNAVAILABLE", "reason": deployment.reason}]
    return [
        {"name": deployment.name, "version": str(number), "state": state, "reason": reason}
        for number, (state, reason) in sorted((refused | states).items())
    ]
