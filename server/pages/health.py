"""Health checks: whether the process answers, and whether the models that ``ready`` asks for are served."""

from msgspec import Struct

from unpickled.server.lifecycle.repository import Repository
from unpickled.server.message.answer import Answer, Environ, document
from unpickled.server.pages.annotations import Reason, Yes
from unpickled.server.pages.page import Page


class Live(Struct, frozen=True, kw_only=True):
    """The process answers."""

    live: Yes


class Readiness(Struct, frozen=True, kw_only=True):
    """Models that are served; why others are refused; which ``serving.toml`` is not followed, and why.

    While the server is ``draining``, which is before it ends, it is not ready.
    """

    ready: bool
    draining: bool
    served: list[str]
    refused: dict[str, Reason]
    mistakes: dict[str, Reason]


def live(_: Environ) -> Answer:
    """Answer a liveness check."""
    return document(Live(live=True))


def pages(repository: Repository) -> list[Page]:
    """GET /livez and /readyz, and ``health_route`` if that is set."""

    def readyz(_: Environ) -> Answer:
        return document(readiness(repository), 200 if repository.ready else 503)

    rules = {"/readyz": "Whether the models that `ready` asks for have answered their golden rows"}
    if repository.config.traffic.health_route:
        rules.setdefault(repository.config.traffic.health_route, "The same as /readyz")
    return [
        Page("GET", "/livez", "Whether the process answers", live, Live),
        *(
            Page("GET", rule, summary, readyz, Readiness, statuses=(200, 503))
            for rule, summary in rules.items()
        ),
    ]


def readiness(repository: Repository) -> Readiness:
    """The document of GET /readyz."""
    deployments = repository.deployments.values()
    return Readiness(
        ready=repository.ready,
        draining=repository.draining,
        served=repository.served,
        refused={deployment.name: deployment.reason for deployment in deployments if not deployment.versions},
        mistakes={deployment.name: deployment.mistake for deployment in deployments if deployment.mistake},
    )
