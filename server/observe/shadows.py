"""The shadow of each model that has one, started and retired as deployments change."""

from collections.abc import Iterable
from typing import NamedTuple

from unpickled.server.lifecycle.deployment import Deployment
from unpickled.server.lifecycle.versions import Served
from unpickled.server.observe.counters import Block
from unpickled.server.observe.shadow import Add, Shadow


class Shadows:
    """Observers of the models that have a shadow.

    Args:
        most_rows: Rows that may wait for one shadow.
        block: Holds the counts of their comparisons and losses.
        add: Takes their answers for the payload log.
    """

    def __init__(self, most_rows: int, block: Block, add: Add | None = None) -> None:
        self._most_rows = most_rows
        self._block = block
        self._add = add
        self._running: dict[str, _Running] = {}

    def follow(self, deployments: Iterable[Deployment]) -> list[Shadow]:
        """Start the shadows that deployments ask for, and return those that none asks for any more.

        A shadow whose version and share are still the same goes on. The caller closes the others once no
        new request reaches them.
        """
        previous = self._running
        self._running = {
            deployment.name: self._run(deployment.versions[number], share)
            for deployment in deployments
            if deployment.shadow is not None
            for number, share in [deployment.shadow]
        }
        return [before.shadow for name, before in previous.items() if self._running.get(name) is not before]

    def of(self, name: str) -> tuple[Shadow, ...]:
        """The shadow of a model, if it has one."""
        return (self._running[name].shadow,) if name in self._running else ()

    def _run(self, served: Served, share: float) -> "_Running":
        current = self._running.get(served.name)
        if current is not None and current.served is served and current.share == share:
            return current
        return _Running(served, share, Shadow(served, share, self._most_rows, self._block, self._add))


class _Running(NamedTuple):
    served: Served
    share: float
    shadow: Shadow
