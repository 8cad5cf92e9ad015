"""What TensorFlow Serving's REST API, which KServe calls its V1 protocol, lets clients read.

https://www.tensorflow.org/tfx/serving/api_rest and
https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from unpickled.server.artifact.manifest import Manifest
from unpickled.server.lifecycle.repository import Repository
from unpickled.server.lifecycle.versions import Served
from unpickled.server.message.answer import Answer, Environ, document
from unpickled.server.message.page import Page
from unpickled.server.pages.annotations import Yes
from unpickled.server.pages.catalog import Names

_SIGNATURE = "serving_default"


class LoadStatus(Struct, frozen=True, kw_only=True):
    """OK, or why a version failed to load."""

    error_code: Literal["OK", "FAILED_PRECONDITION"]
    error_message: str


class VersionStatus(Struct, frozen=True, kw_only=True):
    """A version that is served, or one that failed to load."""

    version: str
    state: Literal["AVAILABLE", "END"]
    status: LoadStatus


class Status(Struct, frozen=True, kw_only=True):
    """A model's versions, the newest first."""

    name: str
    ready: Yes
    model_version_status: Annotated[list[VersionStatus], Meta(min_length=1)]


class Dimension(Struct, frozen=True, kw_only=True):
    """A length of a tensor; "-1" is any number of rows."""

    size: str
    name: str


class TensorShape(Struct, frozen=True, kw_only=True):
    """The lengths of a tensor."""

    dim: list[Dimension]
    unknown_rank: bool


class TensorInfo(Struct, frozen=True, kw_only=True):
    """An input or an output of a signature."""

    dtype: Literal["DT_INT64", "DT_DOUBLE", "DT_STRING"]
    tensor_shape: TensorShape
    name: str


class SignatureDef(Struct, frozen=True, kw_only=True):
    """What ``:predict`` takes and answers; each feature is an input of shape (rows,)."""

    inputs: dict[str, TensorInfo]
    outputs: dict[str, TensorInfo]
    method_name: str


class SignatureMap(Struct, frozen=True, kw_only=True):
    """Signatures by name."""

    signature_def: dict[str, SignatureDef]


class SignatureMetadata(Struct, frozen=True, kw_only=True):
    """The metadata of a model, of which its signatures are the only part."""

    signature_def: SignatureMap


class ModelSpec(Struct, frozen=True, kw_only=True):
    """The version that metadata is about."""

    name: str
    signature_name: str
    version: str


class Signature(Struct, frozen=True, kw_only=True):
    """Metadata of a version: its one signature."""

    model_spec: ModelSpec
    metadata: SignatureMetadata


def pages(repository: Repository) -> list[Page]:
    """GET /v1/models, and status and metadata of a model, a version of it, what a label stands for."""

    def index(_: Environ) -> Answer:
        return document(Names(models=repository.served))

    def status(_: Environ, name: str, version: str | None = None, label: str | None = None) -> Answer:
        served = repository.find(name, version, label)
        whole = version is None and label is None
        statuses = _statuses(repository, name) if whole else [_available(served.version)]
        return document(Status(name=name, ready=True, model_version_status=statuses))

    def metadata(_: Environ, name: str, version: str | None = None, label: str | None = None) -> Answer:
        return document(_metadata(repository.find(name, version, label)))

    model = "/v1/models/<name>"
    rules = (model, f"{model}/versions/<version>", f"{model}/labels/<label>")
    return [
        Page("GET", "/v1/models", "Names of the models that are served (KServe V1)", index, Names),
        *(Page("GET", rule, "Status (TensorFlow Serving, KServe V1)", status, Status) for rule in rules),
        *(
            Page("GET", f"{rule}/metadata", "Metadata (TensorFlow Serving)", metadata, Signature)
            for rule in rules
        ),
    ]


def _statuses(repository: Repository, name: str) -> list[VersionStatus]:
    """Every version, the newest first: those served, and those that failed to load."""
    deployment = repository.deployment(name)
    statuses = {number: _failed(number, reason) for number, reason in deployment.refused.items()}
    statuses |= {number: _available(number) for number in deployment.versions}
    return [statuses[number] for number in sorted(statuses, reverse=True)]


def _available(version: int) -> VersionStatus:
    status = LoadStatus(error_code="OK", error_message="")
    return VersionStatus(version=str(version), state="AVAILABLE", status=status)


def _failed(version: int, reason: str) -> VersionStatus:
    status = LoadStatus(error_code="FAILED_PRECONDITION", error_message=reason)
    return VersionStatus(version=str(version), state="END", status=status)


def _metadata(served: Served) -> Signature:
    signatures = SignatureMap(signature_def={_SIGNATURE: _signature(served.model.manifest)})
    return Signature(
        model_spec=ModelSpec(name=served.name, signature_name="", version=str(served.version)),
        metadata=SignatureMetadata(signature_def=signatures),
    )


def _signature(manifest: Manifest) -> SignatureDef:
    kind = manifest.outputs.kind
    outputs = [
        _tensor("prediction", "DT_STRING" if isinstance(manifest.classes[0], str) else "DT_INT64"),
        _tensor("predicted_class", "DT_STRING"),
        _tensor(kind, "DT_DOUBLE", len(manifest.classes)),
    ]
    inputs = [
        _tensor(feature.name, "DT_STRING" if feature.kind == "category" else "DT_DOUBLE")
        for feature in manifest.features
    ]
    return SignatureDef(
        inputs={tensor.name: tensor for tensor in inputs},
        outputs={tensor.name: tensor for tensor in outputs},
        method_name="tensorflow/serving/predict",
    )


def _tensor(name: str, dtype: Literal["DT_INT64", "DT_DOUBLE", "DT_STRING"], *lengths: int) -> TensorInfo:
    """A tensor of rows; ``lengths`` are those beside the number of rows."""
    dimensions = [Dimension(size=str(length), name="") for length in (-1, *lengths)]
    return TensorInfo(dtype=dtype, tensor_shape=TensorShape(dim=dimensions, unknown_rank=False), name=name)
