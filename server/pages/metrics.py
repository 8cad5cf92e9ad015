"""The page that Prometheus scrapes."""

from unpickled.server.lifecycle.repository import Repository
from unpickled.server.message.answer import Answer, Environ
from unpickled.server.observe.counters import Memory
from unpickled.server.observe.exposition import exposition
from unpickled.server.observe.inflight import InFlight
from unpickled.server.observe.outlines import outlines
from unpickled.server.pages.page import Page


def pages(repository: Repository, memory: Memory, in_flight: InFlight) -> list[Page]:
    """GET /metrics: the counts of all processes that share ``memory``."""

    def metrics(environ: Environ) -> Answer:
        in_flight.publish()
        kind, text = exposition(memory, outlines(repository.deployments.values()), environ.get("HTTP_ACCEPT"))
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
