"""Exact path -> the target of a POST to it, rebuilt in one step whenever the served versions change."""

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import monotonic

from unpickled.server.errors import NotReady
from unpickled.server.inference.predictor import Predictor
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
from unpickled.server.observe.tally import OutsideTally, set_used
from unpickled.server.observe.values import tally_of
from unpickled.server.protocols.protocol import Paths, Protocol, Subject
from unpickled.server.protocols.registry import routes
from unpickled.server.protocols.rows import Reader
from unpickled.server.serve.branch import Branch
from unpickled.server.serve.deferred import Deferred
from unpickled.server.serve.endpoint import Endpoint
from unpickled.server.serve.gate import Gate
from unpickled.server.serve.handlers import Handlers
from unpickled.server.serve.noted import Noted, Notes, noted
from unpickled.server.serve.parts import Parts
from unpickled.server.serve.patterns import Patterns, filled
from unpickled.server.serve.rest import Rest
from unpickled.server.serve.slots import Slots
from unpickled.server.serve.split import Split
from unpickled.server.serve.stream import Stream

# Versions whose targets are all built at once: those of one take 20 ms.
_MOST = 50


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
        self._patterns = Patterns(rule for _, paths in self._routes for rule in paths.rules)
        self.rules = self._patterns.rules
        # By the id of a version.
        self._versions: dict[int, Handlers] = {}
        # By the name of a model.
        self._branches: dict[str, Branch] = {}
        # Held while a target is built that was put off.
        self._building = threading.Lock()
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
        match = self._patterns.match(path)
        return match and (match[0], match[1] or self._repository.default or "")

    def subject(self, served: Served) -> Subject:
        """Reader and predictor of a served version; NotReady while versions change."""
        built = self._versions.get(id(served))
        if built is None:
            raise NotReady("the served versions are just changing: ask again")
        with self._building:
            return built.subject

    def rebuild(self) -> None:
        """Follow the repository; requests under way end with the version they began with."""
        with self._lock:
            self._rebuild()

    def _rebuild(self) -> None:
        deployments = [
            deployment for deployment in self._repository.deployments.values() if deployment.versions
        ]
        self._versions = {
            id(version): self._built(version, deployment.serving.inputs)
            for deployment in deployments
            for version in deployment.versions.values()
        }
        retired = [observer for watch in self._watches for observer in watch.follow(deployments)]
        self._branches = {deployment.name: self._branch(deployment) for deployment in deployments}
        targets: dict[str, Target] = {}
        models: dict[str, str] = {}
        for name, branch in self._branches.items():
            targets.update(branch.latest())
            models.update(dict.fromkeys(branch.targets, name))
        # One assignment each: a request sees all of the old or all of the new.
        self.models, self.targets = models, targets
        for observer in retired:
            observer.close()

    def _branch(self, deployment: Deployment) -> Branch:
        """The targets of a deployment; those of the last rebuild where it is the same."""
        name = deployment.name
        observers = [observer for watch in self._watches for observer in watch.of(name)]
        is_default = name == self._repository.default
        made_of = (deployment, is_default, self._more, self._notes, *observers)
        branch = self._branches.get(name)
        if branch is not None and branch.is_made_of(made_of):
            return branch
        builders: dict[str, Callable[[], Target]] = {}
        for protocol, paths in self._routes:
            builders.update(self._builders(deployment, protocol, paths, observers))
        return Branch(made_of, self._targets(builders))

    def _targets(self, builders: Mapping[str, Callable[[], Target]]) -> dict[str, Target]:
        """Path -> its target; of many, or of those that requests load, each is built by the first request."""
        if self._notes is not None:
            notes = self._notes
            builders = {path: partial(_noted, build, notes) for path, build in builders.items()}
        if len(self._versions) <= _MOST and not self._repository.demand.on:
            return {path: build() for path, build in builders.items()}
        return {path: Deferred(path, build, self, self._building) for path, build in builders.items()}

    def _built(self, served: Served, policy: Policy) -> Handlers:
        """A version under a policy, with the handlers of the last rebuild if possible."""
        # The entry holds the version, so that no other object can have its id.
        built = self._versions.get(id(served))
        if built is not None and built.policy == policy:
            return built
        return Handlers(served, policy, partial(self._subject, served, policy))

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

    def _builders(
        self, deployment: Deployment, protocol: Protocol, paths: Paths, observers: Sequence[Observer]
    ) -> dict[str, Callable[[], Target]]:
        """Path -> the function that builds its target, for the paths of a protocol to one model."""
        name = deployment.name
        built = {number: self._versions[id(served)] for number, served in deployment.versions.items()}
        builders: dict[str, Callable[[], Target]] = {}
        if paths.version:
            for number in built:
                build = partial(self._endpoint, built[number], protocol, paths.version)
                builders[filled(paths.version, name=name, version=number)] = build
        if paths.label:
            for label, number in deployment.labels.items():
                build = partial(self._endpoint, built[number], protocol, paths.label)
                builders[filled(paths.label, name=name, label=label)] = build
        split = partial(self._split, deployment, built, protocol, observers)
        if paths.model:
            builders[filled(paths.model, name=name)] = partial(split, paths.model)
        if paths.default and name == self._repository.default:
            builders[paths.default] = partial(split, paths.default)
        return builders

    def _split(
        self,
        deployment: Deployment,
        built: Mapping[int, Handlers],
        protocol: Protocol,
        observers: Sequence[Observer],
        rule: str,
    ) -> Target:
        choices = [
            (number, self._endpoint(built[number], protocol, rule, observers), share)
            for number, share in deployment.traffic.items()
        ]
        if len(choices) == 1:
            return choices[0][1]
        return Split(choices, self._config.traffic.key_header, deployment.name)

    def _endpoint(
        self, built: Handlers, protocol: Protocol, rule: str, observers: Sequence[Observer] = ()
    ) -> Endpoint:
        served, gate = built.served, self._gate
        # Before the counts: those of a version that nobody has used for hours are ended.
        set_used(self._block, served.name, served.version, monotonic())
        tally = tally_of(self._block, served.name, served.version, rule, served.model.outputs)
        intake = None
        if self._intake is not None:
            intake = self._intake, Source.of(served, rule, self._block)
        recorder = Recorder(served, tally, observers, self._more, intake)
        by_type: dict[str, Target] = {
            media_type: Endpoint(recorder, *built.handler(build), gate, self.rest, self.parts)
            for media_type, build in protocol.by_type.items()
        }
        if protocol.lines is not None:
            predict = built.handler(protocol.lines).predict
            if self._notes is not None:
                predict = noted(predict, self._notes)
            stream = Stream(recorder, predict, self._slots, gate, self.rest)
            by_type |= dict.fromkeys(media.JSON_LINES, stream)
        return Endpoint(recorder, *built.handler(protocol.build), gate, self.rest, self.parts, by_type)


def _noted(build: Callable[[], Target], notes: Notes) -> Target:
    return Noted(build(), notes)
