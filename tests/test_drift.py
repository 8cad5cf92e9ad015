"""Drift of a server that runs: rows of all workers are counted, sampled fairly, judged and told."""

import json
import os
import random
import re
import shutil
import signal
import time

import msgspec
import numpy as np
import pandas as pd
import pytest
from conftest import FLOWER, Serving, eventually, serving
from lots import lot
from routes import answers

from unpickled.__main__ import main
from unpickled.export import export_pipeline
from unpickled.server import Config
from unpickled.server.app import flask_app
from unpickled.server.artifact.manifest import FILE
from unpickled.server.config import Observing, Truth
from unpickled.server.drift.binnings import Binnings
from unpickled.server.drift.counting import KIND, RATE, Counting
from unpickled.server.drift.publisher import Publisher
from unpickled.server.drift.sample import Sample
from unpickled.server.observe import windows
from unpickled.server.observe.drifts import DRIFTS, VersionDrifts
from unpickled.server.observe.notice import Posted
from unpickled.server.observe.source import Source
from unpickled.server.service import Service


class Site:
    """A service of its own without sockets, whose intake works when the test says so."""

    def __init__(self, config: Config) -> None:
        self.service = Service(config)
        self.client = flask_app(self.service).test_client()

    def post(self, model: str, rows: list) -> None:
        """Have these rows answered and counted."""
        assert self.client.post(f"/models/{model}/predict", json={"features": rows}).status_code == 200
        self.service.consumers.intake.drain()

    def drift(self, model: str = "iris", query: str = "") -> dict:
        return self.client.get(f"/models/{model}/drift{query}").json


@pytest.fixture
def site(models):
    return Site(Config(models=str(models.path), default_model="iris"))


@pytest.fixture(scope="module")
def server(models, tmp_path_factory):
    """A server of two workers."""
    with serving(tmp_path_factory.mktemp("server"), "--workers", "2", models=models.path) as server:
        yield server


def send(server: Serving, model: str, rows: list, at_once: int = 10) -> None:
    """Send rows by requests over connections of their own, so that all workers get some."""
    for start in range(0, len(rows), at_once):
        body = json.dumps({"features": rows[start : start + at_once]}).encode()
        assert server.ask(f"/models/{model}/predict", body)[0] == 200


def counted(server: Serving, model: str) -> int:
    """The rows of a model that were looked at in the longest window, which gets them last."""
    versions = server.ask(f"/models/{model}/drift?window=7d")[1]["versions"]
    return versions[0]["rows"] if versions else 0


def test_workers_add_up(server, models):
    """Each row that two workers answer is counted once, and one that is killed takes none with it."""
    rows = models.rows["iris"].tolist()
    send(server, "iris", rows)
    eventually(lambda: counted(server, "iris") == 150)
    workers = server.workers()
    os.kill(workers[0], signal.SIGKILL)
    eventually(lambda: len(server.workers()) == 2 and set(server.workers()) != set(workers))
    eventually(server.answers)
    send(server, "iris", rows)
    eventually(lambda: counted(server, "iris") == 300)
    (version,) = server.ask("/models/iris/drift")[1]["versions"]
    assert (version["sampled"], version["judged"], version["drifted"]) == (1.0, False, False)
    assert "500" in version["note"]
    assert [round(sum(each["now"] for each in part["bins"]), 9) for part in version["features"]] == [1] * 4


def test_shift_is_found(server, models, capsys):
    """A feature that has moved is named after 500 rows, by the page and by the command."""
    shifted = models.rows["iris"].copy()
    shifted[:, 2] *= 1.5

    def is_judged() -> bool:
        send(server, "forest", shifted.tolist())
        return counted(server, "forest") >= 500

    eventually(is_judged)
    (version,) = server.ask("/models/forest/drift?window=7d")[1]["versions"]
    drifted = {part["name"] for part in version["features"] if part["drifted"]}
    assert version["drifted"]
    assert "petal_length" in drifted
    assert "sepal_length" not in drifted
    assert main(["drift", "forest", "--window", "1h", "--url", server.url]) == 3
    assert re.search(r"petal_length +yes", capsys.readouterr().out)
    assert main(["drift", "people", "--url", server.url]) == 1


@pytest.mark.parametrize("name", ["people", "forest", "spending", "areas"])
def test_every_protocol(models, regressors, tmp_path, name):
    """The rows of every protocol are counted, numbers and categories, and so are the answers to them."""
    home = models if name in models.rows else regressors
    shutil.copytree(home.path / name, tmp_path / name)
    site = Site(Config.of(models=str(tmp_path), default_model=name, predict_route="/vertex"))
    features = site.service.repository.find(name).model.signature.features
    table = pd.DataFrame(home.rows[name]).iloc[:6].set_axis([feature.name for feature in features], axis=1)
    cells = json.loads(table.to_json(orient="split"))["data"]
    columns = {column: list(values) for column, values in zip(table, zip(*cells, strict=True), strict=True)}
    member = "prediction" if home is regressors else "probabilities"
    written = table.to_csv(index=False).encode()
    routes = [route for route, _ in answers(site.client, name, columns, written, member=member)]
    site.service.consumers.intake.drain()
    assert not any(kind == "intake_failures" for kind, *_ in site.service.memory.read())
    (version,) = site.drift(name)["versions"]
    assert (version["rows"], version["sampled"]) == (6 * len(routes), 1.0)
    assert all(round(sum(cell["now"] for cell in part["bins"]), 9) == 1 for part in version["predictions"])
    now = [part["missing"]["now"] for part in version["features"]]
    assert now == pytest.approx(table.isna().mean().tolist())


def test_busy_moment(site):
    """A fair sample is counted where more rows come than a worker looks at, and its share is told."""
    rows = [[row, 3.5, 1.4, 0.2] for row in np.linspace(4.3, 7.9, 4000)]
    site.post("iris", rows)
    (version,) = site.drift()["versions"]
    assert (version["rows"], version["sampled"]) == (RATE, RATE / 4000)
    length = version["features"][0]["bins"]
    widths = [(min(each["upper"] or 7.9, 7.9) - max(each["lower"] or 4.3, 4.3)) / 3.6 for each in length]
    assert [each["now"] for each in length] == pytest.approx(widths, abs=0.12)


def test_sample_is_fair(service):
    """Each row has the same chance, wherever it stands and however many rows its request has."""
    source = Source(service.repository.find("iris"), "/predict", memoryview(b""))
    chance, places = random.Random(1), np.zeros(100)
    for _ in range(2000):
        sample = Sample(5, chance)
        for start, end in ((0, 1), (1, 2), (2, 40), (40, 41), (41, 100)):
            numbers = range(start, end)
            sample.offer(lot(source, [(number,) for number in numbers], numbers, numbers))
        (drawn,) = sample.drawn()
        assert (drawn.answered, len(drawn.rows)) == (100, 5)
        places[[row.row[0] for row in drawn.rows]] += 1
    expected = 2000 * 5 / 100
    assert ((places - expected) ** 2 / expected).sum() < 150
    assert Sample(0, chance).drawn() == []


def test_tokens(service):
    """A worker looks at no more rows than its rate allows over time."""
    counting = Counting(windows.shared(1, 0.0).claim(), Binnings(), rate=100)
    served = service.repository.find("iris")
    source = Source(served, "/predict", memoryview(b""))
    began = time.monotonic()
    for _ in range(20):
        counting.consume(lot(source, [FLOWER] * 80, [0] * 80, [[1, 0, 0]] * 80))
        counting.rest()
    memory = counting._windows._block._memory
    answered, rows = windows.total(memory, KIND, served.key, "1h", time.time())[0][:2]
    assert answered == 1600
    assert 100 <= rows <= 100 + 100 * (time.monotonic() - began)


def test_shadows(service):
    """Answers that no client gets are not counted."""
    memory = windows.shared(1, 0.0)
    counting = Counting(memory.claim(), Binnings())
    served = service.repository.find("iris")
    source = Source(served, "/predict", memoryview(b""))
    for shadow in (None, service.repository.find("forest")):
        counting.consume(lot(source, [FLOWER], [0], [[1, 0, 0]], shadow=shadow))
    counting.rest()
    totals = windows.totals(memory, KIND, (), "24h", time.time())
    assert {name: counts[:2].tolist() for name, counts in totals.counts.items()} == {served.key: [1, 1]}


def test_new_reference(models, tmp_path):
    """A version that is replaced in place begins anew: its reference may be another one."""
    shutil.copytree(models.path / "iris", tmp_path / "iris")
    site = Site(Config(models=str(tmp_path), reload_seconds=0))
    site.post("iris", [FLOWER] * 20)
    assert site.drift()["versions"][0]["rows"] == 20
    pipeline, X = models.pipelines["forest"], models.rows["iris"]
    other = export_pipeline(pipeline, X, models=tmp_path / "other", name="iris").path
    shutil.copy(other, tmp_path / "iris" / "1" / FILE)
    eventually(lambda: site.service.repository.refresh() and not site.drift()["versions"])


def test_no_reference(site):
    """A version without a reference has its rows counted, and the report says why nothing is measured."""
    served = site.service.repository.find("iris")
    older = msgspec.structs.replace(served.model.manifest, reference=None)
    served.model.manifest = older
    site.post("iris", [FLOWER] * 30)
    (version,) = site.drift()["versions"]
    assert (version["rows"], version["sampled"], version["features"]) == (30, 1.0, [])
    assert "export it again" in version["note"]


def test_windows_and_errors(site):
    """A window is one of three; a report says since when it counts; unknown models are told as elsewhere."""
    report = site.drift(query="?window=1h")
    assert (report["window"], report["complete"], report["versions"]) == ("1h", False, [])
    assert "when the server started" in report["note"]
    assert site.drift()["window"] == "24h"
    wrong = site.client.get("/models/iris/drift?window=2h")
    assert (wrong.status_code, wrong.json["allowed"]) == (400, ["1h", "24h", "7d"])
    assert "1h, 24h, 7d" in wrong.json["error"]
    unknown = site.client.get("/models/iriss/drift")
    assert (unknown.status_code, unknown.json["code"]) == (404, "unknown_model")


def test_off(models):
    """drift = false counts nothing, takes no memory, and is named by the page."""
    config = Config(models=str(models.path), observing=Observing(drift=False), truth=Truth(truth_rows=0))
    site = Site(config)
    assert site.service.consumers.intake is None
    assert site.service.records.drift is None
    answer = site.client.get("/models/iris/drift")
    assert (answer.status_code, answer.json["code"]) == (404, "not_measured")
    assert "drift = true" in answer.json["error"]
    assert "unpickled_drift_rows{" not in site.client.get("/metrics").text


def test_metrics(site, models):
    """Prometheus gets the rows, their share, and once they are judged the drift of each feature."""
    site.post("iris", np.tile(models.rows["iris"] * [1, 1, 2, 1], (4, 1))[:RATE].tolist())
    # One model has more rows than a worker looks at, however slow it is, and another one too few to judge.
    site.post("forest", np.tile(models.rows["forest"], (4, 1)).tolist())
    site.post("people", [[41.0, 2100.5, "Bonn", "pro"]] * 3)
    memory = site.service.records.drift
    memory.post(b"")
    publisher = Publisher(memory, site.service.repository, Binnings())
    for _ in range(4):
        publisher.rest()
    text = site.client.get("/metrics").text
    samples = dict(re.findall(r"(?m)^unpickled_drift_(\w+\{.*\}) (\S+)$", text))
    assert samples['rows{model="iris",version="1"}'] == "500.0"
    assert float(samples['sampled{model="forest",version="1"}']) < 1
    assert 'rows{model="people",version="1"}' in samples
    assert not any("people" in name and "feature" in name for name in samples)
    labels = '{{feature="{}",model="iris",part="feature",version="1"}}'.format
    alarms = [samples[f"alarm{labels(name)}"] for name in ("petal_length", "sepal_width")]
    assert alarms == ["1.0", "0.0"]
    assert float(samples[f"psi{labels('petal_length')}"]) > 1


def test_one_worker_measures(site):
    """A worker that finds a measurement of another does not measure, and what is old is not told."""
    memory, repository = site.service.records.drift, site.service.repository
    publishers = [Publisher(memory, repository, Binnings()) for _ in range(2)]
    moments = []
    for publisher in publishers:
        for _ in range(4):
            publisher.rest()
        moments.append(DRIFTS.posted(memory, time.time()).moment)
    assert moments[0] == moments[1] > 0
    DRIFTS.post(memory, Posted(1000.0, [VersionDrifts("iris", "1", 5, 1.0, [])]))
    assert len(DRIFTS.posted(memory, 1001.0).versions) == 1
    assert len(DRIFTS.posted(memory, 2000.0).versions) == 0
