"""Exact path -> what answers a POST to it, rebuilt in one step whenever what is served changes."""

from collections.abc import Sequence

import msgspec

from unpickled.server.config import Config
from unpickled.server.inference.prediction import Predict
from unpickled.server.inference.predictor import Predictor
from unpickled.server.lifecycle.deployment import Deployment
from unpickled.server.lifecycle.repository import Repository
from unpickled.server.lifecycle.versions import Served
from unpickled.server.message.answer import Target
from unpickled.server.observe.counters import Block
from unpickled.server.observe.inflight import InFlight
from unpickled.server.observe.recorder import Observer, Recorder
from unpickled.server.observe.shadow import Shadow
from unpickled.server.observe.tally import Tally
from unpickled.server.protocols import csv
from unpickled.server.protocols.azure import Azure
from unpickled.server.protocols.csv import Csv
from unpickled.server.protocols.native import Native
from unpickled.server.protocols.oip.infer import Inference
from unpickled.server.protocols.rows import Reader
from unpickled.server.protocols.sagemaker import SageMaker
from unpickled.server.protocols.tfserving import TFServing
from unpickled.server.protocols.vertex import Vertex
from unpickled.server.serve import stream as ndjson
from unpickled.server.serve.endpoint import Endpoint
from unpickled.server.serve.slots import Slots
from unpickled.server.serve.split import Split
from unpickled.server.serve.stream import Stream

PLAIN = "/predict"
MODEL = "/models/<name>/predict"
VERSION = "/models/<name>/versions/<version>/predict"
LABEL = "/models/<name>/labels/<label>/predict"


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """The paths of one protocol: of the default model, a model, a version, what a label stands for."""

    protocol: str
    plain: str | None = None
    model: str | None = None
    version: str | None = None
    label: str | None = None

    @property
    def rules(self) -> list[str]:
        """Each of them, but a label's where versions and labels stand in the same place."""
        same = self.label is not None and self.label.replace("<label>", "<version>") == self.version
        found = (self.plain, self.model, self.version, None if same else self.label)
        return [rule for rule in found if rule]


def table(config: Config) -> list[Route]:
    """Every route; where two have one path, the last of them has it."""
    v1, v2 = "/v1/models/<name>", "/v2/models/<name>"
    routes = [
        Route(protocol="native", plain=PLAIN, model=MODEL, version=VERSION, label=LABEL),
        Route(
            protocol="inference",
            model=f"{v2}/infer",
            version=f"{v2}/versions/<version>/infer",
            label=f"{v2}/versions/<label>/infer",
        ),
        Route(
            protocol="tfserving",
            model=f"{v1}:predict",
            version=f"{v1}/versions/<version>:predict",
            label=f"{v1}/labels/<label>:predict",
        ),
        Route(protocol="sagemaker", plain="/invocations"),
        Route(protocol="azure", plain="/score"),
    ]
    vertex = [Route(protocol="vertex", plain=config.predict_route)] if config.predict_route else []
    return routes + vertex


def path(rule: str, **names: object) -> str:
    """A rule with its names filled in."""
    for name, value in names.items():
        rule = rule.replace(f"<{name}>", str(value))
    return rule


class Routes:
    """``targets`` maps each path that predicts to what answers it; ``rules`` are the patterns of all."""

    def __init__(self, repository: Repository, block: Block, slots: Slots, in_flight: InFlight) -> None:
        self.targets: dict[str, Target] = {}
        self._repository = repository
        self._config = repository.config
        self._block = block
        self._slots = slots
        self._in_flight = in_flight
        self._routes = table(self._config)
        self.rules = list(dict.fromkeys(rule for route in self._routes for rule in route.rules))
        self._spoken: dict[int, tuple[Served, dict[str, Predict]]] = {}
        self._shadows: dict[str, tuple[Served, float, Shadow]] = {}
        self.rebuild()

    def rebuild(self) -> None:
        """Follow what the repository serves now; requests under way keep what they began with."""
        deployments = [found for found in self._repository.deployments.values() if found.versions]
        served = [version for found in deployments for version in found.versions.values()]
        self._spoken = {id(version): self._protocols(version) for version in served}
        retired, self._shadows = self._shadows, self._shadows_of(deployments)
        targets: dict[str, Target] = {}
        for route in self._routes:
            for deployment in deployments:
                targets.update(self._targets(deployment, route))
        # One assignment: a request sees all of the old or all of the new.
        self.targets = targets
        for name, (_, _, shadow) in retired.items():
            if name not in self._shadows or self._shadows[name][2] is not shadow:
                shadow.close()

    def _protocols(self, served: Served) -> tuple[Served, dict[str, Predict]]:
        known = self._spoken.get(id(served))
        # The version is kept beside it, so that no other can have its id.
        return known or (served, _spoken(served, self._config))

    def _shadows_of(self, deployments: list[Deployment]) -> dict[str, tuple[Served, float, Shadow]]:
        found = {}
        for deployment in deployments:
            if deployment.shadow is not None:
                number, share = deployment.shadow
                found[deployment.name] = self._shadow(deployment.versions[number], share)
        return found

    def _shadow(self, served: Served, share: float) -> tuple[Served, float, Shadow]:
        known = self._shadows.get(served.name)
        if known is not None and known[0] is served and known[1] == share:
            return known
        return served, share, Shadow(served, share, self._config.shadow_rows, self._block)

    def _targets(self, deployment: Deployment, route: Route) -> dict[str, Target]:
        name = deployment.name
        found: dict[str, Target] = {}
        for number, served in deployment.versions.items():
            if route.version:
                found[path(route.version, name=name, version=number)] = self._endpoint(
                    served, route, route.version
                )
        for label, number in deployment.labels.items():
            if route.label:
                target = self._endpoint(deployment.versions[number], route, route.label)
                found[path(route.label, name=name, label=label)] = target
        if route.model:
            found[path(route.model, name=name)] = self._split(deployment, route, route.model)
        if route.plain and name == self._repository.default:
            found[route.plain] = self._split(deployment, route, route.plain)
        return found

    def _split(self, deployment: Deployment, route: Route, rule: str) -> Target:
        shadow = self._shadows.get(deployment.name)
        observers = () if shadow is None else (shadow[2],)
        choices = [
            (number, self._endpoint(deployment.versions[number], route, rule, observers), share)
            for number, share in deployment.traffic.items()
        ]
        if len(choices) == 1:
            return choices[0][1]
        return Split(choices, self._config.key_header, deployment.name)

    def _endpoint(
        self, served: Served, route: Route, rule: str, observers: Sequence[Observer] = ()
    ) -> Endpoint:
        manifest = served.model.manifest
        config, spoken = self._config, self._spoken[id(served)][1]
        tally = Tally(self._block, served.name, served.version, rule, manifest.classes, manifest.class_names)
        recorder, limit, in_flight = (
            Recorder(served, tally, observers),
            config.max_body_bytes,
            self._in_flight,
        )
        others: dict[str, Target] = {}
        if route.protocol in {"native", "vertex"}:
            others[csv.KIND] = Endpoint(recorder, spoken["csv"], limit, in_flight)
            stream = Stream(recorder, spoken["native"], limit, self._slots, in_flight)
            others |= dict.fromkeys(ndjson.MEDIA, stream)
        return Endpoint(recorder, spoken[route.protocol], limit, in_flight, others)


def _spoken(served: Served, config: Config) -> dict[str, Predict]:
    """What answers in each protocol."""
    predictor = Predictor(served.model, config.max_rows)
    reader = Reader(predictor)
    native = Native(predictor, reader)
    return {
        "native": native.predict,
        "csv": Csv(predictor).predict,
        "inference": Inference(predictor, served.name, str(served.version)).predict,
        "tfserving": TFServing(predictor, reader).predict,
        "sagemaker": SageMaker(predictor, reader, native).predict,
        "vertex": Vertex(predictor, reader, native).predict,
        "azure": Azure(predictor, reader, native).predict,
    }
