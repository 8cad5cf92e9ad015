"""Exact path -> the target of a POST to it, rebuilt in one step whenever the served versions change."""

from collections.abc import Sequence

from unpickled.server.inference.prediction import Predict
from unpickled.server.inference.predictor import Predictor
from unpickled.server.lifecycle.deployment import Deployment
from unpickled.server.lifecycle.repository import Repository
from unpickled.server.lifecycle.versions import Served
from unpickled.server.message import media
from unpickled.server.message.answer import Target
from unpickled.server.observe.counters import Block
from unpickled.server.observe.inflight import InFlight
from unpickled.server.observe.recorder import Observer, Recorder
from unpickled.server.observe.shadow import Shadow
from unpickled.server.observe.tally import Tally
from unpickled.server.protocols.protocol import Build, Paths, Protocol, Subject
from unpickled.server.protocols.registry import routes
from unpickled.server.protocols.rows import Reader
from unpickled.server.serve.endpoint import Endpoint
from unpickled.server.serve.slots import Slots
from unpickled.server.serve.split import Split
from unpickled.server.serve.stream import Stream


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
        self._routes = routes(self._config)
        self.rules = list(dict.fromkeys(rule for _, paths in self._routes for rule in paths.rules))
        self._spoken: dict[int, tuple[Served, dict[Build, Predict]]] = {}
        self._shadows: dict[str, tuple[Served, float, Shadow]] = {}
        self.rebuild()

    def rebuild(self) -> None:
        """Follow the repository; requests under way end with the version they began with."""
        deployments = [
            deployment for deployment in self._repository.deployments.values() if deployment.versions
        ]
        served = [version for deployment in deployments for version in deployment.versions.values()]
        self._spoken = {id(version): self._protocols(version) for version in served}
        retired, self._shadows = self._shadows, self._shadows_of(deployments)
        targets: dict[str, Target] = {}
        for protocol, paths in self._routes:
            for deployment in deployments:
                targets.update(self._targets(deployment, protocol, paths))
        # One assignment: a request sees all of the old or all of the new.
        self.targets = targets
        for name, (_, _, shadow) in retired.items():
            if name not in self._shadows or self._shadows[name][2] is not shadow:
                shadow.close()

    def _protocols(self, served: Served) -> tuple[Served, dict[Build, Predict]]:
        cached = self._spoken.get(id(served))
        # The entry holds the version, so that no other object can have its id.
        return cached or (served, self._spoken_by(served))

    def _spoken_by(self, served: Served) -> dict[Build, Predict]:
        """The functions of every protocol that has a route, for one version."""
        predictor = Predictor(served.model, self._config.limits.max_rows)
        subject = Subject(served.name, served.version, predictor, Reader(predictor))
        return {build: build(subject) for protocol, _ in self._routes for build in protocol.builds}

    def _shadows_of(self, deployments: list[Deployment]) -> dict[str, tuple[Served, float, Shadow]]:
        shadows = {}
        for deployment in deployments:
            if deployment.shadow is not None:
                number, share = deployment.shadow
                shadows[deployment.name] = self._shadow(deployment.versions[number], share)
        return shadows

    def _shadow(self, served: Served, share: float) -> tuple[Served, float, Shadow]:
        current = self._shadows.get(served.name)
        if current is not None and current[0] is served and current[1] == share:
            return current
        return served, share, Shadow(served, share, self._config.traffic.shadow_rows, self._block)

    def _targets(self, deployment: Deployment, protocol: Protocol, paths: Paths) -> dict[str, Target]:
        name = deployment.name
        targets: dict[str, Target] = {}
        if paths.version:
            for number, served in deployment.versions.items():
                endpoint = self._endpoint(served, protocol, paths.version)
                targets[path(paths.version, name=name, version=number)] = endpoint
        if paths.label:
            for label, number in deployment.labels.items():
                endpoint = self._endpoint(deployment.versions[number], protocol, paths.label)
                targets[path(paths.label, name=name, label=label)] = endpoint
        if paths.model:
            targets[path(paths.model, name=name)] = self._split(deployment, protocol, paths.model)
        if paths.default and name == self._repository.default:
            targets[paths.default] = self._split(deployment, protocol, paths.default)
        return targets

    def _split(self, deployment: Deployment, protocol: Protocol, rule: str) -> Target:
        shadow = self._shadows.get(deployment.name)
        observers = () if shadow is None else (shadow[2],)
        choices = [
            (number, self._endpoint(deployment.versions[number], protocol, rule, observers), share)
            for number, share in deployment.traffic.items()
        ]
        if len(choices) == 1:
            return choices[0][1]
        return Split(choices, self._config.traffic.key_header, deployment.name)

    def _endpoint(
        self, served: Served, protocol: Protocol, rule: str, observers: Sequence[Observer] = ()
    ) -> Endpoint:
        spoken, limit, in_flight = (
            self._spoken[id(served)][1],
            self._config.limits.max_body_bytes,
            self._in_flight,
        )
        tally = Tally(self._block, served.name, served.version, rule, served.model.outputs)
        recorder = Recorder(served, tally, observers)
        others: dict[str, Target] = {
            kind: Endpoint(recorder, spoken[build], limit, in_flight)
            for kind, build in protocol.others.items()
        }
        if protocol.lines is not None:
            stream = Stream(recorder, spoken[protocol.lines], limit, self._slots, in_flight)
            others |= dict.fromkeys(media.JSON_LINES, stream)
        return Endpoint(recorder, spoken[protocol.build], limit, in_flight, others)
