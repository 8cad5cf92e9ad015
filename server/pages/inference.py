"""The Open Inference Protocol beside inference: metadata, readiness, configuration, and an index of versions.

Extensions: model_configuration, and of model_repository the index.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
"""

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from unpickled.server.artifact.manifest import Manifest
from unpickled.server.errors import InvalidInput, NotReady, NotSupported
from unpickled.server.lifecycle.deployment import Deployment
from unpickled.server.lifecycle.repository import Repository
from unpickled.server.lifecycle.versions import Served
from unpickled.server.message import body
from unpickled.server.message.answer import Answer, Environ, document
from unpickled.server.message.body import Members
from unpickled.server.message.page import Page
from unpickled.server.pages import health
from unpickled.server.pages.annotations import Count, Yes
from unpickled.server.pages.catalog import Names
from unpickled.server.pages.health import Live
from unpickled.server.protocols.oip import tensors

# Not model_repository: of that extension there is the index only.
_EXTENSIONS = ["binary_tensor_data", "classification", "model_configuration", "statistics"]
_MODEL = ("/v2/models/<name>", "/v2/models/<name>/versions/<version>")
_NO_LOADING = (
    "models are not loaded and unloaded over HTTP: this server follows its models folder, so export a "
    "version, retire it, or delete its folder"
)


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
    """An input or an output; a length of -1 is any number of rows."""

    name: str
    datatype: str
    shape: Annotated[list[Annotated[int, Meta(ge=-1)]], Meta(min_length=1)]


class Metadata(Struct, frozen=True, kw_only=True):
    """The tensors that a model takes and answers."""

    name: str
    versions: Annotated[list[str], Meta(min_length=1)]
    platform: str
    inputs: Annotated[list[Tensor], Meta(min_length=1)]
    outputs: Annotated[list[Tensor], Meta(min_length=1)]


class Reshape(Struct, frozen=True, kw_only=True):
    """The shape of a tensor without dimensions, which ``dims`` cannot give."""

    shape: list[Count]


class ConfiguredTensor(Struct, frozen=True, kw_only=True):
    """An input or an output; ``dims`` leaves out the rows, as these are the batch."""

    name: str
    data_type: str
    dims: Annotated[list[Count], Meta(min_length=1)]
    reshape: Reshape | UnsetType = UNSET


class SpecificVersions(Struct, frozen=True, kw_only=True):
    """Versions by number."""

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


class IndexRequest(Struct, frozen=True, kw_only=True):
    """What to list."""

    ready: Annotated[bool, Meta(description="leave out what is not served")] = False


class IndexEntry(Struct, frozen=True, kw_only=True):
    """A version, served or refused; a model that has no version at all has an entry without one."""

    name: str
    version: str | UnsetType = UNSET
    state: Literal["READY", "UNAVAILABLE"]
    reason: str


def pages(repository: Repository) -> list[Page]:
    """Everything of /v2 but inference and statistics."""
    return [*_server_pages(repository), *_model_pages(repository), *_repository_pages(repository)]


def _server_pages(repository: Repository) -> list[Page]:
    def ready(_: Environ) -> Answer:
        if not repository.ready:
            raise NotReady("a model is not served: GET /readyz says which and why", live=True, ready=False)
        return document(ServerReady(live=True, ready=True))

    def models(_: Environ) -> Answer:
        return document(Names(models=repository.served))

    return [
        *(
            Page(
                "GET",
                rule,
                "This server and its extensions (Open Inference Protocol)",
                _server,
                ServerMetadata,
            )
            for rule in ("/v2", "/v2/")
        ),
        Page(
            "GET",
            "/v2/health/live",
            "Whether the process answers (Open Inference Protocol)",
            health.live,
            Live,
        ),
        Page(
            "GET",
            "/v2/health/ready",
            "Whether every model is served (Open Inference Protocol)",
            ready,
            ServerReady,
            errors=(503,),
        ),
        Page(
            "GET",
            "/v2/models",
            "Names of the models that are served (Open Inference Protocol)",
            models,
            Names,
        ),
    ]


def _model_pages(repository: Repository) -> list[Page]:
    def metadata(_: Environ, name: str, version: str | None = None) -> Answer:
        return document(_metadata(repository, repository.find(name, version)))

    def ready(_: Environ, name: str, version: str | None = None) -> Answer:
        return document(ModelReady(name=repository.find(name, version).name, ready=True))

    def config(_: Environ, name: str, version: str | None = None) -> Answer:
        return document(_config(repository.find(name, version), repository.config.max_rows))

    kinds = (
        ("", "Metadata: a model's tensors (Open Inference Protocol)", metadata, Metadata),
        ("/ready", "Whether a model is served (Open Inference Protocol)", ready, ModelReady),
        ("/config", "A model's configuration, as Triton gives it", config, ModelConfig),
    )
    return [
        Page("GET", f"{rule}{end}", summary, handle, kind)
        for end, summary, handle, kind in kinds
        for rule in _MODEL
    ]


def _repository_pages(repository: Repository) -> list[Page]:
    def index(environ: Environ) -> Answer:
        return document(_index(repository, _only_ready(environ, repository.config.max_body_bytes)))

    return [
        Page(
            "POST",
            "/v2/repository/index",
            "Every version, served or refused (Open Inference Protocol)",
            index,
            list[IndexEntry],
            errors=(400, 408, 413, 415),
            request=IndexRequest,
        ),
        *(
            Page(
                "POST",
                f"/v2/repository/models/<name>/{action}",
                "Not supported: the server follows its models folder",
                _refuse,
            )
            for action in ("load", "unload")
        ),
    ]


def _server(_: Environ) -> Answer:
    try:
        version = installed("unpickled")
    except PackageNotFoundError:  # the server runs out of a folder
        version = "unknown"
    return document(ServerMetadata(name="unpickled", version=version, extensions=_EXTENSIONS))


def _refuse(_: Environ, name: str) -> Answer:
    raise NotSupported(_NO_LOADING, model=name[:200])


def _metadata(repository: Repository, served: Served) -> Metadata:
    manifest = served.model.manifest
    return Metadata(
        name=served.name,
        versions=[str(number) for number in repository.deployment(served.name).versions],
        platform="onnx_onnxv1",
        inputs=_inputs(manifest),
        outputs=_outputs(manifest),
    )


def _inputs(manifest: Manifest) -> list[Tensor]:
    """The model's tensor, or where it has several, a tensor of each feature."""
    if len(manifest.inputs) == 1:
        tensor = manifest.inputs[0]
        return [_tensor(tensor.name, tensors.DATATYPES[tensor.dtype], len(tensor.features))]
    dtypes = {name: tensor.dtype for tensor in manifest.inputs for name in tensor.features}
    return [
        _tensor(feature.name, tensors.DATATYPES[dtypes[feature.name]], 1) for feature in manifest.features
    ]


def _outputs(manifest: Manifest) -> list[Tensor]:
    return [
        _tensor(manifest.outputs.label, tensors.label_datatype(manifest)),
        _tensor(manifest.outputs.scores, "FP64", len(manifest.classes)),
    ]


def _tensor(name: str, datatype: str, *lengths: int) -> Tensor:
    """A tensor of rows; ``lengths`` are those beside the number of rows."""
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
        output=[_configured(tensor) for tensor in _outputs(manifest)],
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


def _only_ready(environ: Environ, limit: int) -> bool:
    """The member "ready" of the body, which may be empty."""
    content = body.read(environ, limit)
    members = body.parse(content) if content.strip() else Members()
    ready = members.get("ready", False) if isinstance(members, Members) else None
    if not isinstance(ready, bool):
        raise InvalidInput('the body is not {"ready": true or false}')
    return ready


def _index(repository: Repository, only_ready: bool) -> list[IndexEntry]:
    entries = [entry for deployment in repository.deployments.values() for entry in _entries(deployment)]
    return [entry for entry in entries if entry.state == "READY"] if only_ready else entries


def _entries(deployment: Deployment) -> list[IndexEntry]:
    """One for each version, served or refused."""
    entries = {number: _unavailable(deployment, number) for number in deployment.refused}
    for number in deployment.versions:
        entries[number] = IndexEntry(name=deployment.name, version=str(number), state="READY", reason="")
    if not entries:
        return [IndexEntry(name=deployment.name, state="UNAVAILABLE", reason=deployment.reason)]
    return [entries[number] for number in sorted(entries)]


def _unavailable(deployment: Deployment, number: int) -> IndexEntry:
    reason = deployment.refused[number]
    return IndexEntry(name=deployment.name, version=str(number), state="UNAVAILABLE", reason=reason)
