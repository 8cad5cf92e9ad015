"""The OpenAPI 3.1 document of this server, made of the models it serves now.

https://spec.openapis.org/oas/v3.1.1.html
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from unpickled.server.artifact.manifest import Manifest
from unpickled.server.config import Config
from unpickled.server.lifecycle.deployment import Deployment
from unpickled.server.lifecycle.repository import Repository
from unpickled.server.message.answer import Answer, Environ, document
from unpickled.server.message.page import Page
from unpickled.server.model.schemas import Schema, Schemas, either, plain, shared
from unpickled.server.model.session import Model
from unpickled.server.model.signature import Signature
from unpickled.server.pages.openapi import documents, operations
from unpickled.server.pages.openapi.operations import Operation
from unpickled.server.protocols import registry
from unpickled.server.protocols.bodies import Bodies, Content
from unpickled.server.protocols.protocol import Paths, Protocol
from unpickled.server.serve import routes

_ABOUT = """\
Predictions of scikit-learn pipelines: ONNX graphs, each proven to compute what its pipeline computes.

A value outside the range that a schema gives is refused, as the model could not answer as the pipeline does.
Every error is `{"error": sentence, "code": word}`. Bodies may come in gzip or deflate (`Content-Encoding`).\
"""
_SPLIT = (
    "Several versions share these requests. The schema is what each of them takes: a value that only some "
    "take is answered by those, and refused (400) by the others."
)
# How a body may fail to be one that is answered.
_FAILURES = (400, 404, 408, 413, 415, 500, 503)


def pages(repository: Repository, every: Callable[[], Sequence[Page]]) -> list[Page]:
    """GET /openapi.json, written again once what is served has changed; ``every`` gives all pages."""
    latest: tuple[Mapping[str, Deployment], Answer] | None = None

    def openapi(_: Environ) -> Answer:
        nonlocal latest
        deployments, cached = repository.deployments, latest
        if cached is None or cached[0] is not deployments:
            described = description(deployments, repository.default, repository.config, every())
            latest = cached = (deployments, document(described))
        return cached[1]

    return [
        Page(
            "GET",
            "/openapi.json",
            "Every route, each model's features and every error, as OpenAPI 3.1",
            openapi,
            dict,
        )
    ]


def description(
    deployments: Mapping[str, Deployment], default: str | None, config: Config, pages: Sequence[Page]
) -> dict[str, Any]:
    """The OpenAPI document of these deployments and pages."""
    models = [
        _Model(found, found.name == default, config) for found in deployments.values() if found.versions
    ]
    operations_of = (*operations.of_server(pages), *(one for model in models for one in model.paths(pages)))
    paths: dict[str, Operation] = {}
    for path, found in operations_of:
        paths.setdefault(_escaped(path), {}).update(_named(path, found))
    schemas = {name: schema for model in models for name, schema in model.named().items()}
    return {
        "openapi": "3.1.1",
        "info": {"title": "Unpickled", "version": "1", "description": _ABOUT},
        # Where the document itself lies, however it is reached.
        "servers": [{"url": "."}],
        "tags": [*(model.tag() for model in models), {"name": operations.SERVER}],
        "paths": paths,
        "components": {"schemas": schemas | documents.named(pages), "responses": documents.failures()},
    }


class _Model:
    """The part of the document that one model has."""

    def __init__(self, deployment: Deployment, default: bool, config: Config) -> None:
        self._deployment = deployment
        self._default = default
        self._config = config
        self._schemas = {
            number: _schemas(f"{served.name}.{number}", served.model, config.limits.max_rows)
            for number, served in deployment.versions.items()
        }
        self._routes = registry.routes(config)
        self._bodies = {
            (protocol.name, number): protocol.describe(schemas)
            for protocol, _ in self._routes
            for number, schemas in self._schemas.items()
        }
        self._shared = self._of_all(config.limits.max_rows)
        self._requests = {
            protocol.name: protocol.describe(self._shared).request
            for protocol, _ in self._routes
            if self._shared is not None
        }

    def tag(self) -> dict[str, str]:
        """The heading of its operations."""
        model = self._deployment.main.model
        count = len(model.manifest.features)
        description = f"{count} feature{'s' if count > 1 else ''} to {model.outputs.summary(plain)}"
        return {"name": self._deployment.name, "description": description}

    def named(self) -> dict[str, Schema]:
        """The schemas of its versions."""
        components = {
            name: schema for schemas in self._schemas.values() for name, schema in schemas.named.items()
        }
        return components | ({} if self._shared is None else _needed(self._requests, self._shared.named))

    def paths(self, pages: Sequence[Page]) -> Iterator[tuple[str, Operation]]:
        """Predictions of each protocol, and what can be read."""
        yield from operations.of_model(pages, self._deployment)
        for protocol, paths in self._routes:
            for path, numbers in self._targets(paths):
                yield path, {"post": self._prediction(protocol, numbers)}

    def _likely(self) -> list[int]:
        """The versions that share traffic, those with most of it first."""
        traffic = self._deployment.traffic
        return sorted(traffic, key=traffic.__getitem__, reverse=True)

    def _of_all(self, max_rows: int) -> Schemas | None:
        """Schemas of what all versions with traffic take; None where one version's own schemas say it."""
        models = [self._deployment.versions[number].model for number in self._likely()]
        outputs = [model.outputs for model in models]
        common = shared([model.manifest for model in models])
        selectable = [([tensor.name for tensor in kind.tensors], list(kind.methods)) for kind in outputs]
        same = all(kind == selectable[0] for kind in selectable)
        if same and all(_rules(model.manifest) == _rules(common) for model in models):
            return None
        return Schemas(f"{self._deployment.name}.all", common, Signature(common), outputs, max_rows)

    def _targets(self, paths: Paths) -> Iterator[tuple[str, list[int]]]:
        """Each path of a protocol, and the versions that may answer it, the likeliest first."""
        name, likely = self._deployment.name, self._likely()
        if paths.default and self._default:
            yield paths.default, likely
        if paths.model:
            yield routes.path(paths.model, name=name), likely
        for number in self._deployment.versions:
            if paths.version:
                yield routes.path(paths.version, name=name, version=number), [number]
        for label, number in self._deployment.labels.items():
            if paths.label:
                yield routes.path(paths.label, name=name, label=label), [number]

    def _prediction(self, protocol: Protocol, numbers: list[int]) -> Operation:
        """Versions that share traffic take the same features, each with its own limits and its own classes.

        The request is one that each of them answers.
        """
        bodies = [self._bodies[protocol.name, number] for number in numbers]
        first, name = bodies[0], self._deployment.name
        request, description = first.request, first.description
        if len(numbers) > 1 and self._shared is not None:
            request, description = self._requests[protocol.name], f"{description} {_SPLIT}"
        operation = operations.operation(
            name, protocol.summary, _merged(bodies), *_FAILURES, told=description
        )
        operation["requestBody"] = {"required": True, "content": request}
        operation["responses"]["200"]["headers"] = _headers(name, numbers)
        if len(numbers) > 1:
            operation["parameters"] = [_key(self._config.traffic.key_header)]
        return operation


def _schemas(prefix: str, model: Model, max_rows: int) -> Schemas:
    return Schemas(prefix, model.manifest, model.signature, [model.outputs], max_rows)


def _rules(manifest: Manifest) -> tuple[object, ...]:
    """Everything that decides whether a request is taken."""
    return (
        manifest.inputs,
        [(one.missing, one.lowest, one.highest, one.closed and one.categories) for one in manifest.features],
    )


def _needed(used: object, named: Mapping[str, Schema]) -> dict[str, Schema]:
    """The schemas that ``used`` refers to, directly or through others."""
    needed: dict[str, Schema] = {}
    pending = [used]
    while pending:
        part = pending.pop()
        if isinstance(part, dict):
            pending += part.values()
            name = str(part.get("$ref")).rpartition("/")[2]
            if name in named and name not in needed:
                needed[name] = named[name]
                pending.append(named[name])
        elif isinstance(part, list):
            pending += part
    return needed


def _merged(found: list[Bodies]) -> Content:
    """Answers of any of them."""
    kinds: dict[str, list[Schema]] = {}
    for bodies in found:
        for kind, content in bodies.answer.items():
            kinds.setdefault(kind, []).append(content.get("schema", {}))
    return {kind: {"schema": either(*schemas)} for kind, schemas in kinds.items()}


def _headers(name: str, numbers: list[int]) -> dict[str, Any]:
    values = {"Model-Name": [name], "Model-Version": [str(number) for number in numbers]}
    return {
        header: {"required": True, "schema": {"type": "string", "enum": allowed}}
        for header, allowed in values.items()
    }


def _key(header: str) -> dict[str, Any]:
    return {
        "name": header,
        "in": "header",
        "description": "keeps a caller on one version while traffic is split",
        "schema": {"type": "string"},
    }


def _named(path: str, found: Operation) -> Operation:
    """Each operation with a name of its own. A colon is in no model's name."""
    name = path.replace("/", ":")
    return {method: {**operation, "operationId": f"{method}{name}"} for method, operation in found.items()}


def _escaped(path: str) -> str:
    """Braces in a path would name a parameter."""
    return path.replace("{", "%7B").replace("}", "%7D")
