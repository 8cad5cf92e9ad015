"""The extension model_repository of the Open Inference Protocol: an index of versions.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_model_repository.md
"""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from unpickled.server.errors import InvalidInput, NotSupported
from unpickled.server.lifecycle.demand import UNLOADED
from unpickled.server.lifecycle.deployment import Deployment
from unpickled.server.lifecycle.repository import Repository
from unpickled.server.message import body, strict
from unpickled.server.message.answer import Answer, Environ, document
from unpickled.server.message.strict import Members
from unpickled.server.pages.page import Page

_NO_LOADING = (
    "models are not loaded and unloaded over HTTP: this server follows its models folder, so export a "
    "version, retire it, or delete its folder"
)


class IndexRequest(Struct, frozen=True, kw_only=True):
    """Choose the versions to list."""

    ready: Annotated[bool, Meta(description="leave out what is not served")] = False


class IndexEntry(Struct, frozen=True, kw_only=True):
    """A version, served or refused. A model without any version has an entry without ``version``."""

    name: str
    version: str | UnsetType = UNSET
    state: Literal["READY", "UNAVAILABLE"]
    reason: str


def pages(repository: Repository) -> list[Page]:
    """POST /v2/repository/index, and the routes that refuse to load and unload models."""

    def index(environ: Environ) -> Answer:
        return document(_index(repository, _only_ready(environ, repository.config.limits.max_body_bytes)))

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


def _refuse(_: Environ, name: str) -> Answer:
    raise NotSupported(_NO_LOADING, model=name[:200])


def _only_ready(environ: Environ, limit: int) -> bool:
    """Read the member "ready" of the body, which may be empty."""
    content = body.read(environ, limit)
    members = strict.parse(content) if content.strip() else Members()
    ready = members.get("ready", False) if isinstance(members, Members) else None
    if not isinstance(ready, bool):
        raise InvalidInput('the body is not {"ready": true or false}')
    return ready


def _index(repository: Repository, only_ready: bool) -> list[IndexEntry]:
    deployments = repository.deployments
    entries = [
        entry
        for name in repository.names
        for entry in (_entries(deployments[name]) if name in deployments else [_unloaded(name)])
    ]
    return [entry for entry in entries if entry.state == "READY"] if only_ready else entries


def _entries(deployment: Deployment) -> list[IndexEntry]:
    """An entry for each version, served or refused."""
    entries = {number: _unavailable(deployment, number) for number in deployment.refused}
    for number in deployment.versions:
        entries[number] = IndexEntry(name=deployment.name, version=str(number), state="READY", reason="")
    if not entries:
        return [IndexEntry(name=deployment.name, state="UNAVAILABLE", reason=deployment.reason)]
    return [entries[number] for number in sorted(entries)]


def _unloaded(name: str) -> IndexEntry:
    return IndexEntry(name=name, state="UNAVAILABLE", reason=UNLOADED)


def _unavailable(deployment: Deployment, number: int) -> IndexEntry:
    reason = deployment.refused[number]
    return IndexEntry(name=deployment.name, version=str(number), state="UNAVAILABLE", reason=reason)
