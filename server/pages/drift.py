"""How far what a model is asked, and answers, has moved from its training rows."""

import time

from unpickled.server.drift.binnings import Binnings
from unpickled.server.drift.report import Drift
from unpickled.server.drift.reports import Reports
from unpickled.server.errors import NotMeasured
from unpickled.server.lifecycle.repository import Repository
from unpickled.server.message.answer import Answer, Environ, document
from unpickled.server.observe.counters import Memory
from unpickled.server.pages import windows
from unpickled.server.pages.page import Page


def pages(repository: Repository, memory: Memory | None) -> list[Page]:
    """GET /models/<name>/drift; ``memory`` has the counts, and is None where drift is off."""
    reports = None if memory is None else Reports(memory, Binnings())

    def drift(environ: Environ, name: str) -> Answer:
        if reports is None:
            raise NotMeasured("drift is not measured here: start the server with drift = true")
        repository.find(name)
        window = windows.asked(environ)
        return document(reports.of(repository.deployment(name), window, time.time()))

    return [
        Page(
            "GET",
            "/models/<name>/drift",
            "How far a model's features and predictions have moved from its training rows",
            drift,
            Drift,
            errors=(400,),
            query=(windows.parameter("how far back to look"),),
        )
    ]
