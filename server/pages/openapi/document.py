"""The OpenAPI 3.1 document of this server, made from the models that it serves now.

https://spec.openapis.org/oas/v3.1.1.html
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any
from weakref import ref

from unpickled.server.artifact.manifest import Manifest
from unpickled.server.config import Config
from unpickled.server.lifecycle.deployment import Deployment, Deployments
from unpickled.server.lifecycle.repository import Repository
from unpickled.server.message.answer import Answer, Environ, document
from unpickled.server.message.columns import OUTSIDE
from unpickled.server.message.jsonschema import Schema, either, plain
from unpickled.server.model.schemas import Schemas
from unpickled.server.model.session import Model
from unpickled.server.model.signature import Signature
from unpickled.server.observe import ids
from unpickled.server.pages.openapi import documents, operations
from unpickled.server.pages.openapi.operations import Operation
from unpickled.server.pages.openapi.security import secured
from unpickled.server.pages.openapi.shared import shared
from unpickled.server.pages.page import Page
from unpickled.server.pages.selection import AFTER, LIMIT, MODEL, selected
from unpickled.server.protocols import native, registry
from unpickled.server.protocols.bodies import Bodies, Content
from unpickled.server.protocols.protocol import Paths, Protocol
from unpickled.server.quote import counted
from unpickled.server.serve import patterns

_ABOUT = """\
Predictions of models that were fitted with scikit-learn, LightGBM, XGBoost or CatBoost. Each is
an ONNX graph, proven to compute what the fitted model computes.

A value outside the range that a schema gives is refused, as the graph could not answer as its model does.
A value outside the training range is answered, clipped or refused, as the settings of the model say: the
header `Outside-Training` names its feature, and `outside` in answers with room for it has the values.
Every error is `{"error": sentence, "code": word}`. Bodies may come in gzip or deflate (`Content-Encoding`).\
"""
_SPLIT = (
    "Several versions share these requests. The schema is what each of them takes: a value that only some "
    "take is answered by those, and refused (400) by the others."
)
# Models that one document describes: a client of a thousand models would take a minute to read it.
_MOST = 100
_REST = """

The models behind `{0}` are not described here: `/openapi.json?after={0}` has the next ones,
`/openapi.json?model=` and a name has one.\
"""
# Statuses of the errors that a prediction may be answered with.
_FAILURES = (400, 404, 408, 411, 413, 415, 422, 500, 503, 504)


def pages(repository: Repository, every: Callable[[], Sequence[Page]]) -> list[Page]:
    """GET /openapi.json, written again whenever the deployments have changed; ``every`` returns all pages."""
    latest: tuple[ref[Deployments], Answer] | None = None

    def openapi(environ: Environ) -> Answer:
        nonlocal latest
        deployments, cached = repository.deployments, latest
        if environ.get("QUERY_STRING"):
            return written(environ)
        if cached is None or cached[0]() is not deployments:
            latest = cached = (ref(deployments), written(environ))
        return cached[1]

    def written(environ: Environ) -> Answer:
        selection = selected(repository, environ, _MOST)
        content = description(selection.deployments, repository.default, repository.config, every())
        if selection.after is not None:
            content["info"]["description"] += _REST.format(selection.after)
        return document(content)

    return [
        Page(
            "GET",
            "/openapi.json",
            "Every route, each model's features and every error, as OpenAPI 3.1",
            openapi,
            dict,
            errors=(400, 404),
            query=(MODEL, AFTER, LIMIT),
        )
    ]


def description(
    deployments: Mapping[str, Deployment], default: str | None, config: Config, pages: Sequence[Page]
) -> dict[str, Any]:
    """The OpenAPI document of these deployments and pages."""
    models = [
        _Model(deployment, deployment.name == default, config)
        for deployment in deployments.values()
        if deployment.versions
    ]
    paths: dict[str, Operation] = {}
    for path, operation in chain(operations.of_server(pages), *(model.paths(pages) for model in models)):
        paths.setdefault(_escaped(path), {}).update(_identified(path, operation))
    schemas = {name: schema for model in models for name, schema in model.components().items()}
    whole = {
        "openapi": "3.1.1",
        "info": {"title": "Unpickled", "version": "1", "description": _ABOUT},
        # Paths are relative to the place of the document, by whatever address a client has reached it.
        "servers": [{"url": "."}],
        "tags": [*(model.tag() for model in models), {"name": operations.SERVER}],
        "paths": paths,
        "components": {"schemas": schemas | documents.components(pages), "responses": documents.failures()},
    }
    return secured(whole, config)


class _Model:
    """The part of the document about one model."""

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
        self._rows = {number: native.one_row(schemas) for number, schemas in self._schemas.items()}
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
        standing = "the default model: " if self._default else ""
        description = f"{standing}{counted(count, 'feature')} to {model.outputs.summary(plain)}"
        return {"name": self._deployment.name, "description": description}

    def components(self) -> dict[str, Schema]:
        """The schemas of its versions."""
        components = {
            name: schema for schemas in self._schemas.values() for name, schema in schemas.components.items()
        }
        return components | ({} if self._shared is None else _needed(self._requests, self._shared.components))

    def paths(self, pages: Sequence[Page]) -> Iterator[tuple[str, Operation]]:
        """Path and operation of each page of the model, and of its predictions in each protocol."""
        yield from operations.of_model(pages, self._deployment)
        for protocol, paths in self._routes:
            for path, numbers in self._targets(paths):
                yield path, {"post": self._prediction(protocol, numbers)}
        for page in pages:
            if page.takes_row:
                yield from self._of_row(page)

    def _of_row(self, page: Page) -> Iterator[tuple[str, Operation]]:
        """Path and operation of a page that takes a row, which the main version answers if none is named."""
        place = next((word for word in ("version", "label") if f"<{word}>" in page.rule), "model")
        for path, numbers in self._targets(Paths(**{place: page.rule})):
            number = numbers[0] if place != "model" else self._deployment.main.version
            outputs = self._deployment.versions[number].model.outputs
            noun, names = outputs.members[-1].each, outputs.names
            yield path, operations.of_row(self._deployment.name, page, self._rows[number], noun, names)

    def _identity(self) -> dict[str, Any]:
        """The header with the id of a prediction, where answers have one."""
        if not (self._config.truth.truth_rows or self._config.log.log_share):
            return {}
        description = (
            "the id by which POST /models/<name>/truth takes what turned out to be true; of several rows, "
            "with a colon and the row, from 0. Each line of a stream has the member prediction_id instead"
        )
        return {ids.HEADER: {"description": description, "schema": {"type": "string"}}}

    def _likely(self) -> list[int]:
        """The versions that share traffic, by falling share."""
        traffic = self._deployment.traffic
        return sorted(traffic, key=traffic.__getitem__, reverse=True)

    def _of_all(self, max_rows: int) -> Schemas | None:
        """Schemas of the requests that all versions with traffic take; None if each version has the same."""
        models = [self._deployment.versions[number].model for number in self._likely()]
        outputs = [model.outputs for model in models]
        common = shared([model.manifest for model in models])
        selectable = [([tensor.name for tensor in each.tensors], list(each.methods)) for each in outputs]
        alike = all(choices == selectable[0] for choices in selectable)
        if alike and all(_rules(model.manifest) == _rules(common) for model in models):
            return None
        return Schemas(f"{self._deployment.name}.all", common, Signature(common), outputs, max_rows)

    def _targets(self, paths: Paths) -> Iterator[tuple[str, list[int]]]:
        """Each path of a protocol, and the versions that may answer it, the most likely first."""
        name, likely = self._deployment.name, self._likely()
        if paths.default and self._default:
            yield paths.default, likely
        if paths.model:
            yield patterns.filled(paths.model, name=name), likely
        for number in self._deployment.versions:
            if paths.version:
                yield patterns.filled(paths.version, name=name, version=number), [number]
        for label, number in self._deployment.labels.items():
            if paths.label:
                yield patterns.filled(paths.label, name=name, label=label), [number]

    def _prediction(self, protocol: Protocol, numbers: list[int]) -> Operation:
        """The operation of a prediction that one of these versions answers.

        Versions that share traffic take the same features, each within its own limits and with its own
        classes: the request described is one that all of them answer.
        """
        bodies = [self._bodies[protocol.name, number] for number in numbers]
        first, name = bodies[0], self._deployment.name
        request, description = first.request, first.description
        if len(numbers) > 1 and self._shared is not None:
            request, description = self._requests[protocol.name], f"{description} {_SPLIT}"
        operation = operations.operation(
            name, protocol.summary, _merged(bodies), *_FAILURES, description=description
        )
        operation["requestBody"] = {"required": True, "content": request}
        operation["responses"]["200"]["headers"] = _headers(name, numbers) | self._identity()
        if len(numbers) > 1:
            operation["parameters"] = [_key(self._config.traffic.key_header)]
        return operation


def _schemas(prefix: str, model: Model, max_rows: int) -> Schemas:
    return Schemas(prefix, model.manifest, model.signature, [model.outputs], max_rows)


def _rules(manifest: Manifest) -> tuple[object, ...]:
    """Everything that decides whether a request is taken or refused."""
    features = manifest.features
    return manifest.inputs, [
        (
            feature.missing,
            feature.lowest,
            feature.highest,
            feature.closed and feature.categories,
            feature.boolean,
        )
        for feature in features
    ]


def _needed(content: object, schemas: Mapping[str, Schema]) -> dict[str, Schema]:
    """The schemas out of ``schemas`` that ``content`` refers to, directly or through other schemas."""
    needed: dict[str, Schema] = {}
    pending = [content]
    while pending:
        part = pending.pop()
        if isinstance(part, dict):
            pending += part.values()
            name = str(part.get("$ref")).rpartition("/")[2]
            if name in schemas and name not in needed:
                needed[name] = schemas[name]
                pending.append(schemas[name])
        elif isinstance(part, list):
            pending += part
    return needed


def _merged(bodies: list[Bodies]) -> Content:
    """The answers of several versions: any answer of any of them."""
    kinds: dict[str, list[Schema]] = {}
    for body in bodies:
        for kind, content in body.answer.items():
            kinds.setdefault(kind, []).append(content.get("schema", {}))
    return {kind: {"schema": either(*schemas)} for kind, schemas in kinds.items()}


def _headers(name: str, numbers: list[int]) -> dict[str, Any]:
    values = {"Model-Name": [name], "Model-Version": [str(number) for number in numbers]}
    headers: dict[str, Any] = {
        header: {"required": True, "schema": {"type": "string", "enum": allowed}}
        for header, allowed in values.items()
    }
    description = "features with values outside the training range, percent-encoded and parted by commas"
    return headers | {OUTSIDE: {"description": description, "schema": {"type": "string"}}}


def _key(header: str) -> dict[str, Any]:
    return {
        "name": header,
        "in": "header",
        "description": "keeps a caller on one version while traffic is split",
        "schema": {"type": "string"},
    }


def _identified(path: str, methods: Operation) -> Operation:
    """The operations of a path with a unique id each. No name of a model holds a colon."""
    name = path.replace("/", ":")
    return {method: {**operation, "operationId": f"{method}{name}"} for method, operation in methods.items()}


def _escaped(path: str) -> str:
    """The path with its braces escaped, as OpenAPI would take them for a parameter."""
    return path.replace("{", "%7B").replace("}", "%7D")
