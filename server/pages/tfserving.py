"""Status and metadata in TensorFlow Serving's REST API, which KServe calls its V1 protocol.

https://www.tensorflow.org/tfx/serving/api_rest and
https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol.
"""

from collections.abc import Callable
from typing import Annotated, Literal

from msgspec import Meta, Struct

from unpickled.server.lifecycle.repository import Repository
from unpickled.server.lifecycle.versions import Served
from unpickled.server.message.answer import Answer, Environ, document
from unpickled.server.model.session import Model
from unpickled.server.pages.annotations import Yes
from unpickled.server.pages.catalog import Names
from unpickled.server.pages.page import Page

_PROTOCOL = "(TensorFlow Serving, KServe V1)"
_SIGNATURE = "serving_default"
_DType = Literal["DT_INT64", "DT_DOUBLE", "DT_STRING"]
_DTYPES: dict[str, _DType] = {"integer": "DT_INT64", "number": "DT_DOUBLE", "text": "DT_STRING"}


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

    dtype: _DType
    tensor_shape: TensorShape
    name: str


class SignatureDef(Struct, frozen=True, kw_only=True):
    """Inputs and outputs of ``:predict``; each feature is an input of shape (rows,)."""

    inputs: dict[str, TensorInfo]
    outputs: dict[str, TensorInfo]
    method_name: str


class SignatureMap(Struct, frozen=True, kw_only=True):
    """Signatures by name."""

    signature_def: dict[str, SignatureDef]


class SignatureMetadata(Struct, frozen=True, kw_only=True):
    """The only kind of metadata here: signatures."""

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
    """GET /v1/models, and the status and metadata of a model, of a version and of a label."""

    def index(_: Environ) -> Answer:
        return document(Names(models=repository.served))

    def status(_: Environ, name: str, version: str | None = None, label: str | None = None) -> Answer:
        served = repository.find(name, version, label)
        whole = version is None and label is None
        statuses = _statuses(repository, name) if whole else [_available(served.version)]
        return document(Status(name=name, ready=True, model_version_status=statuses))

    def metadata(_: Environ, name: str, version: str | None = None, label: str | None = None) -> Answer:
        return document(_metadata(repository.find(name, version, label)))

    index_page = Page("GET", "/v1/models", f"Names of the models that are served {_PROTOCOL}", index, Names)
    return [index_page, *_of_each(status, metadata)]


def _of_each(status: Callable[..., Answer], metadata: Callable[..., Answer]) -> list[Page]:
    """The pages of status and metadata, for a model, for a version and for a label."""
    model = "/v1/models/<name>"
    subjects = {
        model: "a model",
        f"{model}/versions/<version>": "a version",
        f"{model}/labels/<label>": "the version that a label stands for",
    }
    return [
        page
        for rule, subject in subjects.items()
        for page in (
            Page("GET", rule, f"Status of {subject} (TensorFlow Serving, KServe V1)", status, Status),
            Page(
                "GET", f"{rule}/metadata", f"Metadata of {subject} (TensorFlow Serving)", metadata, Signature
            ),
        )
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
    signatures = SignatureMap(signature_def={_SIGNATURE: _signature(served.model)})
    return Signature(
        model_spec=ModelSpec(name=served.name, signature_name="", version=str(served.version)),
        metadata=SignatureMetadata(signature_def=signatures),
    )


def _signature(model: Model) -> SignatureDef:
    outputs = [
        _tensor(member.name, _DTYPES[member.type], *([len(member.entries)] if member.entries else []))
        for member in model.outputs.members
    ]
    inputs = [
        _tensor(feature.name, "DT_STRING" if feature.kind == "category" or feature.date else "DT_DOUBLE")
        for feature in model.signature.features
    ]
    return SignatureDef(
        inputs={tensor.name: tensor for tensor in inputs},
        outputs={tensor.name: tensor for tensor in outputs},
        method_name="tensorflow/serving/predict",
    )


def _tensor(name: str, dtype: _DType, *lengths: int) -> TensorInfo:
    """A tensor whose first length is any number of rows; ``lengths`` are the others."""
    dimensions = [Dimension(size=str(length), name="") for length in (-1, *lengths)]
    return TensorInfo(dtype=dtype, tensor_shape=TensorShape(dim=dimensions, unknown_rank=False), name=name)
