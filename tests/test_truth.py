"""Truth that clients report: by the ids of predictions, in any form, to any worker, once."""

import gzip
import json
import mmap
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import FLOWER, FLOWERS, PERSON, environment, eventually, generated, serving, shelve, started
from hypothesis import given
from hypothesis import strategies as st
from routes import answers
from sklearn.datasets import load_wine
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import LogisticRegression

from unpickled.export import export_pipeline
from unpickled.server import Config
from unpickled.server.accuracy.pairs import Pairing
from unpickled.server.accuracy.scoreboard import Scoreboard
from unpickled.server.app import flask_app
from unpickled.server.errors import TruthNotStored
from unpickled.server.model.session import load
from unpickled.server.observe import windows
from unpickled.server.observe.ids import Id
from unpickled.server.service import Service
from unpickled.server.truth import store
from unpickled.server.truth.joined import ACCURACY, PAIRED
from unpickled.server.truth.ledger import STATUSES
from unpickled.server.truth.table import Table
from unpickled.server.truth.values import truths_of

NDJSON = "application/x-ndjson"
TYPES = {"JSON": "application/json", "lines": NDJSON, "CSV": "text/csv"}


class Site:
    """A service with its application, and what a client does with truth."""

    def __init__(self, models, **settings):
        self.service = Service(Config.of(models=str(models), **settings))
        before = {*threading.enumerate()}
        if self.service.consumers.intake is not None:
            self.service.consumers.intake.start()
        self._threads = {*threading.enumerate()} - before
        self.client = flask_app(self.service).test_client()

    def predict(self, name="iris", rows=(FLOWER,), settled=True):
        """The ids of predicted rows, which are remembered if ``settled``."""
        answer = self.client.post(f"/models/{name}/predict", json={"features": list(rows)})
        if settled:
            self.settle()
        return numbered(answer.headers["Prediction-Id"], len(rows))

    def settle(self):
        """Wait until all rows that were answered are remembered."""
        recent, intake = self.service.records.recent, self.service.consumers.intake
        eventually(lambda: recent is None or recent.settled(0) >= intake._next())

    def report(self, reports, name="iris", kind="JSON"):
        """The answer to reports of (id, truth)."""
        self.settle()
        body = {"JSON": as_json, "lines": as_lines, "CSV": as_table}[kind](reports)
        return self.client.post(f"/models/{name}/truth", data=body, content_type=TYPES[kind])

    def statuses(self, reports, name="iris", kind="JSON"):
        """The status of each of these reports."""
        answer = self.report(reports, name, kind)
        assert answer.status_code == 200, answer.text
        results = answer.json["results"]
        assert [result["id"] for result in results] == [identity for identity, _ in reports]
        assert Counter(result["status"] for result in results) == Counter(
            {status: answer.json[status] for status in STATUSES}
        )
        return [result["status"] for result in results]

    def counts(self, kind=ACCURACY, name="iris"):
        """Key -> counts of the last hour."""
        memory = self.service.records.truth
        return windows.totals(memory, kind, (name,), "1h", time.time()).counts

    def close(self):
        """End the thread of its intake, as the end of a process does; only that thread empties the queue."""
        if self.service.consumers.intake is not None:
            self.service.consumers.intake._closing.set()
        for thread in self._threads:
            thread.join()


def numbered(header, rows):
    return [header] if rows == 1 else [f"{header}:{row}" for row in range(rows)]


def as_json(reports):
    return json.dumps([{"id": identity, "truth": truth} for identity, truth in reports])


def as_lines(reports):
    return "".join(json.dumps({"id": identity, "truth": truth}) + "\n" for identity, truth in reports)


def as_table(reports):
    return "id,truth\n" + "".join(f"{identity},{truth}\n" for identity, truth in reports)


@pytest.fixture(scope="module")
def site(models):
    """All three models, and nothing but truth."""
    site = Site(models.path, default_model="iris", drift=False)
    yield site
    site.close()


@pytest.fixture(scope="module")
def numbers(regressors):
    """Three regressors."""
    site = Site(regressors.path, drift=False)
    yield site
    site.close()


@pytest.mark.parametrize("kind", TYPES)
def test_taken_once(site, kind):
    """A truth is accepted once, repeated afterwards, and another one contradicts it; the first stands."""
    first, second = site.predict(rows=[FLOWER, FLOWER])
    assert site.statuses([(first, "setosa")], kind=kind) == ["accepted"]
    again = [(first, "setosa"), (first, "virginica"), (second, 2), (second, "virginica"), (second, 1)]
    expected = ["repeated", "contradicting", "accepted", "repeated", "contradicting"]
    assert site.statuses(again, kind=kind) == expected
    assert "the first truth stands, 'setosa'" in site.report([(first, 1)], kind=kind).text
    metrics = site.client.get("/metrics").text
    assert 'unpickled_truth_total{model="iris",status="contradicting"}' in metrics


def test_wrong_rows(site):
    """A row that a request did not have is unknown, as are several rows without one; none is another's."""
    first, second = site.predict(rows=[FLOWER, FLOWER])
    [third] = site.predict()
    header = first.partition(":")[0]
    reports = [(f"{header}:{row}", 2) for row in ("2", "3")] + [(header, 2), (f"{third}:1", 2)]
    assert site.statuses(reports) == ["unknown"] * 4
    reasons = [result["reason"] for result in site.report(reports).json["results"]]
    assert reasons[0] == "the request of this id had 2 rows: there is no row 2, from 0"
    assert reasons[2] == f"the request of this id had 2 rows: name one, from {header}:0 to {header}:1"
    assert reasons[3] == "the request of this id had 1 row: there is no row 1, from 0"
    # Rows by their own numbers, as the payload log has them.
    by_number = [f"{Id.read(identity)}:0" for identity in (first, second, third)]
    assert site.statuses([(identity, 0) for identity in by_number]) == ["accepted"] * 3
    assert site.statuses([(first, 0), (second, 0), (third, 0)]) == ["repeated"] * 3


def test_rows_of_a_long_request(models):
    """The rows of a request are known by their places also where its first ones are forgotten."""
    site = Site(models.path, truth_rows=300, drift=False)
    site.predict()
    long = site.predict(rows=[FLOWER] * 400)
    header, late = long[0].partition(":")[0], Id.read(long[399])
    between = f"{late._replace(number=late.number - 150)}:150"
    reports = [(long[399], 0), (long[99], 0), (between, 0), (str(late), 0), (f"{header}:400", 0)]
    assert site.statuses(reports) == ["accepted", "late", "unknown", "unknown", "unknown"]
    [other] = site.predict()
    assert site.statuses([(f"{header}:400", 0), (other, 0)]) == ["unknown", "accepted"]
    site.close()


def test_one_object(site):
    """A single report needs no list; it may be compressed, and say when the truth became known."""
    [identity] = site.predict()
    report = {"id": identity, "truth": "setosa", "at": "2026-05-01T12:00:00+02:00"}
    body, headers = gzip.compress(json.dumps(report).encode()), {"Content-Encoding": "gzip"}
    answer = site.client.post("/models/iris/truth", data=body, headers=headers)
    assert (answer.status_code, answer.json["accepted"]) == (200, 1)


def test_ids_that_nobody_waits_for(site):
    """Ids that were never given, of another server, of another model, or no ids at all have their status."""
    [identity] = site.predict()
    foreign, later = "aaaaaaaa-0-5", str(Id.read(identity)._replace(number=10**14))
    nowhere = str(Id.read(identity)._replace(worker=999))
    reports = [(text, "setosa") for text in (foreign, later, nowhere, "", "x", identity + ":0")]
    assert site.report(reports).json["error"].startswith("row 3: the id is ''")
    del reports[3]
    assert site.statuses(reports) == ["unknown"] * 4 + ["accepted"]
    assert site.statuses([(identity, 1)], "people") == ["refused"]
    assert "the model 'iris': report it there" in site.report([(identity, 1)], "people").text


@pytest.mark.parametrize(
    ("truth", "words"),
    [
        ("setsa", "no class of this model: did you mean 'setosa'? the classes are setosa, versicolor"),
        (7, "'7' is no class"),
        (True, "'true' is no class"),
        (None, "no class"),
        ([0], "no class"),
        ({"a": 1}, "no class"),
    ],
)
def test_no_class(site, truth, words):
    """A truth that is no class is refused by name, with the classes there are; the id stays free."""
    [identity] = site.predict()
    [result] = site.report([(identity, truth)]).json["results"]
    assert (result["status"], words in result["reason"]) == ("refused", True)
    assert site.statuses([(identity, 0)]) == ["accepted"]


@pytest.mark.parametrize("labels", [[False, True], ["false", "true"], ["False", "True"]])
def test_truth_values(tmp_path, labels):
    """Truth values are classes in JSON, in the spelling of JSON, and in that of Python and pandas."""
    X = np.random.default_rng(0).normal(size=(60, 2))
    y = np.where(X[:, 0] > 0, labels[1], labels[0])
    export_pipeline(LogisticRegression().fit(X, y), X, y, name="boolean", models=tmp_path)
    outputs = load((tmp_path / "boolean/1/model.onnx").read_bytes()).outputs
    truths = truths_of(outputs)
    for spelling in (True, "true", "True", "TRUE"):
        assert truths.bits(truths.read(spelling)) == 1
    assert truths.bits(truths.read(False)) == truths.bits(truths.read("False")) == 0


def test_text_classes(site):
    """The labels of a model may be text."""
    identities = [
        site.client.post("/models/people/predict", json=PERSON).headers["Prediction-Id"] for _ in range(2)
    ]
    reports = [(identities[0], "stays"), (identities[1], "leaves"), (identities[1], "gone")]
    assert site.statuses(reports, "people") == ["accepted", "accepted", "refused"]


def test_numbers(numbers):
    """A regressor takes a number, as JSON or as text; nothing that is none."""
    identities = numbers.predict("area", [FLOWER] * 3)
    pairs = list(zip(identities, (17.5, "1e1", -0.0), strict=True))
    assert numbers.statuses(pairs, "area") == ["accepted"] * 3
    again = [(identities[0], 17.5), (identities[1], 10), (identities[2], 0), (identities[2], 0.5)]
    assert numbers.statuses(again, "area") == ["repeated"] * 3 + ["contradicting"]
    [free] = numbers.predict("area")
    wrong = ["", "x", "1_0", "NaN", None, True, [1, 2], {"y": 1}, "[1", '{"y": 1']
    assert numbers.statuses([(free, value) for value in wrong], "area") == ["refused"] * len(wrong)


def test_several_targets(numbers):
    """Several targets take a list, or an object by their names; in CSV the list is one cell."""
    identities = numbers.predict("areas", [FLOWER] * 3)
    reports = [(identities[0], [17.5, 0.3]), (identities[1], {"petal": 0.3, "sepal": 17.5})]
    assert numbers.statuses(reports, "areas") == ["accepted"] * 2
    again = [(identities[0], {"sepal": 17.5, "petal": 0.3}), (identities[1], [17.5, 0.4])]
    assert numbers.statuses(again, "areas") == ["repeated", "contradicting"]
    table = f'id;truth\n{identities[2]};"[17.5, 0.3]"\n{identities[2]};17.5\n'
    answer = numbers.client.post("/models/areas/truth", data=table, content_type="text/csv")
    assert [result["status"] for result in answer.json["results"]] == ["accepted", "refused"]
    assert "1 numbers, and 2 belong there: send a list of the numbers of sepal, petal" in answer.text


def test_outliers(tmp_path):
    """The truth about a row of an outlier detector is one of its two labels, or the name of one."""
    X = load_wine().data[:, :3]
    model = IsolationForest(n_estimators=5, random_state=0).fit(X)
    export_pipeline(model, X, name="odd", models=tmp_path)
    site = Site(tmp_path, drift=False)
    identities = site.predict("odd", X[:3].tolist())
    reports = list(zip(identities, (-1, "outlier", "1"), strict=True))
    assert site.statuses(reports, "odd") == ["accepted"] * 3
    assert site.statuses([(identities[0], "outlier"), (identities[2], -1)], "odd") == [
        "repeated",
        "contradicting",
    ]
    site.close()


BODIES = {
    "no object": ("3", "application/json", "send {"),
    "no JSON": ("{", "application/json", "the body is not JSON"),
    "a misspelt member": ('[{"id": "a", "thruth": 1}]', "application/json", "did you mean 'truth'?"),
    "a member too many": (
        '[{"id": "a", "truth": 1, "x": 1}]',
        "application/json",
        "row 0 has the member 'x'",
    ),
    "no truth": ('[{"id": "a"}]', "application/json", "row 0 has no truth"),
    "a member twice": ('[{"id": "a", "id": "b", "truth": 1}]', "application/json", "'id' twice"),
    "an id of numbers": ('[{"id": 5, "truth": 1}]', "application/json", "row 0: the id is"),
    "no time": ('[{"id": "a", "truth": 1, "at": "now"}]', "application/json", "no time by ISO 8601"),
    "a table as JSON": ("id,truth\na,1\n", "application/json", "Content-Type: text/csv"),
    "JSON as a table": ('[{"id": "a", "truth": 1}]\n', "text/csv", "application/json"),
    "no header": ("a,1\n", "text/csv", "line 1: the header has the column 'a'"),
    "a column too many": ("id,truth,x\na,1,2\n", "text/csv", "the column 'x'"),
    "a cell too few": ("id,truth\na,1\nb\n", "text/csv", "line 3 has 1 cells"),
    "no line of JSON": ('{"id": "a", "truth": 1}\n{\n', NDJSON, "line 2"),
    "a list on a line": ("[]\n", NDJSON, "line 1 is no object"),
    "another type": ("a", "text/plain", "send application/json"),
}


@pytest.mark.parametrize("name", BODIES)
def test_wrong_bodies(site, name):
    """A body in another form is refused whole, with its place and a remedy, and nothing of it counts."""
    body, kind, words = BODIES[name]
    before = site.service.memory.read()
    answer = site.client.post("/models/iris/truth", data=body, content_type=kind)
    assert answer.status_code == (415 if name == "another type" else 400)
    assert words in answer.json["error"]
    reports = {key: value for key, value in site.service.memory.read().items() if key[0] == "truth"}
    assert reports == {key: value for key, value in before.items() if key[0] == "truth"}


def test_bounds(models):
    """Bodies are as long, and have as many reports, as the settings allow for predictions."""
    site = Site(models.path, max_rows=3, max_body_bytes=1000)
    reports = [("aaaaaaaa-0-1", 0)] * 4
    assert site.report(reports).json["code"] == "too_many_rows"
    assert site.report(reports * 100).json["code"] == "body_too_large"
    assert site.client.post("/models/nothing/truth", json=[]).json["code"] == "unknown_model"
    site.close()


def test_off(models):
    """Where nothing uses truth, a report is told which settings would."""
    client = flask_app(Service(Config.of(models=str(models.path), truth_rows=0))).test_client()
    answer = client.post("/models/iris/truth", json={"id": "aaaaaaaa-0-1", "truth": 0})
    assert (answer.status_code, answer.json["code"]) == (404, "truth_off")
    assert "truth_rows" in answer.json["error"]
    assert "Prediction-Id" not in client.post("/models/iris/predict", json={"features": FLOWER}).headers


def test_late(models):
    """A worker remembers its last rows; the truth about an earlier one is late."""
    site = Site(models.path, truth_rows=4)
    first, *others = [site.predict()[0] for _ in range(5)]
    assert site.statuses([(first, 0), *((identity, 0) for identity in others)]) == ["late", *["accepted"] * 4]
    long = site.predict(rows=[FLOWER] * 300)
    assert site.statuses([(long[295], 0), (long[296], 0), (others[3], 0)]) == ["late", "accepted", "late"]
    site.close()


class Noting:
    """A client that notes the ids of all rows it has asked for."""

    def __init__(self, client, rows):
        self._client = client
        self._rows = rows
        self.ids = []

    def post(self, path, **request):
        answer = self._client.post(path, **request)
        header = answer.headers.get("Prediction-Id")
        lines = [] if header else answer.data.splitlines()
        self.ids += (
            numbered(header, self._rows) if header else [json.loads(line)["prediction_id"] for line in lines]
        )
        return answer


def test_every_protocol(models, tmp_path):
    """Each row that any protocol answers has an id, by which its truth is accepted."""
    shelve(models, tmp_path / "iris", "iris")
    site = Site(tmp_path, predict_route="/vertex", drift=False)
    cells = {name: [value, value + 0.1] for name, value in zip(FLOWERS, FLOWER, strict=True)}
    table = "\n".join(",".join(map(str, row)) for row in (cells, *zip(*cells.values(), strict=True)))
    client = Noting(site.client, rows=2)
    routes = [route for route, _ in answers(client, "iris", cells, table.encode())]
    assert len(client.ids) == len({Id.read(identity) for identity in client.ids}) == 2 * len(routes)
    assert set(site.statuses([(identity, "setosa") for identity in client.ids])) == {"accepted"}
    body = {
        "id": "mine",
        "inputs": [{"name": "numbers", "shape": [1, 4], "datatype": "FP64", "data": FLOWER}],
    }
    answer = site.client.post("/v2/models/iris/infer", json=body)
    assert answer.json["id"] == "mine"
    assert site.statuses([(answer.headers["Prediction-Id"], 0)]) == ["accepted"]
    site.close()


def test_counts(models, tmp_path):
    """Rows are counted when they are predicted, and joined with their truth in the same window."""
    shelve(models, tmp_path / "iris", "iris")
    site = Site(tmp_path, drift=False)
    identities = site.predict(rows=[FLOWER] * 5)
    served = site.service.repository.find("iris")
    key = ("iris", "1", served.sha256[:12])
    scoreboard = Scoreboard(served.model.outputs)
    predicted = scoreboard.predicted([0] * 5)
    assert np.array_equal(site.counts()[key], predicted)
    site.statuses(list(zip(identities[:3], ("setosa", 0, "virginica"), strict=True)))
    site.statuses([(identities[0], "setosa"), (identities[1], 2)])
    labels, scores = served.model.run(served.model.signature.feeds([FLOWER] * 3))
    expected = predicted + scoreboard.count(labels, scores, [0, 0, 2])
    assert site.counts()[key] == pytest.approx(expected)
    site.close()


def test_shadow(models, tmp_path):
    """A row that a shadow has answered too is joined with both answers."""
    shelve(models, tmp_path / "iris", "iris", "forest")
    (tmp_path / "iris" / "serving.toml").write_text(
        "[traffic]\n1 = 1.0\n[shadow]\nversion = 2\nshare = 1.0\n"
    )
    site = Site(tmp_path, drift=False)
    identities = site.predict(rows=[FLOWER] * 4)
    recent, last = site.service.records.recent, Id.read(identities[-1])
    eventually(lambda: recent.find(last.worker, last.number, shadow=True))
    site.statuses([(identity, 0) for identity in identities[:3]] + [(identities[3], 1)])
    [(key, counts)] = site.counts(PAIRED).items()
    assert (key[1], key[3]) == ("1", "2")
    outputs = [each.model.outputs for each in site.service.repository.deployment("iris").versions.values()]
    pair = Pairing(*outputs).report(1, 2, counts)
    assert (pair.rows, pair.only_version, pair.only_shadow) == (4, 0, 0)
    site.close()


def test_versions_that_are_gone(models, tmp_path):
    """Truth about a version that is served no more still knows its classes, also in another process."""
    home = shelve(models, tmp_path / "iris", "iris")
    site = Site(tmp_path, drift=False)
    identities = site.predict(rows=[FLOWER] * 2)
    shelve(models, home, "people", first=2)
    (home / "serving.toml").write_text("load = [2]\n")
    site.service.repository.refresh()
    site.service.repository.refresh()
    recent = site.service.records.recent
    state = recent.__getstate__()
    other = type(recent).__new__(type(recent))
    other.__setstate__((SimpleNamespace(detach=lambda: os.dup(recent._descriptor)), *state[1:]))
    known = other.find(0, Id.read(identities[0]).number)
    assert (known.version.outputs.names, known.label) == (("setosa", "versicolor", "virginica"), 0)
    assert site.statuses([(identities[0], "setosa"), (identities[1], "stays")]) == ["accepted", "refused"]
    site.close()


def test_log(models, tmp_path):
    """With a payload log, truth is stored by date; what is not remembered is kept for the log's join."""
    folder, settings = tmp_path / "log", {"log_share": 0.01, "default_model": "iris", "drift": False}
    site = Site(models.path, log_folder=str(folder), **settings)
    [identity] = site.predict()
    reports = [("aaaaaaaa-1-5:2", "virginica"), (identity, "setosa"), (identity, 0), ("aaaaaaaa-0-5", "x")]
    assert site.statuses(reports) == ["kept", "accepted", "repeated", "refused"]
    today = datetime.now(UTC)
    lines = list(store.read(folder, "iris", today - timedelta(days=1)))
    assert [(line.id, line.truth, line.at) for line in lines] == [("aaaaaaaa-1-7", 2, ""), (identity, 0, "")]
    [path] = (folder / "iris" / "truth").glob("date=*/*.jsonl")
    assert path.name == f"{Id.read(identity).token}-0.jsonl"
    assert (folder.stat().st_mode & 0o777, path.stat().st_mode & 0o777) == (0o700, 0o600)
    assert list(store.read(folder, "iris", today + timedelta(days=1))) == []
    site.close()


def test_log_alone(models, tmp_path):
    """Without remembered rows, everything that may be an id is kept."""
    site = Site(models.path, log_share=1.0, log_folder=str(tmp_path / "log"), truth_rows=0, drift=False)
    assert site.statuses([("aaaaaaaa-1-5", 0), ("x", 0)]) == ["kept", "unknown"]
    site.close()


def test_full_disk(models, tmp_path):
    """Where the disk takes nothing, the client is told so, and the same report is accepted later."""
    blocked = tmp_path / "iris" / "truth"
    blocked.parent.mkdir()
    blocked.write_text("")
    site = Site(models.path, log_share=0.01, log_folder=str(tmp_path), default_model="iris", drift=False)
    [identity] = site.predict()
    answer = site.report([(identity, 0)])
    assert (answer.status_code, answer.json["code"]) == (503, "truth_not_stored")
    blocked.unlink()
    assert site.statuses([(identity, 0)]) == ["accepted"]
    site.close()


def test_room(models, tmp_path):
    """Truth of any ids fills no disk: it gets an eighth of log_keep_bytes, and leaves room for known ids."""
    log = {"log_share": 0.01, "log_folder": str(tmp_path / "log"), "log_keep_bytes": 2**20}
    site = Site(models.path, default_model="iris", drift=False, **log)
    answers = [
        site.report([(f"aaaaaaaa-0-{number}", 0) for number in range(first, first + 500)])
        for first in range(0, 4000, 500)
    ]
    refused = [answer.json["code"] for answer in answers if answer.status_code == 503]
    assert 2 < len(refused) < 8
    assert "raise log_keep_bytes or lower log_keep_days" in answers[-1].json["error"]
    paths = list((tmp_path / "log").glob("iris/truth/date=*/*.jsonl"))
    assert 2**16 < sum(path.stat().st_size for path in paths) <= 2**17
    [identity] = site.predict()
    assert site.statuses([(identity, 0)]) == ["accepted"]
    site.close()


def test_room_of_all(tmp_path):
    """Files of all processes, models and dates count, and what is removed makes room."""
    old = tmp_path / "people" / "truth" / "date=2026-01-01" / "aaaaaaaa-3.jsonl"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"x" * 1000)
    kept = store.Kept("aaaaaaaa-0-1", 0, "", datetime.now(UTC).isoformat())
    with pytest.raises(TruthNotStored, match="a quarter of log_keep_bytes"):
        store.Store(str(tmp_path), "aaaaaaaa-0", 4 * 1000).add("iris", [kept])
    assert not (tmp_path / "iris").exists()
    ledger = store.Store(str(tmp_path), "aaaaaaaa-0", 4 * 1100)
    ledger.add("iris", [kept])
    with pytest.raises(TruthNotStored, match="an eighth of log_keep_bytes"):
        ledger.add("iris", [kept], remembered=False)
    old.unlink()
    store.Store(str(tmp_path), "aaaaaaaa-1", 4 * 1100).add("iris", [kept], remembered=False)


def test_store(tmp_path):
    """A line that a crash has cut stays alone; what was reported twice is there twice, in order."""
    ledger = store.Store(str(tmp_path), "aaaaaaaa-0", 10**9)
    # All of one date, at midnight too.
    now = datetime.now(UTC).replace(hour=12)
    lines = [
        store.Kept(f"aaaaaaaa-0-{row}", row, "", (now + timedelta(seconds=row)).isoformat())
        for row in range(3)
    ]
    ledger.add("iris", lines[:2])
    [path] = (tmp_path / "iris" / "truth").glob("date=*/*.jsonl")
    with path.open("ab") as file:
        file.write(b'{"id":"aaaa')
    ledger.add("iris", [lines[2], lines[0]._replace(truth=9)])
    found = list(store.read(tmp_path, "iris"))
    assert found == [lines[0], lines[0]._replace(truth=9), *lines[1:]]
    path.chmod(0o400)
    if os.geteuid():
        with pytest.raises(TruthNotStored):
            ledger.add("iris", lines)


def test_at_once(models):
    """Where many threads report the same truth at once, one is accepted."""
    site = Site(models.path, default_model="iris", drift=False)
    identities = site.predict(rows=[FLOWER] * 50)
    barrier = threading.Barrier(8)

    def report(_):
        barrier.wait()
        return site.statuses([(identity, 0) for identity in identities])

    with ThreadPoolExecutor(8) as pool:
        taken = Counter(status for statuses in pool.map(report, range(8)) for status in statuses)
    assert taken == {"accepted": 50, "repeated": 350}
    site.close()


def test_too_many_at_once(models):
    """Reports that wait, as for a slow disk, leave threads for predictions: further ones get 503."""
    site = Site(models.path, threads=4, default_model="iris", drift=False)
    [identity] = site.predict()
    with ThreadPoolExecutor(1) as pool:
        with site.service.records.recent.locked():
            waiting = pool.submit(site.statuses, [(identity, 0)])
            eventually(lambda: not site.service.consumers.ledger._places._value)
            assert site.report([(identity, 0)]).json["code"] == "overloaded"
            assert not waiting.done()
            assert site.client.post("/predict", json={"features": FLOWER}).status_code == 200
        assert waiting.result() == ["accepted"]
    site.close()


@generated(25)
@given(
    st.integers(1, 7),
    st.lists(st.integers(1, 9), min_size=1, max_size=12),
    st.data(),
)
def test_any_ids(models, rows, requests, data):
    """Whatever was asked, the last rows are remembered under their ids, with their own answers."""
    site = SITES.get(rows) or SITES.setdefault(rows, Site(models.path, truth_rows=rows, drift=False))
    flowers = [[*FLOWER[:3], FLOWER[3] + step] for step in range(10)]
    identities = [
        identity for count in requests for identity in site.predict(rows=flowers[:count], settled=False)
    ]
    site.settle()
    recent = site.service.records.recent
    expected = site.service.repository.find("iris").model
    for place in data.draw(st.lists(st.integers(0, len(identities) - 1), max_size=5)):
        identity = Id.read(identities[place])
        known = recent.find(identity.worker, identity.number)
        assert (known is not None) == (place >= len(identities) - rows)
        if known is not None:
            row = flowers[int(identities[place].partition(":")[2] or 0)]
            labels, scores = expected.run(expected.signature.feeds([row]))
            assert (known.label, known.scores.tolist()) == (labels[0], pytest.approx(list(scores[0])))


def test_right_behind(models, monkeypatch):
    """Truth that follows its prediction at once is accepted, whatever other models answer meanwhile."""
    # A worker that is held up for longer would be given up.
    monkeypatch.setattr("unpickled.server.truth.ledger._LONGEST", 60.0)
    site, over = Site(models.path, drift=False), threading.Event()

    def ask() -> None:
        client = flask_app(site.service).test_client()
        while not over.is_set():
            client.post("/models/people/predict", json=PERSON)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        for _ in range(25):
            identities = [site.predict(settled=False)[0] for _ in range(20)]
            reports = as_json([(identity, 0) for identity in identities])
            answer = site.client.post("/models/iris/truth", data=reports, content_type=TYPES["JSON"])
            assert answer.json["accepted"] == 20, answer.text
    finally:
        over.set()
        thread.join()
        site.close()


# Rows that are remembered -> the site that does.
SITES: dict[int, Site] = {}


# Reads the last rows of a table until it has read many, and prints how many were not whole.
READER = """
import mmap, sys
from unpickled.server.truth.table import Table
with open(sys.argv[1], "r+b") as file:
    table = Table(memoryview(mmap.mmap(file.fileno(), 0)), 8)
whole = torn = 0
while whole < 3000:
    last = table.settled
    for number in range(max(0, last - 10), last):
        answer = table.read(number)
        scores = answer and table.scores(answer, 3)
        if scores is not None:
            right = (answer.time, answer.label, *scores) == (number, number % 100, number, number, number)
            whole, torn = whole + right, torn + (not right)
print(torn)
"""


def test_overwriting(tmp_path):
    """A process that reads while another one overwrites gets whole rows, or none."""
    path = tmp_path / "table"
    path.write_bytes(bytes(Table.size(8)))
    with path.open("r+b") as file:
        table = Table(memoryview(mmap.mmap(file.fileno(), 0)), 8)
    command = [sys.executable, "-c", READER, str(path)]
    with started(command, stdout=subprocess.PIPE, text=True, env=environment()) as reader:
        first = 0
        while reader.poll() is None:
            numbers = list(range(first, first + 1 + first % 5))
            scores = np.repeat(np.array(numbers, float), 3).reshape(-1, 3)
            table.write(0, numbers, numbers, [number % 100 for number in numbers], scores)
            first += len(numbers)
            table.settle(first)
        assert (reader.stdout.read(), reader.returncode) == ("0\n", 0)


def test_two_workers(models, tmp_path):
    """Truth finds rows of other workers, and of one that was killed; no id is given twice."""
    flags = ("--workers", "2", "--default-model", "iris", "--no-drift")
    body = json.dumps({"features": FLOWER}).encode()
    with serving(tmp_path, *flags, models=models.path) as server:
        identities = asked(server, body, 60)
        # Rows that are in the queue of a worker die with it: wait until the last of each is remembered.
        last = {Id.read(identity).worker: identity for identity in identities}
        told(server, last.values())
        before = server.workers()
        os.kill(before[0], signal.SIGKILL)
        eventually(lambda: len(set(server.workers()) - {before[0]}) == 2 and server.answers())
        identities += asked(server, body, 60)
        assert len(set(identities)) == 120
        # The kernel chooses the worker of each connection.
        workers = {Id.read(identity).worker for identity in identities}
        eventually(lambda: len(workers | {Id.read(each).worker for each in asked(server, body, 9)}) > 1)
        final = {Id.read(identity).worker: identity for identity in identities}
        told(server, final.values())
        reports = as_json([(identity, "setosa") for identity in identities]).encode()
        with ThreadPoolExecutor(4) as pool:
            taken = list(pool.map(lambda _: server.ask("/models/iris/truth", reports)[1], range(4)))
        known = len({*last.values(), *final.values()})
        assert sum(answer["accepted"] for answer in taken) == 120 - known
        assert sum(answer["repeated"] for answer in taken) == 360 + known


def told(server, identities):
    """Report the truth of these rows until all are remembered: a report waits for two seconds at most."""
    reports = as_json([(identity, "setosa") for identity in identities]).encode()
    eventually(lambda: server.ask("/models/iris/truth", reports)[1]["repeated"] == len(identities))


def asked(server, body, count):
    """The ids of so many predictions, each over a connection of its own."""
    identities = []
    for _ in range(count):
        with server.connect() as connection:
            head = b"Host: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
            connection.sendall(b"POST /predict HTTP/1.1\r\n" + head + body)
            head = b"".join(iter(lambda: connection.recv(4096), b"")).decode().lower()
        identities.append(head.partition("prediction-id: ")[2].partition("\r\n")[0])
    return identities


@pytest.mark.parametrize("gone", [(), (0,), (1,), (2,), (0, 1), (1, 2), (0, 2), (0, 1, 2)])
def test_lines_are_forgotten(tmp_path, caplog, gone):
    """Truth of some rows is taken out, wherever it stands; the rest and later lines are read as before."""
    lines = [
        store.Kept(f"aaaaaaaa-0-{number}", 1.0, "", f"2026-11-29T12:00:0{number}") for number in range(4)
    ]
    keeper = store.Store(str(tmp_path), "a", 10**9)
    keeper.add("iris", lines[:3])
    assert store.forget(tmp_path, "iris", {lines[number].id for number in gone}) == len(gone)
    keeper.add("iris", lines[3:])
    assert [*store.read(tmp_path, "iris")] == [line for place, line in enumerate(lines) if place not in gone]
    text = "".join(path.read_text() for path in tmp_path.rglob("*.jsonl"))
    assert not [number for number in gone if lines[number].id in text]
    assert not caplog.records
