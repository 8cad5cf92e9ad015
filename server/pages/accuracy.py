"""How right a model was, by the truth that clients have reported."""

import time

from unpickled.server.accuracy.report import Accuracy
from unpickled.server.errors import NotMeasured
from unpickled.server.lifecycle.repository import Repository
from unpickled.server.message.answer import Answer, Environ, document
from unpickled.server.observe.counters import Memory
from unpickled.server.pages import windows
from unpickled.server.pages.page import Page
from unpickled.server.truth.assessment import Assessment


def pages(repository: Repository, memory: Memory, joined: Memory | None) -> list[Page]:
    """GET /models/<name>/accuracy; ``joined`` has the counts, and is None where no row is remembered."""
    config = repository.config
    rows, logs = config.truth.truth_rows, config.log.log_share > 0
    assessment = None if joined is None else Assessment(joined, memory, rows, logs)

    def accuracy(environ: Environ, name: str) -> Answer:
        repository.find(name)
        if assessment is None:
            raise NotMeasured("accuracy is not measured here: start the server with truth_rows above 0")
        window = windows.asked(environ)
        return document(assessment.of(repository.deployment(name), window, time.time()))

    return [
        Page(
            "GET",
            "/models/<name>/accuracy",
            "How right a model was, by the truth that was reported of its predictions",
            accuracy,
            Accuracy,
            errors=(400,),
            query=(windows.parameter("how far back rows were predicted"),),
        )
    ]
