"""A card for each model that is served, and a reason for each model that is refused."""

from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import replace

from unpickled.server.artifact.manifest import Manifest
from unpickled.server.lifecycle.demand import UNLOADED
from unpickled.server.lifecycle.deployment import Deployment
from unpickled.server.lifecycle.repository import Repository
from unpickled.server.lifecycle.versions import Served
from unpickled.server.message.answer import Answer, Environ, document
from unpickled.server.model.enforced import InputPolicy, enforced
from unpickled.server.model.placement import Placement
from unpickled.server.pages.annotations import Count, No, Reason, Yes
from unpickled.server.pages.page import Page
from unpickled.server.pages.selection import AFTER, LIMIT, MODEL, selected


class ShadowShare(Struct, frozen=True, kw_only=True):
    """The shadow version, and the share of requests that it runs without answering them."""

    version: Count
    share: float


class Model(Struct, frozen=True, kw_only=True):
    """The card of one version, and what its model serves beside it."""

    name: str
    version: Count
    ready: Yes
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    size_bytes: Count
    load_seconds: float
    providers: Placement
    manifest: Manifest
    versions: Annotated[list[Count], Meta(min_length=1)]
    labels: dict[str, Count]
    traffic: dict[str, Annotated[float, Meta(ge=0)]]
    shadow: ShadowShare | None
    inputs: InputPolicy
    refused: dict[str, Reason]
    mistake: Reason | None


class Unserved(Struct, frozen=True, kw_only=True):
    """A model without a served version; ``version`` is the newest one that was refused."""

    name: str
    version: Count | None
    ready: No
    reason: Reason


class Models(Struct, frozen=True, kw_only=True):
    """Every model in the models folder; ``default_model`` answers the paths that name none.

    ``after`` is the name to ask for the next models with, where not all are shown.
    """

    models: list[Model | Unserved]
    default_model: str | None
    after: str | None


class Names(Struct, frozen=True, kw_only=True):
    """Names of the models that are served."""

    models: list[str]


class Overview(Struct, frozen=True, kw_only=True):
    """The models of this server, and a line about each of its routes ("GET /models")."""

    service: str
    models: list[str]
    default_model: str | None
    routes: dict[str, str]


def pages(repository: Repository) -> list[Page]:
    """GET /models, and the cards of a model, of a version and of a label."""

    def models(environ: Environ) -> Answer:
        selection = selected(repository, environ)
        deployments = selection.deployments
        entries = [
            _entry(deployments[name]) if name in deployments else _unloaded(name) for name in selection.names
        ]
        return document(Models(models=entries, default_model=repository.default, after=selection.after))

    def model(_: Environ, name: str, version: str | None = None, label: str | None = None) -> Answer:
        served = repository.find(name, version, label)
        return document(_card(served, repository.deployment(name)))

    rules = {
        "/models/<name>": (
            "A model's card: features, their ranges, classes or targets, quality, parity, providers, labels, "
            "traffic"
        ),
        "/models/<name>/versions/<version>": "The card of a version",
        "/models/<name>/labels/<label>": "The card of the version that a label stands for",
    }
    return [
        Page(
            "GET",
            "/models",
            "The cards of all models, served or refused",
            models,
            Models,
            errors=(400, 404),
            query=(MODEL, AFTER, LIMIT),
        ),
        *(Page("GET", rule, summary, model, Model) for rule, summary in rules.items()),
    ]


def overview(repository: Repository, summaries: Mapping[str, str]) -> Overview:
    """The document of GET /; ``summaries`` has a line for each route."""
    return Overview(
        service="unpickled",
        models=repository.served,
        default_model=repository.default,
        routes=dict(summaries),
    )


def _entry(deployment: Deployment) -> Model | Unserved:
    return _card(deployment.main, deployment) if deployment.versions else _unserved(deployment)


def _unloaded(name: str) -> Unserved:
    return Unserved(name=name, version=None, ready=False, reason=UNLOADED)


def _unserved(deployment: Deployment) -> Unserved:
    version = max(deployment.refused, default=None)
    return Unserved(name=deployment.name, version=version, ready=False, reason=deployment.reason)


def _card(served: Served, deployment: Deployment) -> Model:
    return Model(
        name=served.name,
        version=served.version,
        ready=True,
        sha256=served.sha256,
        size_bytes=served.size,
        load_seconds=served.load_seconds,
        providers=served.model.placement,
        # Its paths and the code that it names are for those who have the file.
        manifest=replace(served.model.manifest, recipe=None),
        versions=list(deployment.versions),
        labels=deployment.labels,
        traffic={str(number): share for number, share in deployment.traffic.items()},
        shadow=_shadow(deployment),
        inputs=enforced(served.model.manifest, deployment.serving.inputs),
        refused={str(number): reason for number, reason in deployment.refused.items()},
        mistake=deployment.mistake,
    )


def _shadow(deployment: Deployment) -> ShadowShare | None:
    if deployment.shadow is None:
        return None
    version, share = deployment.shadow
    return ShadowShare(version=version, share=share)
