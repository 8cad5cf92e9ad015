"""The pages of the Open Inference Protocol: metadata, readiness, and the extension model_configuration.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
"""

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from unpickled.server.artifact.manifest import Manifest, Notation
from unpickled.server.errors import NotReady
from unpickled.server.lifecycle.repository import Repository
from unpickled.server.lifecycle.versions import Served
from unpickled.server.message.answer import Answer, Environ, document
from unpickled.server.model import dates
from unpickled.server.model.outputs import Outputs
from unpickled.server.pages import health
from unpickled.server.pages.annotations import Count, Yes
from unpickled.server.pages.catalog import Names
from unpickled.server.pages.health import Live
from unpickled.server.pages.page import Page
from unpickled.server.protocols.oip import tensors

# model_repository is left out, as this server has only its index.
_EXTENSIONS = ["binary_tensor_data", "classification", "model_configuration", "statistics"]
_PROTOCOL = "(Open Inference Protocol)"
_SUBJECTS = {"/v2/models/<name>": "a model", "/v2/models/<name>/versions/<version>": "a version"}


class ServerMetadata(Struct, frozen=True, kw_only=True):
    """This server, and the extensions of the protocol that it has."""

    name: str
    version: str
    extensions: list[str]


class ServerReady(Struct, frozen=True, kw_only=True):
    """Every model is served."""

    live: Yes
    ready: Yes


class ModelReady(Struct, frozen=True, kw_only=True):
    """The model, or this version of it, is served."""

    name: str
    ready: Yes


class Tensor(Struct, frozen=True, kw_only=True):
    """An input or an output; a length of -1 is any number of rows. ``parameters`` describe a date."""

    name: str
    datatype: str
    shape: Annotated[list[Annotated[int, Meta(ge=-1)]], Meta(min_length=1)]
    parameters: dict[str, str] | UnsetType = UNSET


class Metadata(Struct, frozen=True, kw_only=True):
    """The tensors that a model takes and answers."""

    name: str
    versions: Annotated[list[str], Meta(min_length=1)]
    platform: str
    inputs: Annotated[list[Tensor], Meta(min_length=1)]
    outputs: Annotated[list[Tensor], Meta(min_length=1)]


class Reshape(Struct, frozen=True, kw_only=True):
    """The shape of a tensor without dimensions: ``dims`` must not be empty."""

    shape: list[Count]


class ConfiguredTensor(Struct, frozen=True, kw_only=True):
    """An input or an output; ``dims`` leaves out the rows, as these are the batch."""

    name: str
    data_type: str
    dims: Annotated[list[Count], Meta(min_length=1)]
    reshape: Reshape | UnsetType = UNSET


class SpecificVersions(Struct, frozen=True, kw_only=True):
    """Version numbers."""

    versions: list[Count]


class VersionPolicy(Struct, frozen=True, kw_only=True):
    """The versions that this configuration is about."""

    specific: SpecificVersions


class InstanceGroup(Struct, frozen=True, kw_only=True):
    """Where a model runs, in Triton's words."""

    name: str
    kind: str
    count: Count


class ModelConfig(Struct, frozen=True, kw_only=True):
    """The members of Triton's ModelConfig that tools read."""

    name: str
    platform: str
    backend: str
    version_policy: VersionPolicy
    max_batch_size: Count
    input: Annotated[list[ConfiguredTensor], Meta(min_length=1)]
    output: Annotated[list[ConfiguredTensor], Meta(min_length=1)]
    instance_group: list[InstanceGroup]
    default_model_filename: str


def pages(repository: Repository) -> list[Page]:
    """Metadata, readiness and configuration under /v2."""
    return [*_server_pages(repository), *_model_pages(repository)]


def _server_pages(repository: Repository) -> list[Page]:
    def ready(_: Environ) -> Answer:
        if not repository.ready:
            reason = "the server is about to end" if repository.draining else "a model is not served"
            raise NotReady(f"{reason}: GET /readyz has the details", live=True, ready=False)
        return document(ServerReady(live=True, ready=True))

    def models(_: Environ) -> Answer:
        return document(Names(models=repository.served))

    return [
        Page("GET", "/v2", f"This server and its extensions {_PROTOCOL}", _server, ServerMetadata),
        Page("GET", "/v2/", f"This server and its extensions {_PROTOCOL}", _server, ServerMetadata),
        Page("GET", "/v2/health/live", f"Whether the process answers {_PROTOCOL}", health.live, Live),
        Page(
            "GET",
            "/v2/health/ready",
            f"Whether the models that `ready` asks for are served {_PROTOCOL}",
            ready,
            ServerReady,
            errors=(503,),
        ),
        Page("GET", "/v2/models", f"Names of the models that are served {_PROTOCOL}", models, Names),
    ]


def _model_pages(repository: Repository) -> list[Page]:
    def metadata(_: Environ, name: str, version: str | None = None) -> Answer:
        return document(_metadata(repository, repository.find(name, version)))

    def ready(_: Environ, name: str, version: str | None = None) -> Answer:
        return document(ModelReady(name=repository.find(name, version).name, ready=True))

    def config(_: Environ, name: str, version: str | None = None) -> Answer:
        return document(_config(repository.find(name, version), repository.config.limits.max_rows))

    return [
        page
        for rule, subject in _SUBJECTS.items()
        for page in (
            Page("GET", rule, f"Tensors of {subject} {_PROTOCOL}", metadata, Metadata),
            Page("GET", f"{rule}/ready", f"Whether {subject} is served {_PROTOCOL}", ready, ModelReady),
            Page("GET", f"{rule}/config", f"Configuration of {subject} (Triton)", config, ModelConfig),
        )
    ]


def _server(_: Environ) -> Answer:
    try:
        version = installed("unpickled")
    except PackageNotFoundError:  # the server runs from a folder and is not installed
        version = "unknown"
    return document(ServerMetadata(name="unpickled", version=version, extensions=_EXTENSIONS))


def _metadata(repository: Repository, served: Served) -> Metadata:
    manifest = served.model.manifest
    return Metadata(
        name=served.name,
        versions=[str(number) for number in repository.deployment(served.name).versions],
        platform="onnx_onnxv1",
        inputs=_inputs(manifest),
        outputs=_outputs(served.model.outputs),
    )


def _inputs(manifest: Manifest) -> list[Tensor]:
    """The only input of the graph; of a graph with several inputs or with dates, a tensor of each feature."""
    if len(manifest.inputs) == 1 and not any(feature.date for feature in manifest.features):
        tensor = manifest.inputs[0]
        return [_tensor(tensor.name, tensors.DATATYPES[tensor.dtype], len(tensor.features))]
    dtypes = {name: tensor.dtype for tensor in manifest.inputs for name in tensor.features}
    return [
        _date(feature.name, feature.date)
        if feature.date
        else _tensor(feature.name, tensors.DATATYPES[dtypes[feature.name]], 1)
        for feature in manifest.features
    ]


def _date(name: str, notation: Notation) -> Tensor:
    """A feature of dates, which are text; ``content_type`` is MLServer's word for that."""
    parameters = {"content_type": "datetime", "example": dates.example(notation)}
    return Tensor(name=name, datatype=tensors.BYTES, shape=[-1, 1], parameters=parameters)


def _outputs(outputs: Outputs) -> list[Tensor]:
    return [
        _tensor(
            tensor.name, tensors.DATATYPES[tensor.dtype], *([len(tensor.entries)] if tensor.entries else [])
        )
        for tensor in outputs.tensors
    ]


def _tensor(name: str, datatype: str, *lengths: int) -> Tensor:
    """A tensor whose first length is any number of rows; ``lengths`` are the others."""
    return Tensor(name=name, datatype=datatype, shape=[-1, *lengths])


def _config(served: Served, max_rows: int) -> ModelConfig:
    manifest = served.model.manifest
    return ModelConfig(
        name=served.name,
        platform="onnxruntime_onnx",
        backend="onnxruntime",
        version_policy=VersionPolicy(specific=SpecificVersions(versions=[served.version])),
        max_batch_size=max_rows,
        input=[_configured(tensor) for tensor in _inputs(manifest)],
        output=[_configured(tensor) for tensor in _outputs(served.model.outputs)],
        instance_group=[InstanceGroup(name=served.name, kind="KIND_AUTO", count=1)],
        default_model_filename="model.onnx",
    )


def _configured(tensor: Tensor) -> ConfiguredTensor:
    datatype = "STRING" if tensor.datatype == tensors.BYTES else tensor.datatype
    dims = tensor.shape[1:]
    return ConfiguredTensor(
        name=tensor.name,
        data_type=f"TYPE_{datatype}",
        dims=dims or [1],
        reshape=UNSET if dims else Reshape(shape=[]),
    )
