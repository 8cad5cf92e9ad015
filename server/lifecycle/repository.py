"""The models folder -> the deployment of each model, kept in step with the disk.

Processes share nothing but the disk. Each scans it by itself; as deployments depend on the files alone, all
processes come to serve the same versions. Only a version that was removed or damaged on disk makes a
difference: processes that have it in memory go on serving it.
"""

import logging
from pathlib import Path

from unpickled.server.config import Config
from unpickled.server.errors import ConfigError, NotReady, UnknownModel
from unpickled.server.lifecycle import disk
from unpickled.server.lifecycle.deployment import Deployment
from unpickled.server.lifecycle.serving import VERSION
from unpickled.server.lifecycle.shelf import Shelf
from unpickled.server.lifecycle.versions import Served
from unpickled.server.quote import listed

logger = logging.getLogger("unpickled")


class Repository:
    """Every model in a folder and its deployment.

    ``deployments`` is replaced as a whole when ``refresh`` finds that something has changed. A model that
    cannot be served does not stop the others: its deployment says why. ``draining``: the server is about to
    end, so it is not ready, though it still answers.

    Raises:
        ConfigError: There is no such folder, or the default model is not in it.
        ProviderError: In strict mode, the first execution provider was not obtained.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.deployments: dict[str, Deployment] = {}
        self.default: str | None = None
        self.draining = False
        self._shelves: dict[str, Shelf] = {}
        self._unreadable = ""
        for folder in folders(config):
            self._shelves[folder.name] = Shelf(folder, config.runtime)
        self._refresh_shelves()
        self.default = self._default()

    @property
    def ready(self) -> bool:
        """Whether every model is served, and there is one; a model that appeared later need not be.

        Never while the server is draining: balancers then send new requests elsewhere.
        """
        expected = [
            deployment
            for deployment in self.deployments.values()
            if deployment.versions or not deployment.arrived_later
        ]
        served = bool(expected) and all(deployment.versions for deployment in expected)
        return served and not self.draining

    @property
    def served(self) -> list[str]:
        """Names of the models that serve a version."""
        return [name for name, deployment in self.deployments.items() if deployment.versions]

    @property
    def settled(self) -> bool:
        """Whether no file was being written at the last scan."""
        return all(shelf.settled for shelf in self._shelves.values())

    def refresh(self) -> bool:
        """Scan the disk, load and verify the versions it asks for, then swap; whether anything has changed.

        An unchanged folder costs a listing and a stat of each file.
        """
        for name in self._names_on_disk():
            if name not in self._shelves:
                folder = Path(self.config.models) / name
                self._shelves[name] = Shelf(folder, self.config.runtime, arrived_later=True)
        changed = self._refresh_shelves()
        if changed:
            self._keep_default()
        return changed

    def release(self) -> None:
        """Release the versions that are not served any more."""
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
        deployment = self.deployment(self._default_or_raise() if name is None else name)
        if not deployment.versions:
            raise NotReady(
                f"model {deployment.name!r} is not served: {deployment.reason}", model=deployment.name
            )
        if version is not None:
            return _version(deployment, version)
        return deployment.main if label is None else _labelled(deployment, label)

    def deployment(self, name: str) -> Deployment:
        """The deployment of a model; UnknownModel where there is no such model."""
        if name not in self.deployments:
            raise UnknownModel(f"there is no model {name!r}: this server has {self._names()}", model=name)
        return self.deployments[name]

    def _refresh_shelves(self) -> bool:
        changes = [shelf.refresh() for shelf in self._shelves.values()]
        if any(changes):
            # One assignment: a reader sees all of the old or all of the new.
            self.deployments = {
                name: self._shelves[name].deployment
                for name in sorted(self._shelves)
                if self._shelves[name].exists
            }
        return any(changes)

    def _names_on_disk(self) -> list[str]:
        """Names of the folders; none, and a line in the log, while the models folder cannot be read."""
        try:
            names, self._unreadable = _names(self.config), ""
        except ConfigError as error:
            if self._unreadable != str(error):
                logger.error("%s; what is served stays", error)
            names, self._unreadable = [], str(error)
        return names

    def _default(self) -> str | None:
        name = self.config.default_model
        if name is not None and name not in self.deployments:
            raise ConfigError(f"default_model is {name!r}, but {self.config.models} has {self._names()}")
        return name or (next(iter(self.deployments)) if len(self.deployments) == 1 else None)

    def _keep_default(self) -> None:
        """Leave /predict to the default model when further models arrive: clients rely on it."""
        if self.default is None:
            self.default = self._default()
        elif self.config.default_model is None and len(self.deployments) > 1:
            logger.warning(
                "there are several models now: /predict stays with %r, but not beyond a restart: "
                "set default_model",
                self.default,
            )

    def _default_or_raise(self) -> str:
        if self.default is None:
            remedy = "POST to /models/<name>/predict, or set default_model"
            if not self.deployments:
                remedy = "export one with `unpickled train iris`"
            raise UnknownModel(f"there is no default model, as this server has {self._names()}: {remedy}")
        return self.default

    def _names(self) -> str:
        return listed(self.deployments) or "no models"


def _version(deployment: Deployment, version: str) -> Served:
    if version in deployment.labels:
        return _labelled(deployment, version)
    name = deployment.name
    number = int(version) if VERSION.fullmatch(version) else -1
    if number in deployment.versions:
        return deployment.versions[number]
    if number in deployment.refused:
        raise NotReady(
            f"version {version} of model {name!r} is not served: {deployment.refused[number]}",
            model=name,
            version=version,
        )
    raise UnknownModel(
        f"model {name!r} has no version {version!r} here: {_served(deployment)}",
        model=name,
        version=version,
    )


def _labelled(deployment: Deployment, label: str) -> Served:
    if label not in deployment.labels:
        raise UnknownModel(
            f"model {deployment.name!r} has no label {label!r}: "
            f"its labels are {listed(deployment.labels) or 'none'}",
            model=deployment.name,
            label=label,
        )
    return deployment.versions[deployment.labels[label]]


def _served(deployment: Deployment) -> str:
    numbers = [str(number) for number in deployment.versions]
    return f"versions {listed(numbers)} are served" if len(numbers) > 1 else f"version {numbers[0]} is served"


def folders(config: Config) -> list[Path]:
    """Folders that may hold a model, sorted by name.

    Raises:
        ConfigError: There is no such folder, or it cannot be read.
    """
    return [Path(config.models) / name for name in _names(config)]


def _names(config: Config) -> list[str]:
    root = str(Path(config.models))
    try:
        return disk.folders(root)
    except OSError as error:
        raise ConfigError(
            f"the models folder {root!r} cannot be read ({error.strerror}): "
            "export a model with `unpickled train iris`, or name another folder with --models"
        ) from None
