"""What Prometheus scrapes."""

from unpickled.server.answer import Answer, Environ
from unpickled.server.endpoint import in_flight
from unpickled.server.lifecycle.repository import Repository
from unpickled.server.metrics import tally
from unpickled.server.metrics.counters import Block, Memory
from unpickled.server.metrics.exposition import exposition
from unpickled.server.page import Page


def pages(repository: Repository, memory: Memory, block: Block) -> list[Page]:
    """GET /metrics, for all processes that count in ``memory``."""

    def metrics(environ: Environ) -> Answer:
        tally.set_in_flight(block, in_flight())
        kind, text = exposition(memory, repository, environ.get("HTTP_ACCEPT"))
        return "200 OK", (("Content-Type", kind),), text

    return [Page("GET", "/metrics", metrics)]
