"""The page that Prometheus scrapes."""

from unpickled.server.lifecycle.repository import Repository
from unpickled.server.message import query
from unpickled.server.message.answer import Answer, Environ
from unpickled.server.observe.counters import Memory
from unpickled.server.observe.exposition import exposition
from unpickled.server.observe.inflight import InFlight
from unpickled.server.observe.outlines import outlines
from unpickled.server.pages.page import Page
from unpickled.server.pages.selection import MODEL
from unpickled.server.records import Records


def pages(repository: Repository, memory: Memory, in_flight: InFlight, records: Records) -> list[Page]:
    """GET /metrics: the counts of all processes that share ``memory``, and what they post in ``records``."""

    def metrics(environ: Environ) -> Answer:
        in_flight.publish()
        models = outlines(repository.deployments.values())
        accept = environ.get("HTTP_ACCEPT")
        model = query.given(environ, MODEL.name)
        if model is not None:
            repository.check(model)
        kind, text = exposition(memory, models, accept, records.drift, records.truth, model)
        return "200 OK", (("Content-Type", kind),), text

    return [
        Page(
            "GET",
            "/metrics",
            "Counters, gauges and histograms for Prometheus",
            metrics,
            text=("text/plain", "application/openmetrics-text"),
            errors=(404,),
            query=(MODEL,),
        )
    ]
