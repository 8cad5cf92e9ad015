"""Exact path -> the target of a POST to it, rebuilt in one step whenever the served versions change."""

import re
import threading
from collections.abc import Sequence
from typing import NamedTuple

from unpickled.server.errors import NotReady
from unpickled.server.inference.prediction import Predict
from unpickled.server.inference.predictor import Predictor
from unpickled.server.inference.work import Cost
from unpickled.server.lifecycle.deployment import Deployment
from unpickled.server.lifecycle.repository import Repository
from unpickled.server.lifecycle.versions import Served
from unpickled.server.message import media
from unpickled.server.message.answer import CLOSE, Target
from unpickled.server.model.policy import Policy
from unpickled.server.model.ranges import Ranges
from unpickled.server.observe.counters import Block
from unpickled.server.observe.intake import Intake
from unpickled.server.observe.recorder import Headers, Observer, Recorder, Watch
from unpickled.server.observe.source import Source
from unpickled.server.observe.tally import OutsideTally
from unpickled.server.observe.values import tally_of
from unpickled.server.protocols.protocol import Build, Paths, Protocol, Subject
from unpickled.server.protocols.registry import routes
from unpickled.server.protocols.rows import Reader
from unpickled.server.serve.endpoint import Endpoint
from unpickled.server.serve.gate import Gate
from unpickled.server.serve.noted import Noted, Notes, noted
from unpickled.server.serve.parts import Parts
from unpickled.server.serve.rest import Rest
from unpickled.server.serve.slots import Slots
from unpickled.server.serve.split import Split
from unpickled.server.serve.stream import Stream


class _Built(NamedTuple):
    """The handler of one version under one policy for each builder of a protocol."""

    served: Served
    policy: Policy
    subject: Subject
    handlers: dict[Build, "_Handler"]


class _Handler(NamedTuple):
    """The function that answers the requests of one protocol for one version, and their cost."""

    predict: Predict
    cost: Cost


def path(rule: str, **names: object) -> str:
    """A rule with its names filled in."""
    for name, value in names.items():
        rule = rule.replace(f"<{name}>", str(value))
    return rule


def _pattern(rule: str) -> re.Pattern[str]:
    """The paths of a rule, as the application matches them: a name has neither a slash nor a colon."""
    parts = re.split("<([a-z]+)>", rule)
    names = (f"(?P<{part}>[^/:]+)" if index % 2 else re.escape(part) for index, part in enumerate(parts))
    return re.compile("".join(names))


class Routes:
    """The routes of every protocol to every served version.

    Args:
        repository: Holds the deployments, whose versions answer.
        block: Counts the answers of each route.
        slots: The streams that are open.
        gate: Admits requests.
        watches: Provide the observers of each model.
        intake: Takes predictions; None where nothing follows them.
        protocols: The protocols with their paths; by default those that the settings switch on.

    Attributes:
        targets: Path -> the endpoint, split or stream that answers a POST to it.
        models: Path -> the name of the model that a POST to it asks for.
        rules: The patterns of all paths.
        rest: Discards what is left of bodies that nobody reads.
        parts: Sends long answers.
    """

    def __init__(
        self,
        repository: Repository,
        block: Block,
        slots: Slots,
        gate: Gate,
        watches: Sequence[Watch] = (),
        intake: Intake | None = None,
        protocols: Sequence[tuple[Protocol, Paths]] | None = None,
    ) -> None:
        self.targets: dict[str, Target] = {}
        self.models: dict[str, str] = {}
        self._repository = repository
        self._config = repository.config
        self._block = block
        self._slots = slots
        self._gate = gate
        self.rest = Rest(slots, gate.in_flight)
        self.parts = Parts(slots, gate.in_flight)
        self._watches = watches
        self._intake = intake
        self._routes = routes(self._config) if protocols is None else protocols
        self.rules = list(dict.fromkeys(rule for _, paths in self._routes for rule in paths.rules))
        self._patterns = {rule: _pattern(rule) for rule in self.rules}
        # id of a version -> its handlers.
        self._handlers: dict[int, _Built] = {}
        # Headers of all answers, beside those of their version.
        self._more: Headers = ()
        # Where requests are noted; None unless a worker has crashed.
        self._notes: Notes | None = None
        self._lock = threading.Lock()
        self.rebuild()

    def close_connections(self) -> None:
        """Close each connection with its next answer. New targets do that, so that requests check nothing."""
        self._more = (CLOSE,)
        self.rebuild()

    def note(self, notes: Notes | None) -> None:
        """Note requests while they run from now on, or no longer; new targets do that, too."""
        self._notes = notes
        self.rebuild()

    @property
    def headers(self) -> Headers:
        """Headers of all answers, beside those of their version."""
        return self._more

    def asked(self, path: str) -> tuple[str, str] | None:
        """The rule that a POST to a path follows, and the name of the model; None where it predicts nothing.

        ``path`` is that of WSGI. It may spell a name or a number in another way than ``targets`` does, and
        the model need not be there: its name is then empty, or as the path has it.
        """
        text = path.encode("latin-1", "replace").decode("utf-8", "replace")
        for rule, pattern in self._patterns.items():
            if match := pattern.fullmatch(text):
                return rule, match.groupdict().get("name") or self._repository.default or ""
        return None

    def subject(self, served: Served) -> Subject:
        """Reader and predictor of a served version; NotReady while versions change."""
        built = self._handlers.get(id(served))
        if built is None:
            raise NotReady("the served versions are just changing: ask again")
        return built.subject

    def rebuild(self) -> None:
        """Follow the repository; requests under way end with the version they began with."""
        with self._lock:
            self._rebuild()

    def _rebuild(self) -> None:
        deployments = [
            deployment for deployment in self._repository.deployments.values() if deployment.versions
        ]
        self._handlers = {
            id(version): self._handlers_of(version, deployment.serving.inputs)
            for deployment in deployments
            for version in deployment.versions.values()
        }
        retired = [observer for watch in self._watches for observer in watch.follow(deployments)]
        targets: dict[str, Target] = {}
        models: dict[str, str] = {}
        for protocol, paths in self._routes:
            for deployment in deployments:
                added = self._targets(deployment, protocol, paths)
                targets.update(added)
                models.update(dict.fromkeys(added, deployment.name))
        if self._notes is not None:
            targets = {path: Noted(target, self._notes) for path, target in targets.items()}
        # One assignment each: a request sees all of the old or all of the new.
        self.models, self.targets = models, targets
        for observer in retired:
            observer.close()

    def _handlers_of(self, served: Served, policy: Policy) -> _Built:
        """The handlers of a version under a policy, those of the last rebuild if possible."""
        # The entry holds the version, so that no other object can have its id.
        built = self._handlers.get(id(served))
        if built is not None and built.policy == policy:
            return built
        subject, cost = self._subject(served, policy), served.model.cost
        # Protocols share builders: each is called once.
        builds = {build for protocol, _ in self._routes for build in protocol.builds}
        handlers = {build: _Handler(build(subject), Cost(cost)) for build in builds}
        return _Built(served, policy, subject, handlers)

    def _subject(self, served: Served, policy: Policy) -> Subject:
        limits = self._config.limits
        outside = OutsideTally(self._block, served.name, served.version)
        predictor = Predictor(
            served.model,
            limits.max_rows,
            self._config.inputs.extra_columns,
            served.model.cost.slice_rows,
            Ranges(served.model.manifest, policy, outside.count),
        )
        return Subject(served.name, served.version, predictor, Reader(predictor))

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
        observers = [observer for watch in self._watches for observer in watch.of(deployment.name)]
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
        handlers, gate = self._handlers[id(served)].handlers, self._gate
        tally = tally_of(self._block, served.name, served.version, rule, served.model.outputs)
        intake = None
        if self._intake is not None:
            intake = self._intake, Source.of(served, rule, self._block)
        recorder = Recorder(served, tally, observers, self._more, intake)
        by_type: dict[str, Target] = {
            media_type: Endpoint(recorder, *handlers[build], gate, self.rest, self.parts)
            for media_type, build in protocol.by_type.items()
        }
        if protocol.lines is not None:
            predict = handlers[protocol.lines].predict
            if self._notes is not None:
                predict = noted(predict, self._notes)
            stream = Stream(recorder, predict, self._slots, gate, self.rest)
            by_type |= dict.fromkeys(media.JSON_LINES, stream)
        return Endpoint(recorder, *handlers[protocol.build], gate, self.rest, self.parts, by_type)
