"""Whether the process answers, and whether it serves what it should."""

from typing import Any

from unpickled.server.lifecycle.repository import Repository
from unpickled.server.message.answer import Answer, Environ, document
from unpickled.server.message.page import Page


def pages(repository: Repository) -> list[Page]:
    """GET /livez and /readyz, and ``health_route`` where that is set."""

    def livez(_: Environ) -> Answer:
        return document({"live": True})

    def readyz(_: Environ) -> Answer:
        return document(readiness(repository), 200 if repository.ready else 503)

    own = repository.config.health_route
    ready = ["/readyz", own] if own else ["/readyz"]
    return [Page("GET", "/livez", livez), *(Page("GET", rule, readyz) for rule in ready)]


def readiness(repository: Repository) -> dict[str, Any]:
    """What is served and what is not, with the reasons."""
    found = repository.deployments.values()
    return {
        "ready": repository.ready,
        "served": repository.served,
        "refused": {deployment.name: deployment.reason for deployment in found if not deployment.versions},
        "mistakes": {deployment.name: deployment.mistake for deployment in found if deployment.mistake},
    }
