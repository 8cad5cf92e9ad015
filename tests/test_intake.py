"""Predictions on their way to what works off the request's path: numbered, bounded, counted, none lost."""

import io
import itertools
import json
import logging
import time

import pytest
from conftest import FLOWER, eventually, shelve

from unpickled.server import Config
from unpickled.server.observe import ids
from unpickled.server.observe.counters import Memory
from unpickled.server.observe.ids import Id
from unpickled.server.observe.intake import MOST_ROWS, Intake
from unpickled.server.observe.lot import MOST, Lot
from unpickled.server.observe.shadows import Shadows
from unpickled.server.observe.source import TAKEN
from unpickled.server.serve.routes import Routes
from unpickled.server.service import Service

GOOD = json.dumps({"features": FLOWER}).encode()
THREE = json.dumps({"features": [FLOWER] * 3}).encode()
RULES = ("/predict", "/models/<name>/predict")
LONG = json.dumps({"features": [FLOWER] * 600}).encode()


def post(routes: Routes, body: bytes, path: str = "/models/iris/predict", **more: str) -> dict[str, str]:
    """The headers of the answer."""
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": path, "CONTENT_LENGTH": str(len(body)), **more}
    return dict(routes.targets[path](environ | {"wsgi.input": io.BytesIO(body)})[1])


def rows(lots: list[Lot], shadow: int | None) -> list[int]:
    """The numbers of the rows that this version has answered, as a shadow if it is one."""
    chosen = [lot for lot in lots if (lot.shadow and lot.shadow.version) == shadow]
    return sorted(number for lot in chosen for number in lot.numbers)


class Notes:
    """A consumer that keeps what it gets."""

    name = "notes"

    def __init__(self) -> None:
        self.lots, self.closed = [], False

    def consume(self, lot) -> None:
        self.lots.append(lot)

    def rest(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


class Defective(Notes):
    """A consumer that raises."""

    name = "defective"

    def consume(self, lot) -> None:
        raise KeyError("a defect")


class Site:
    """The routes of a service with an intake."""

    def __init__(self, service: Service, *consumers: Notes) -> None:
        self.memory = Memory(blocks=1)
        self.block = self.memory.claim()
        self.intake = Intake(self.block, consumers)
        self.routes = Routes(
            service.repository, self.block, service.slots, service.routes._gate, intake=self.intake
        )

    def post(self, body: bytes, path: str = "/models/iris/predict", **more: str) -> dict[str, str]:
        """The headers of the answer."""
        return post(self.routes, body, path, **more)

    @property
    def counts(self) -> list[float]:
        """CONSUMED, DROPPED and LOST rows."""
        return self.memory.read()[(TAKEN, "iris", "1")]


def test_ids(service):
    """Each row takes a number, which the header of its request shows."""
    site = Site(service, Notes())
    first, second, third = (Id.read(site.post(body)["Prediction-Id"]) for body in (GOOD, THREE, GOOD))
    assert (first.token, first.worker) == (site.memory.token, 0)
    assert (second.number - first.number, third.number - second.number) == (1, 3)
    assert Id.read(f"{second}:2") == second._replace(number=second.number + 2, row=2)
    assert Id.read(str(second)) == second
    assert [Id.read(text) for text in ("", "x", f"{second}:", f" {second}", f"{second}:-1")] == [None] * 5


def test_rows_arrive(service):
    """A consumer gets every row once, with its number, its answer and its route, a chunk at a time."""
    notes = Notes()
    site = Site(service, notes)
    site.post(GOOD)
    site.post(json.dumps({"features": [FLOWER] * 1000}).encode(), "/predict")
    before = time.time()
    site.intake.drain()
    assert [len(lot) for lot in notes.lots] == [1, 256, 256, 256, 232]
    numbers = [number for lot in notes.lots for number in lot.numbers]
    assert numbers == list(range(numbers[0], numbers[0] + 1001))
    assert notes.lots[0].requests is None
    assert {request for lot in notes.lots[1:] for request in lot.requests} == {
        range(numbers[1], numbers[-1] + 1)
    }
    assert {lot.source.route for lot in notes.lots} == {"/models/<name>/predict", "/predict"}
    assert all(abs(moment - before) < 60 for lot in notes.lots for moment in lot.times)
    assert list(notes.lots[1].rows[0]) == FLOWER
    assert notes.lots[1].labels[0] == 0
    assert sum(notes.lots[1].scores[0]) == pytest.approx(1)
    assert site.counts == [1001, 0, 0]


def test_versions_and_lines(service):
    """Requests that name their version are taken too, and each line of a stream has an id in its answer."""
    notes = Notes()
    site = Site(service, notes)
    site.post(GOOD, "/models/iris/versions/1/predict")
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/predict", "CONTENT_TYPE": "application/x-ndjson"}
    body = GOOD + b"\n" + THREE + b"\n"
    environ |= {"CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body)}
    lines = b"".join(site.routes.targets["/predict"](environ)[2]).splitlines()
    first, second = (Id.read(json.loads(line)["prediction_id"]) for line in lines)
    assert second.number - first.number == 1
    site.intake.drain()
    numbers = [number for lot in notes.lots for number in lot.numbers]
    assert numbers == [*range(first.number - 1, second.number + 3)]


def test_lots(service):
    """Answers of any number of rows, from several sources, become lots of one source each, every row once."""
    notes = Notes()
    site = Site(service, notes)
    paths = ("/predict", "/models/iris/predict", "/predict")
    for path, body in [*itertools.product(paths, (GOOD, THREE, LONG, THREE))]:
        site.post(body, path)
    site.intake.drain()
    assert max(map(len, notes.lots)) == MOST
    by_route = [[n for lot in notes.lots if lot.source.route == path for n in lot.numbers] for path in RULES]
    assert (
        [len({*numbers}) for numbers in by_route] == [len(numbers) for numbers in by_route] == [2 * 607, 607]
    )
    assert all(len(lot.rows) == len(lot.labels) == len(lot.scores) == len(lot.times) for lot in notes.lots)


def test_full(service):
    """Rows that do not fit are dropped and counted; a single long request always fits."""
    site = Site(service, Notes())
    long = json.dumps({"features": [FLOWER] * (MOST_ROWS + 1)}).encode()
    assert "Prediction-Id" in site.post(long)
    assert "Prediction-Id" in site.post(THREE)
    site.intake.drain()
    ids = [site.post(GOOD)["Prediction-Id"] for _ in range(MOST_ROWS)]
    assert "Prediction-Id" in site.post(GOOD)
    site.intake.drain()
    assert len(set(ids)) == MOST_ROWS
    assert site.counts == [2 * MOST_ROWS + 1, 4, 0]


def test_defect(service, caplog):
    """A consumer that fails is logged once and counted; requests and the other consumers go on."""
    notes = Notes()
    site = Site(service, Defective(), notes)
    with caplog.at_level(logging.ERROR, "unpickled"):
        for _ in range(3):
            site.post(GOOD)
            site.intake.drain()
    assert len(notes.lots) == 3
    assert [record.getMessage() for record in caplog.records] == [
        "defective fails; requests go on without it"
    ]
    assert site.memory.read()[("intake_failures", "defective")] == [3]


def test_successor(service):
    """The rows in the queue of a worker that died are counted as lost, and no id is given twice."""
    site = Site(service, Notes())
    site.post(GOOD)
    site.intake.drain()
    last = Id.read(site.post(THREE)["Prediction-Id"])
    successor = Intake(site.block, [Notes()])
    assert site.counts == [1, 0, 3]
    assert successor._next() > last.number + 10**7
    Intake(site.block, [Notes()])
    assert site.counts == [1, 0, 3]
    assert ids.first(site.block) < 10**9


def test_shadow(service, models, tmp_path):
    """The answers of a shadow come with the numbers that the rows have in the answers to clients."""
    home = shelve(models, tmp_path / "iris", "iris", "forest")
    (home / "serving.toml").write_text("labels = {stable = 1}\nshadow = {version = 2}\n")
    notes, memory = Notes(), Memory(blocks=1)
    intake = Intake(block := memory.claim(), [notes])
    repository = Service(Config(models=str(tmp_path))).repository
    watches = [Shadows(10_000, block, intake.add)]
    routes = Routes(repository, block, service.slots, service.routes._gate, watches, intake)
    first, *_ = [Id.read(post(routes, body)["Prediction-Id"]) for body in (GOOD, THREE, LONG, GOOD)]
    eventually(lambda: intake.drain() or len(rows(notes.lots, 2)) == 605)
    expected = list(range(first.number, first.number + 605))
    assert rows(notes.lots, None) == rows(notes.lots, 2) == expected
    assert {lot.source.served.version for lot in notes.lots} == {1}


def test_end(service):
    """When the service ends, what waits is passed on before the consumers close."""
    notes = Notes()
    site = Site(service, notes)
    site.post(THREE)
    assert not notes.lots
    site.intake.close()
    assert notes.closed
    assert site.counts == [3, 0, 0]
