"""GET /metrics: the figures of real applications, processes and model folders."""

import gc
import multiprocessing
import shutil
import subprocess
import time
from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd
import pytest
from conftest import FLOWER, eventually, shelve
from handmade import NUMBERS, classes, regressor, store
from msgspec.structs import replace
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from unpickled.server import Config
from unpickled.server.app import flask_app
from unpickled.server.inference.prediction import Prediction
from unpickled.server.observe import tally
from unpickled.server.observe.counters import Memory
from unpickled.server.observe.exposition import exposition
from unpickled.server.observe.tally import BUCKETS, Tally
from unpickled.server.service import Service

PROMTOOL = shutil.which("promtool")
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
OF_IRIS = {"model": "iris", "version": "1"}


class Server:
    """An application on a models folder, and the figures in its /metrics."""

    def __init__(self, folder: Path, memory: Memory | None = None, **settings: object) -> None:
        config = Config(models=str(folder), reload_seconds=0, **settings)
        self.service = Service(config, memory)
        self.client = flask_app(self.service).test_client()

    def predict(self, rows: list, path: str = "/predict") -> int:
        return self.client.post(path, json={"features": rows}).status_code

    def text(self, accept: str | None = None) -> str:
        return self.client.get("/metrics", headers={"Accept": accept} if accept else {}).text

    def figure(self, name: str, **labels: str) -> float:
        """The sum of the samples of that name that have these labels."""
        return sum(value for series, value in self.figures(name) if series.items() >= labels.items())

    def figures(self, name: str) -> list[tuple[dict[str, str], float]]:
        samples = (sample for family in parse(self.text()) for sample in family.samples)
        return [(sample.labels, sample.value) for sample in samples if sample.name == f"unpickled_{name}"]


@pytest.fixture
def home(models, tmp_path) -> Path:
    """models/iris/ with one version."""
    return shelve(models, tmp_path / "models" / "iris", "iris")


@pytest.fixture
def server(home) -> Server:
    return Server(home.parent)


def test_requests(server):
    """Requests are counted by version, route and status."""
    statuses = [server.predict(FLOWER), server.predict(FLOWER, "/models/iris/predict"), server.predict([1])]
    assert statuses == [200, 200, 400]
    assert server.figure("requests_total", **OF_IRIS, route="/predict", status="200") == 1
    assert server.figure("requests_total", **OF_IRIS, route="/models/<name>/predict", status="200") == 1
    assert server.figure("requests_total", **OF_IRIS, route="/predict", status="400") == 1
    assert server.figure("requests_total", **OF_IRIS) == 3


def test_other_requests(server):
    """Requests that no version answers are counted without a model, and without their paths."""
    for path in ("/livez", "/nothing/here", "/nothing/there", "/models/wine"):
        server.client.get(path)
    none = {"model": "", "version": ""}
    assert server.figure("requests_total", **none, route="/livez", status="200") == 1
    assert server.figure("requests_total", **none, route="", status="404") == 2
    assert server.figure("requests_total", **none, route="/models/<name>", status="404") == 1
    assert "nothing" not in server.text()


def test_durations(server):
    """The histogram has every request of a version; the phases of answered ones add up to its sum."""
    for _ in range(5):
        server.predict(FLOWER)
    phases = {labels["phase"]: value for labels, value in server.figures("phase_seconds_total")}
    total = server.figure("request_duration_seconds_sum", **OF_IRIS)
    assert sum(phases.values()) == pytest.approx(total)
    assert list(phases) == ["decode", "encode", "queue", "read", "run"]
    server.predict([1])
    assert server.figure("request_duration_seconds_sum", **OF_IRIS) > total
    assert server.figure("request_duration_seconds_count", **OF_IRIS) == 6


def test_buckets(home, monkeypatch):
    """Each request is in every bucket whose bound it does not exceed."""
    memory = Memory(blocks=1)
    server = Server(home.parent, memory)
    counts = Tally(memory.claim(), "iris", 1, "/predict", classes("setosa", "versicolor", "virginica"))
    with monkeypatch.context() as clock:
        clock.setattr(tally, "perf_counter", lambda: 1000.0)
        for duration in (*(0.6 * bound for bound in BUCKETS), 100.0):
            counts.failed(500, 1000.0 - duration)
    buckets = [value for _, value in server.figures("request_duration_seconds_bucket")]
    assert buckets == sorted(buckets)
    assert buckets[-5:] == [14.0, 15.0, 16.0, 17.0, 18.0]
    assert server.figure("request_duration_seconds_bucket", le="1.0") == 14


@pytest.mark.parametrize("rows", [1, 3, 300])
def test_rows_and_classes(server, models, rows):
    """Each row counts for its class, however many rows a request has."""
    sent = models.rows["iris"][::7].tolist() * 20
    answered = models.pipelines["iris"].predict(sent[:rows]).tolist()
    assert server.predict(sent[:rows]) == 200
    assert server.figure("rows_total", **OF_IRIS) == rows
    names = ("setosa", "versicolor", "virginica")
    counts = {name: answered.count(label) for label, name in enumerate(names)}
    assert {
        name: server.figure("predictions_total", **OF_IRIS, **{"class": name}) for name in names
    } == counts


@pytest.mark.parametrize("name", ["area", "areas", "spending"])
@pytest.mark.parametrize("count", [1, 3, 60])
def test_predicted_values(regressors, name, count):
    """Each number counts in the buckets whose bounds it does not exceed, however many a request has."""
    server = Server(regressors.path)
    rows = pd.DataFrame(regressors.rows[name]).dropna()[-count:]
    rows = rows if name == "spending" else rows.to_numpy()
    numbers = regressors.pipelines[name].predict(rows).reshape(count, -1)
    assert server.predict(np.asarray(rows).tolist(), f"/models/{name}/predict") == 200
    outputs = server.service.repository.find(name).model.manifest.outputs
    for target, deciles, column in zip(outputs.targets, outputs.deciles, numbers.T, strict=True):
        labels = {"model": name, "version": "1", "target": target}
        for bound in deciles:
            below = server.figure("predicted_value_bucket", **labels, le=str(bound))
            assert below == (column <= bound).sum()
        assert server.figure("predicted_value_bucket", **labels, le="+Inf") == count
        total = column.sum() if deciles[0] >= 0 else 0.0
        assert server.figure("predicted_value_sum", **labels) == pytest.approx(total)
    assert server.figure("rows_total", model=name) == count


def test_values_below_zero(tmp_path):
    """Values that may be negative have no sum, which could fall; both formats are sound."""
    store(tmp_path, "double", regressor())
    server = Server(tmp_path)
    assert [server.predict([value]) for value in (-1.5, 0.0, 9.0)] == [200] * 3
    families = {family.name: family for family in parse_openmetrics(server.text(OPENMETRICS))}
    samples = {sample.labels["le"]: sample.value for sample in families["unpickled_predicted_value"].samples}
    assert samples == {"-2.0": 1, "0.0": 2, "2.0": 2, "+Inf": 3}
    assert server.figures("predicted_value_count") == server.figures("predicted_value_sum") == []


def test_a_number_far_out_does_not_spoil_the_sum(tmp_path):
    """The sum takes a number such as 1e300 for one a thousand times further out than the deciles."""
    outputs = replace(NUMBERS.outputs, deciles=((1.0, 3.0),))
    store(tmp_path, "double", regressor(outputs=outputs))
    server = Server(tmp_path)
    assert [server.predict([value]) for value in (1.0, 1e299, 0.5)] == [200] * 3
    assert server.predict([[1e300], [2.0], [5e307], [5e307]]) == 200
    assert server.figure("predicted_value_sum") == 2.0 + 1.0 + 4.0 + 4 * 3003.0
    assert server.figure("predicted_value_bucket", le="3.0") == 2
    assert server.figure("predicted_value_count") == 7


def test_formats(server):
    """A client gets OpenMetrics if it asks for it, else Prometheus' text, with the same figures."""
    server.predict(FLOWER)
    plain, openmetrics = (
        server.client.get("/metrics"),
        server.client.get("/metrics", headers={"Accept": OPENMETRICS}),
    )
    assert plain.content_type.startswith("text/plain; version=0.0.4")
    assert openmetrics.content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert openmetrics.text.endswith("# EOF\n")
    names = {sample.name for family in parse_openmetrics(openmetrics.text) for sample in family.samples}
    assert names == {sample.name for family in parse(plain.text) for sample in family.samples}


def test_a_format_that_is_none(server):
    """A client that names an unknown version of a format gets Prometheus' text."""
    answer = server.client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=abc"})
    assert (answer.status_code, answer.content_type[:10]) == (200, "text/plain")


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed: it comes with Prometheus")
def test_promtool_has_no_complaint(home):
    """promtool accepts names, units and order."""
    store(home.parent, "double", regressor())
    server = Server(home.parent)
    server.predict(FLOWER, "/models/iris/predict")
    server.predict([-1.0], "/models/double/predict")
    completed = subprocess.run(
        [str(PROMTOOL), "check", "metrics"], input=server.text(), capture_output=True, text=True, check=False
    )
    assert (completed.returncode, completed.stdout, completed.stderr) == (0, "", "")


def hold(memory: Memory, pipe) -> None:
    """Claim a block, and wait."""
    memory.claim()
    pipe.send(None)
    pipe.recv()


@pytest.mark.filterwarnings("ignore:This process.* is multi-threaded:DeprecationWarning")
def test_workers(home):
    """A model is ready when every process serves it; each process has its memory in a gauge."""
    memory = Memory(blocks=3)
    server = Server(home.parent, memory)
    figures = ("workers", "model_ready", "model_loaded")
    assert [server.figure(name) for name in figures] == [1, 1, 1]
    parent_end, child_end = multiprocessing.get_context("fork").Pipe()
    idle = multiprocessing.get_context("fork").Process(target=hold, args=(memory, child_end))
    idle.start()
    parent_end.recv()
    assert [server.figure(name) for name in figures] == [2, 0, 1]
    assert [labels["worker"] for labels, _ in server.figures("worker_resident_memory_bytes")] == ["0", "1"]
    assert server.figure("worker_resident_memory_bytes", worker="0") > 1_000_000
    idle.kill()
    idle.join()
    assert [server.figure(name) for name in figures] == [1, 1, 1]


def test_what_is_served(home, models):
    """Gauges have the labels and shares of serving.toml."""
    shelve(models, home, "forest", first=2)
    text = "[labels]\nstable = 1\ncandidate = 2\n[traffic]\nstable = 0.75\n2 = 0.25\n"
    (home / "serving.toml").write_text(text)
    server = Server(home.parent)
    assert server.figures("model_traffic") == [(OF_IRIS, 0.75), ({**OF_IRIS, "version": "2"}, 0.25)]
    labels = {labels["label"]: labels["version"] for labels, _ in server.figures("model_label")}
    assert labels == {"stable": "1", "candidate": "2"}
    assert server.figure("model_loaded", version="2") == 1
    assert server.figures("model_mistake") == []


def test_what_is_not(home, tmp_path):
    """Refused versions and mistakes have gauges with the reason, cut to 200 characters."""
    broken = home / "2" / "model.onnx"
    broken.parent.mkdir()
    broken.write_bytes(b"no graph")
    (home / "serving.toml").write_text(f"[labels]\n{'x' * 500} = 2\n")
    (tmp_path / "models" / "b\udcff" / "1").mkdir(parents=True)
    shutil.copy(broken, tmp_path / "models" / "b\udcff" / "1")
    server = Server(home.parent)
    (labels,) = [labels for labels, _ in server.figures("model_refused") if labels["model"] == "iris"]
    assert labels["version"] == "2"
    (labels,) = [labels for labels, _ in server.figures("model_mistake") if labels["model"] == "iris"]
    assert len(labels["reason"]) == 200
    assert labels["reason"].endswith("...")
    assert server.figure("model_ready", model="b?") == 0
    assert server.figure("model_load_failures_total", model="iris", version="2") == 1


def test_shadow(home, models):
    """The answers of a shadow are compared with those that clients got, by class."""
    shelve(models, home, "iris", first=2)
    (home / "serving.toml").write_text("[labels]\nstable = 1\n[shadow]\nversion = 2\n")
    server = Server(home.parent)
    server.predict([FLOWER] * 30)
    # A shadow counts one number after the other: these are the last ones.
    eventually(lambda: server.figure("shadow_distance_count"))
    pair = {**OF_IRIS, "shadow": "2", "class": "setosa"}
    assert server.figure("shadow_rows_total", **pair, agreement="same") == 30
    assert server.figure("shadow_rows_total", agreement="different") == 0
    assert server.figure("shadow_distance_count", **pair) == 30
    assert server.figure("shadow_distance_bucket", **pair, le="1e-06") == 30
    assert server.figures("shadow_dropped_total") == [({"model": "iris", "shadow": "2"}, 0)]
    assert server.figures("shadow_refused_rows_total") == [({"model": "iris", "shadow": "2"}, 0)]


def test_any_class_name(server):
    """Class names with quotes, line ends and any letters are unchanged in /metrics."""
    names = ('"', "\\", "a\nb", "Köln", "{}=,", "\x00")
    memory = Memory(blocks=1)
    tally = Tally(memory.claim(), "iris", 1, "/predict", classes(*names))
    started = perf_counter()
    labels = range(len(names))
    tally.answered(started, started, Prediction(b"", started, started, (), labels, ()))
    _, text = exposition(memory, [])
    families = [family for family in parse(text.decode()) if family.name == "unpickled_predictions"]
    assert {sample.labels["class"] for sample in families[0].samples} == set(names)


def test_versions_out_of_use():
    """Figures of an unloaded version end after an hour; their memory is freed an hour later."""
    block, names = (memory := Memory(blocks=1)).claim(), ("a", "b")
    for version in (1, 2):
        Tally(block, "iris", version, "/predict", classes(*names))
        tally.set_used(block, "iris", version, 1000.0)
    tally.set_loaded(block, "iris", 2, True)
    assert tally.outdated(memory.read(), 1000.0 + 3599) == set()
    assert tally.outdated(memory.read(), 1000.0 + 3601) == {("iris", "1")}
    tally.forget_outdated(block, 1000.0 + 7199)
    assert ("answered", "iris", "1", "/predict", *names) in memory.read()
    tally.forget_outdated(block, 1000.0 + 7201)
    assert {key[2] for key in memory.read()} == {"2"}


def test_figures_never_go_down(home):
    """The figures of an old version disappear from /metrics all at once."""
    memory = Memory(blocks=1)
    server = Server(home.parent, memory)
    tally.set_used(memory.claim(), "iris", 9, time.monotonic() - 3601)
    Tally(memory.claim(), "iris", 9, "/predict", classes("a"))
    assert 'version="9"' not in server.text()
    tally.set_used(memory.claim(), "iris", 9, time.monotonic())
    assert 'version="9"' in server.text()


def test_applications_keep_to_themselves(home):
    """Each application has counters of its own, which are freed with it."""
    first, second = Server(home.parent), Server(home.parent)
    first.predict(FLOWER)
    assert first.figure("rows_total") == 1
    assert second.figure("rows_total") == 0
    del first
    gc.collect()
    assert second.figure("workers") == 1
