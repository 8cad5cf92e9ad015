"""What Prometheus scrapes."""

from unpickled.server.lifecycle.repository import Repository
from unpickled.server.message.answer import Answer, Environ
from unpickled.server.message.page import Page
from unpickled.server.observe import tally
from unpickled.server.observe.counters import Block, Memory
from unpickled.server.observe.exposition import exposition
from unpickled.server.serve.endpoint import in_flight


def pages(repository: Repository, memory: Memory, block: Block) -> list[Page]:
    """GET /metrics, for all processes that count in ``memory``."""

    def metrics(environ: Environ) -> Answer:
        tally.set_in_flight(block, in_flight())
        kind, text = exposition(memory, repository, environ.get("HTTP_ACCEPT"))
        return "200 OK", (("Content-Type", kind),), text

    return [
        Page(
            "GET",
            "/metrics",
            "Counters, gauges and histograms for Prometheus",
            metrics,
            text=("text/plain", "application/openmetrics-text"),
        )
    ]
