"""What Prometheus scrapes."""

from server.answer import Answer, Environ
from server.endpoint import in_flight
from server.lifecycle.repository import Repository
from server.metrics import tally
from server.metrics.counters import Block, Memory
from server.metrics.exposition import exposition
from server.page import Page


def pages(repository: Repository, memory: Memory, block: Block) -> list[Page]:
    """GET /metrics, for all processes that count in ``memory``."""

    def metrics(environ: Environ) -> Answer:
        tally.set_in_flight(block, in_flight())
        kind, text = exposition(memory, repository, environ.get("HTTP_ACCEPT"))
        return "200 OK", (("Content-Type", kind),), text

    return [Page("GET", "/metrics", metrics)]
