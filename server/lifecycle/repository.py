"""The models folder -> the deployment of each model, kept in step with the disk.

Processes share nothing but the disk. Each scans it by itself; as deployments depend on the files alone, all
processes come to serve the same versions. Only a version that was removed or damaged on disk makes a
difference: processes that have it in memory go on serving it.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from unpickled.server.config import Config
from unpickled.server.errors import NotReady, ProviderError, UnknownModel
from unpickled.server.lifecycle import signed
from unpickled.server.lifecycle.choice import chosen
from unpickled.server.lifecycle.default import Default, all_of
from unpickled.server.lifecycle.demand import Demand
from unpickled.server.lifecycle.deployment import Deployment, Deployments
from unpickled.server.lifecycle.looks import Looks
from unpickled.server.lifecycle.readiness import Readiness
from unpickled.server.lifecycle.root import ModelsFolder
from unpickled.server.lifecycle.shelf import Shelf
from unpickled.server.lifecycle.trials import Trials
from unpickled.server.lifecycle.versions import Served

logger = logging.getLogger("unpickled")

# Seconds until the second scan of a folder that has arrived since the start.
_SETTLING = 0.1


class Beginning(msgspec.Struct, frozen=True, kw_only=True):
    """The start of a server, as its workers remember it: one that replaces another agrees with the rest.

    ``names`` are the folders that were there, ``default`` is the default model that the first worker chose;
    without them, a process takes what it finds.
    """

    names: frozenset[str] | None = None
    default: str | None = None


class Repository:
    """Every model in a folder and its deployment.

    ``deployments`` is replaced as a whole when ``refresh`` finds that something has changed. A model that
    cannot be served does not stop the others: its deployment says why. A model that was never served is
    forgotten once its folder or its last version is deleted, unless the setting ``default_model`` names it.
    ``draining``: the server is about to end, so it is not ready, though it still answers.

    Raises:
        ConfigError: There is no such folder, the default model is not in it, the setting ``ready`` asks
            for a default model where there is none, or the keys of ``require_signature`` cannot be read.
        ProviderError: In strict mode, the first execution provider runs no node.
    """

    def __init__(
        self, config: Config, beginning: Beginning | None = None, trials: Trials | None = None
    ) -> None:
        self.config = config
        self._trials = trials or Trials()
        self.deployments = Deployments()
        self.draining = False
        self.demand = Demand(config)
        self._shelves: dict[str, Shelf] = {}
        self._folder = ModelsFolder(config)
        self._looks = Looks()
        signed.check_keys(config)
        names = self._folder.names()
        beginning = beginning or Beginning()
        self._default = Default(config, beginning.default)
        expected = frozenset(names) if beginning.names is None else beginning.names
        self._readiness = Readiness(config, expected, self.demand)
        for name in names:
            self._shelves[name] = self._shelf(name)
        first = self._default.likely(names)
        self.demand.put_off(name for name in names if name != first)
        self._refresh_shelves()
        self._trials.begin()
        self._default.choose(self.deployments, self.names)

    @property
    def default(self) -> str | None:
        """The name of the default model; None where there is none."""
        return self._default.name

    @property
    def ready(self) -> bool:
        """Whether the models that the setting ``ready`` asks for are served.

        Never while the server is draining: balancers then send new requests elsewhere.
        """
        return not self.draining and self._readiness.holds(self.deployments, self.default)

    @property
    def served(self) -> list[str]:
        """Names of the models that serve a version, or are loaded by the first request for them."""
        return self._readiness.served(self.deployments)

    @property
    def names(self) -> list[str]:
        """Names of all models, sorted: served, refused, or loaded by the first request for them."""
        return self.demand.among(self.deployments)

    def each(self) -> Iterator[Deployment]:
        """Each deployment as it is when it is asked for: who reads slowly holds none that was replaced."""
        for name in list(self.deployments):
            if deployment := self.deployments.get(name):
                yield deployment

    @property
    def features(self) -> set[str]:
        """The names of the features that any version in memory takes."""
        served = (each for deployment in self.deployments.values() for each in deployment.versions.values())
        return {name for each in served for name in each.model.signature.names}

    @property
    def settled(self) -> bool:
        """Whether no file was being written at the last scan."""
        return all(shelf.settled for shelf in self._shelves.values())

    def refresh(self, everything: bool = True) -> bool:
        """Scan the disk, load and verify the versions it asks for, then swap; whether anything has changed.

        An unchanged folder costs a listing and a stat of each file. Without ``everything``, very many folders
        are looked at in turn, some of them in each scan.
        """
        with self.demand.alone():
            return self._refresh(everything)

    def _refresh(self, everything: bool) -> bool:
        names = self._folder.look()
        forgotten = names is not None and self._forget_deleted(names)
        for name in names or ():
            if name not in self._shelves:
                self._shelves[name] = self._shelf(name, arrived_later=True)
                self.demand.put_off([name])
        self.demand.look(self._shelves)
        due = None if everything else self._looks.due(self.demand.loaded(self._shelves))
        changed = self._refresh_shelves(forgotten, due)
        if changed:
            self._default.keep(self.deployments, self.names)
        return changed

    def release(self) -> None:
        """Release the versions that are not served any more."""
        # A request that loads a model has its versions before it has its deployment.
        with self.demand.alone():
            for shelf in self._shelves.values():
                shelf.versions.keep(set(shelf.deployment.versions))

    def take_failures(self) -> list[tuple[str, int]]:
        """Model and version of each load that has failed since the last call."""
        pairs = []
        for shelf in self._shelves.values():
            pairs += [(shelf.name, number) for number in shelf.versions.take_failures()]
        return pairs

    def find(self, name: str | None, version: str | None = None, label: str | None = None) -> Served:
        """The version that a request names: by its number, by a label, or else the main version.

        Args:
            name: The model; None is the default model.
            version: A number, or a label in a number's place.
            label: A label.

        Raises:
            UnknownModel: There is no such model, version or label.
            NotReady: The model or the version is there, and is refused.
        """
        if name is None:
            name = self.default
        if name is None:
            raise self._default.missing(self.deployments, self.names)
        deployment = self.deployment(name)
        if not deployment.versions:
            raise NotReady(
                f"model {deployment.name!r} is not served: {deployment.reason}", model=deployment.name
            )
        return chosen(deployment, version, label)

    def deployment(self, name: str) -> Deployment:
        """The deployment of a model, loaded if need be; UnknownModel where there is no such model."""
        deployment = self.deployments.get(name)
        if deployment is None and self.demand.on:
            deployment = self._load(name)
        if deployment is None:
            raise self._unknown(name)
        return deployment

    def check(self, name: str) -> None:
        """UnknownModel where there is no such model; loads nothing."""
        if name not in self.deployments and name not in self.demand.unloaded:
            raise self._unknown(name)

    @contextmanager
    def held(self, name: str | None) -> Iterator[None]:
        """Let no request load or let go of a model before the end of the block, where requests do that.

        Raises:
            UnknownModel: There is no folder of this name: a misspelt name waits for no other model.
            Overloaded, DeadlineExceeded: As ``Demand.held``.
        """
        if name is not None and name not in self._shelves:
            raise self._unknown(name)
        with self.demand.held():
            yield

    def _unknown(self, name: str) -> UnknownModel:
        return UnknownModel(f"there is no model {name!r}: this server has {all_of(self.names)}", model=name)

    def _shelf(self, name: str, arrived_later: bool = False) -> Shelf:
        folder = Path(self.config.models) / name
        keys = self.config.require_signature
        return Shelf(folder, self.config.runtime, arrived_later, trials=self._trials, keys=keys)

    def _forget_deleted(self, names: list[str]) -> bool:
        """Forget the models that were never served and have no folder any more; whether there was one."""
        deleted = self._shelves.keys() - set(names)
        shelves = [self._shelves[name] for name in deleted if name != self.config.default_model]
        forgotten = [shelf for shelf in shelves if not shelf.deployment.versions]
        for shelf in forgotten:
            del self._shelves[shelf.name]
            self.demand.unloaded.discard(shelf.name)
            if shelf.exists:
                logger.info("model %s is forgotten: it was never served, and its folder is gone", shelf.name)
        return any(shelf.exists for shelf in forgotten)

    def _refresh_shelves(self, forgotten: bool = False, due: Sequence[Shelf] | None = None) -> bool:
        """Scan the folders that are due, or all; whether a deployment or the list of models has changed."""
        shelves = self.demand.loaded(self._shelves).values()
        scans = self._looks.scans(len(shelves))
        changes = [shelf.refresh(scans) for shelf in (shelves if due is None else due)]
        # Before the swap: routes follow at once, and ending a process takes a while. Where requests load
        # models it stays, as its start would take each of them a second.
        if not self.demand.on:
            self._trials.close()
        if changed := forgotten or any(changes):
            self._swap()
        return changed

    def _swap(self) -> None:
        # One assignment: a reader sees all of the old or all of the new. Once the server has started, the
        # model that default_model names is among them even without a folder, with the reason.
        loaded = self.demand.loaded(self._shelves)
        self.deployments = Deployments(
            (name, loaded[name].deployment)
            for name in sorted(loaded)
            if loaded[name].exists or (self.default and name == self.config.default_model)
        )

    def _load(self, name: str) -> Deployment | None:
        """Load a model that a request asks for, and let go of others where they do not all fit.

        Returns its deployment, which another request may let go of at once; None where there is none.
        """
        demand = self.demand
        with self.held(name):
            if name not in demand.unloaded:
                return self.deployments.get(name)
            _read(self._shelves[name])
            demand.look(self._shelves)
            for other in demand.surplus(self._shelves, {name, self.default}):
                self._shelves[other] = self._shelf(other)
                demand.unloaded.add(other)
                logger.debug("model %s is let go of: the next request for it loads it again", other)
            demand.unloaded.discard(name)
            self._swap()
            demand.follow()
            return self.deployments.get(name)


def _read(shelf: Shelf) -> None:
    """Load a model that a request asks for; NotReady where strict mode refuses it."""
    try:
        shelf.refresh()
        if not shelf.exists:
            # A folder that has arrived since the start: somebody may still be writing it.
            time.sleep(_SETTLING)
            shelf.refresh()
    except ProviderError as error:
        raise NotReady(f"model {shelf.name!r} is not served: {error}", model=shelf.name) from None
