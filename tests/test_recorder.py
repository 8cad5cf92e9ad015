"""Predictions of requests and of lines are counted and observed alike, and no observer harms an answer."""

import io
import json
import logging
from functools import partial

import pytest
from conftest import FLOWER

from unpickled.server.inference.admission import Admission
from unpickled.server.inference.budget import Budget
from unpickled.server.inference.predictor import Predictor
from unpickled.server.inference.work import Cost, measured
from unpickled.server.observe.counters import Memory
from unpickled.server.observe.inflight import InFlight
from unpickled.server.observe.recorder import Recorder
from unpickled.server.observe.tally import Tally, count_lost
from unpickled.server.protocols.native import Native
from unpickled.server.protocols.rows import Reader
from unpickled.server.serve.endpoint import Endpoint
from unpickled.server.serve.gate import Gate
from unpickled.server.serve.parts import Parts
from unpickled.server.serve.rest import Rest
from unpickled.server.serve.slots import Slots
from unpickled.server.serve.stream import Stream

GOOD = json.dumps({"features": FLOWER}).encode()


class Notes:
    """An observer that keeps a list of what it gets."""

    name = "notes"

    def __init__(self) -> None:
        self.seen = []

    def observe(self, served, prediction) -> None:
        self.seen.append((served.version, tuple(prediction.rows[0]), list(prediction.labels)))


class Defective:
    """An observer that raises."""

    name = "defective"

    def observe(self, served, prediction) -> None:
        raise KeyError("a defect")


class Route:
    """An endpoint and a stream of the same version, with their counters."""

    def __init__(self, service, *observers) -> None:
        served = service.repository.find("iris")
        self.memory = Memory(blocks=1)
        block = self.memory.claim()
        tally = Tally(block, "iris", 1, "/predict", served.model.outputs)
        predictor = Predictor(served.model, max_rows=5)
        self.predict = Native(predictor, Reader(predictor)).predict
        self.in_flight, recorder = InFlight(block), Recorder(served, tally, observers)
        admission = Admission(cores=1, longest=1, most=8, count=partial(count_lost, block))
        budget = Budget(10**6, lambda model: None)
        gate = Gate(in_flight=self.in_flight, admission=admission, budget=budget, limit=1000, timeout=None)
        cost, slots = Cost(measured(served.model)), Slots(1)
        rest, parts = Rest(slots, self.in_flight), Parts(slots, self.in_flight)
        self.endpoint = Endpoint(recorder, self._predict, cost, gate, rest, parts)
        self.stream = Stream(recorder, self._predict, slots, gate, rest)
        self.counts = []

    def _predict(self, request, environ):
        self.counts.append(self.in_flight.count)
        return self.predict(request, environ)

    def count(self, kind: str) -> float:
        return sum(sum(numbers[:18]) for key, numbers in self.memory.read().items() if key[0] == kind)


def environ(body: bytes) -> dict[str, object]:
    return {"CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body)}


def test_requests_and_lines_alike(service):
    """Requests and lines are counted and observed once each; errors are only counted."""
    route = Route(service, notes := Notes())
    assert route.endpoint(environ(GOOD))[0] == "200 OK"
    assert route.endpoint(environ(b"{"))[0] == "400 Bad Request"
    lines = b"".join(route.stream(environ(GOOD + b"\n{\n" + GOOD))[2]).splitlines()
    assert [json.loads(line).get("line") for line in lines] == [None, 2, None]
    assert notes.seen == [(1, tuple(FLOWER), [0])] * 3
    assert (route.count("answered"), route.count("failed")) == (3, 2)


def test_observers_that_fail(service, caplog):
    """An observer's error is logged once and counted, and changes neither answers nor other observers."""
    route, plain = Route(service, Defective(), notes := Notes()), Route(service)
    with caplog.at_level(logging.ERROR, "unpickled"):
        assert route.endpoint(environ(GOOD)) == plain.endpoint(environ(GOOD))
        assert [*route.stream(environ(GOOD))[2]] == [*plain.stream(environ(GOOD))[2]]
    assert len(caplog.records) == 1
    assert "observer defective fails" in caplog.text
    assert len(notes.seen) == 2
    assert route.memory.read()["observer_failures", "iris", "1", "defective"] == [2.0]


@pytest.mark.parametrize("body", [GOOD, b"{"])
def test_requests_in_flight(service, body):
    """A request is in flight until it is answered, a stream until it is closed."""
    route = Route(service)
    route.endpoint(environ(body))
    assert (route.counts, route.in_flight.count) == ([1], 0)
    answers = route.stream(environ(2 * (body + b"\n")))[2]
    assert route.in_flight.count == 1
    next(answers)
    answers.close()
    assert (route.counts, route.in_flight.count) == ([1, 1, 1], 0)
