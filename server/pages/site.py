"""Every page of the server."""

from unpickled.server.lifecycle.repository import Repository
from unpickled.server.observe.counters import Memory
from unpickled.server.observe.inflight import InFlight
from unpickled.server.pages import (
    accuracy,
    catalog,
    docs,
    drift,
    explanation,
    health,
    home,
    metrics,
    ping,
    report,
    summaries,
    tfserving,
    truth,
)
from unpickled.server.pages.oip import index, metadata, statistics
from unpickled.server.pages.openapi import document as openapi
from unpickled.server.pages.page import Page
from unpickled.server.records import Records
from unpickled.server.serve.gate import Gate
from unpickled.server.serve.routes import Routes
from unpickled.server.truth.ledger import Ledger


def pages(
    repository: Repository,
    memory: Memory,
    in_flight: InFlight,
    records: Records,
    ledger: Ledger,
    gate: Gate,
    routes: Routes,
) -> list[Page]:
    """Every page, in the order in which the application registers them: the first page of a rule wins."""

    def every() -> list[Page]:
        return site

    site = [
        # Health comes first, as ``health_route`` may be the path of any other page.
        *health.pages(repository),
        *catalog.pages(repository),
        *report.pages(repository),
        *drift.pages(repository, records.drift),
        *accuracy.pages(repository, memory, records.truth),
        *truth.pages(repository, ledger, gate),
        *explanation.pages(repository, routes, gate),
        *metrics.pages(repository, memory, in_flight, records),
        *openapi.pages(repository, every),
        *docs.pages(),
        *home.pages(repository, summaries.of_predictions(repository.config), every),
        *ping.pages(repository),
        *tfserving.pages(repository),
        *metadata.pages(repository),
        *index.pages(repository),
        *statistics.pages(repository, memory),
    ]
    return site
