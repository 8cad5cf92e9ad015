"""The answers of the admin port: probes and metrics, from what the workers show in shared memory."""

from collections.abc import Callable
from functools import partial

from msgspec import Struct

from unpickled.server.message.answer import Whole, document
from unpickled.server.observe.counters import Memory
from unpickled.server.observe.exposition import exposition
from unpickled.server.observe.outlines import unpack
from unpickled.server.process.admin import chosen
from unpickled.server.process.place import Report
from unpickled.server.process.supervisor import Phase, Supervisor
from unpickled.server.records import Records


class Live(Struct, frozen=True, kw_only=True):
    """Whether a worker runs; the numbers of the ``workers`` that do not."""

    live: bool
    failing: list[int]


class Readiness(Struct, frozen=True, kw_only=True):
    """Whether a worker is ready, and how each worker is. A server that is ``draining`` is about to end."""

    ready: bool
    draining: bool
    workers: list[Report]


class Probes:
    """Answers the paths of the admin port.

    Args:
        supervisor: Knows the workers.
        memory: The counters of all processes.
        records: The figures that the observers of the workers post.
    """

    def __init__(self, supervisor: Supervisor, memory: Memory, records: Records) -> None:
        self._supervisor = supervisor
        self._memory = memory
        self._records = records

    def answer(self, method: str, path: str, accept: str | None) -> Whole:
        """The answer to a request; UnknownPath, MethodNotAllowed."""
        answers: dict[str, Callable[[], Whole]] = {
            "/livez": self._live,
            "/readyz": self._ready,
            "/metrics": partial(self._metrics, accept),
        }
        return chosen(answers, method, path)

    def _live(self) -> Whole:
        places = self._supervisor.places
        live = any(place.lives for place in places)
        failing = [place.index + 1 for place in places if not place.lives]
        return document(Live(live=live, failing=failing), 200 if live else 503)

    def _ready(self) -> Whole:
        workers = self._supervisor.reports()
        draining = self._supervisor.phase is not Phase.SERVING
        ready = not draining and any(worker.state == "ready" for worker in workers)
        return document(Readiness(ready=ready, draining=draining, workers=workers), 200 if ready else 503)

    def _metrics(self, accept: str | None) -> Whole:
        posted = self._memory.posted()
        models, records = unpack(posted) if posted else [], self._records
        kind, text = exposition(self._memory, models, accept, records.drift, records.truth)
        return "200 OK", (("Content-Type", kind),), text
