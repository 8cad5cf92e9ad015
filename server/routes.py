"""Exact path -> what answers it, rebuilt in one step whenever what is served changes."""

from collections.abc import Callable, Mapping
from typing import Any

from server.answer import Answer
from server.endpoint import Endpoint
from server.lifecycle.deployment import Deployment
from server.lifecycle.repository import Repository
from server.lifecycle.versions import Served
from server.metrics.counters import Block
from server.metrics.shadow import Shadow
from server.metrics.tally import Tally
from server.protocols.native import Native
from server.traffic import Split

# What answers a POST: an endpoint, or a split between several.
Target = Callable[[Mapping[str, Any]], Answer]

PLAIN = "/predict"
MODEL = "/models/<name>/predict"
VERSION = "/models/<name>/versions/<version>/predict"
LABEL = "/models/<name>/labels/<label>/predict"


def path(name: str, version: str | None = None, label: str | None = None) -> str:
    """Under which a model, a version of it or what a label stands for is asked."""
    if version is not None:
        return f"/models/{name}/versions/{version}/predict"
    return f"/models/{name}/predict" if label is None else f"/models/{name}/labels/{label}/predict"


class Routes:
    """``targets`` maps each path that can be predicted under to what answers it."""

    def __init__(self, repository: Repository, block: Block) -> None:
        self.targets: dict[str, Target] = {}
        self._repository = repository
        self._config = repository.config
        self._block = block
        self._natives: dict[int, tuple[Served, Native]] = {}
        self._shadows: dict[str, tuple[Served, float, Shadow]] = {}
        self.rebuild()

    def rebuild(self) -> None:
        """Follow what the repository serves now; requests under way keep what they began with."""
        deployments = [found for found in self._repository.deployments.values() if found.versions]
        served = [version for found in deployments for version in found.versions.values()]
        self._natives = {id(version): self._native(version) for version in served}
        retired, self._shadows = self._shadows, self._shadows_of(deployments)
        targets: dict[str, Target] = {}
        for deployment in deployments:
            targets.update(self._targets(deployment))
        # One assignment: a request sees all of the old or all of the new.
        self.targets = targets
        for name, (_, _, shadow) in retired.items():
            if name not in self._shadows or self._shadows[name][2] is not shadow:
                shadow.close()

    def _native(self, served: Served) -> tuple[Served, Native]:
        known = self._natives.get(id(served))
        # The version is kept beside it, so that no other can have its id.
        return known or (served, Native(served.model, self._config.max_rows))

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

    def _targets(self, deployment: Deployment) -> dict[str, Target]:
        name = deployment.name
        found: dict[str, Target] = {}
        for number, served in deployment.versions.items():
            found[path(name, version=str(number))] = self._endpoint(served, VERSION)
        for label, number in deployment.labels.items():
            found[path(name, label=label)] = self._endpoint(deployment.versions[number], LABEL)
        found[path(name)] = self._split(deployment, MODEL)
        if name == self._repository.default:
            found[PLAIN] = self._split(deployment, PLAIN)
        return found

    def _split(self, deployment: Deployment, route: str) -> Target:
        kept = self._shadows.get(deployment.name)
        shadow = None if kept is None else kept[2]
        choices = [
            (number, self._endpoint(deployment.versions[number], route, shadow), share)
            for number, share in deployment.traffic.items()
        ]
        if len(choices) == 1:
            return choices[0][1]
        return Split(choices, self._config.key_header, deployment.name)

    def _endpoint(self, served: Served, route: str, shadow: Shadow | None = None) -> Endpoint:
        manifest = served.model.manifest
        tally = Tally(self._block, served.name, served.version, route, manifest.classes, manifest.class_names)
        native = self._natives[id(served)][1]
        return Endpoint(served, native, self._config.max_body_bytes, tally, shadow)
