"""Servers of very many models: they start soon, cost little when nobody asks, and miss nothing."""

import gc
import io
import re
import shutil
import weakref
from concurrent.futures import ThreadPoolExecutor, as_completed, wait
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import pytest
import requests
from conftest import eventually, serving

from unpickled.server.app import flask_app
from unpickled.server.config import Config, Limits, Listening, Provider, Runtime
from unpickled.server.lifecycle.looks import MOST
from unpickled.server.lifecycle.repository import Beginning, Repository
from unpickled.server.process import banner
from unpickled.server.serve.deferred import Deferred
from unpickled.server.service import Service

ROW = b'{"features": [5.1, 3.5, 1.4, 0.2]}'


def crowd(models, folder):
    """As many models as are scanned in three turns."""
    for number in range(2 * MOST + 10):
        shutil.copytree(models.path / "iris", folder / f"iris{number:03}")
    return folder


@pytest.fixture
def folder(models, tmp_path):
    """The same, to be changed."""
    return crowd(models, tmp_path)


def asked(service, path, body=ROW):
    """Status and content of the answer to a POST, without a socket."""
    with io.BytesIO(body) as stream:
        environ = {"CONTENT_LENGTH": str(len(body)), "wsgi.input": stream, "PATH_INFO": path}
        status, _, content = service.routes.targets[path](environ)
    return status, content


def test_a_target_is_built_when_it_is_asked_for(folder, models):
    """The first request builds the target of its path alone; its answer is that of a server of one model."""
    service, single = Service(Config(models=str(folder))), Service(Config(models=str(models.path)))
    path = "/models/iris077/predict"
    assert isinstance(service.routes.targets[path], Deferred)
    assert asked(service, path) == asked(single, "/models/iris/predict")
    assert not isinstance(service.routes.targets[path], Deferred)
    assert isinstance(service.routes.targets["/models/iris078/predict"], Deferred)


def test_a_target_stays_while_other_models_come(folder, models):
    """Another model that comes, or changes, costs the others nothing: what answers for them stays."""
    service = Service(Config(models=str(folder)))
    path, changing = "/models/iris077/predict", "/models/iris078/predict"
    answers = [asked(service, each) for each in (path, changing)]
    before = [service.routes.targets[each] for each in (path, changing)]
    shutil.copytree(models.path / "iris" / "1", folder / "iris078" / "2")
    shutil.copytree(models.path / "iris", folder / "later")
    for _ in range(2):
        service.reloader.refresh()
    after = [service.routes.targets[each] for each in (path, changing)]
    assert (after[0] is before[0], after[1] is before[1]) == (True, False)
    assert asked(service, path) == answers[0]
    assert asked(service, "/models/later/predict")[0] == "200 OK"


def test_a_change_is_followed_within_a_round(folder, models):
    """Scans look at some of very many folders in turn, so that none is left out."""
    service = Service(Config(models=str(folder)))
    for number in (0, 105, 209):
        shutil.copytree(models.path / "iris" / "1", folder / f"iris{number:03}" / "2")
    # Five scans are a round, and a version is loaded when two scans have found it whole.
    for _ in range(7):
        service.repository.refresh(everything=False)
    changed = [name for name, each in service.repository.deployments.items() if each.main.version == 2]
    assert changed == ["iris000", "iris105", "iris209"]


def test_a_server_that_is_woken_looks_everywhere(folder, models):
    """SIGHUP wakes the reloader, which then scans every folder at once."""
    service = Service(Config(models=str(folder)))
    shutil.copytree(models.path / "iris" / "1", folder / "iris209" / "2")
    for _ in range(2):
        service.reloader.wake()
        service.reloader.refresh()
    assert service.repository.find("iris209").version == 2


@pytest.fixture(scope="module")
def client(models, tmp_path_factory):
    """A client of a server of as many models."""
    folder = crowd(models, tmp_path_factory.mktemp("crowd"))
    return flask_app(Service(Config(models=str(folder)))).test_client()


def test_models_come_in_pages(client):
    """A page of models names the last of them where others follow, and the next page begins behind it."""
    names, query = [], "?limit=50"
    while query:
        page = client.get(f"/models{query}").json
        names += [model["name"] for model in page["models"]]
        query = page["after"] and f"?limit=50&after={page['after']}"
    assert names == [f"iris{number:03}" for number in range(2 * MOST + 10)]


def test_openapi_describes_some_models_or_one(client):
    """The document of very many models has the first hundred and says how to get the others."""
    first, one = client.get("/openapi.json").json, client.get("/openapi.json?model=iris109").json
    assert "/models/iris099/predict" in first["paths"]
    assert "/models/iris100/predict" not in first["paths"]
    assert "/openapi.json?after=iris099" in first["info"]["description"]
    assert "/models/iris109/predict" in one["paths"]
    assert "/models/iris000/predict" not in one["paths"]


def test_metrics_of_one_model(client):
    """Prometheus can be given the series of one model alone."""
    client.post("/models/iris007/predict", data=ROW)
    answer = client.get("/metrics?model=iris007")
    lines = [line for line in answer.text.splitlines() if not line.startswith("#")]
    assert lines
    assert all('model="iris007"' in line for line in lines)
    assert any(line.startswith("unpickled_predictions_total") for line in lines)


@pytest.mark.parametrize("path", ["/models", "/openapi.json", "/metrics"])
def test_a_model_that_is_not_there(client, path):
    """A name that is misspelt gets an error and no empty page."""
    answer = client.get(f"{path}?model=irsi")
    assert answer.status_code == 404
    assert answer.json["code"] == "unknown_model"


def test_a_limit_of_nothing(client):
    """A page of no models is refused."""
    answer = client.get("/models?limit=0")
    assert answer.status_code == 400
    assert answer.json["error"] == "limit is 0: it has to be a number from 1 on"


def demanding(folder, **settings):
    """A service that loads each model when it is asked for."""
    return Service(Config(models=str(folder), load="on demand", **settings))


def test_a_model_is_loaded_by_the_first_request_for_it(folder):
    """Until then a server has none of many models in memory; all of them are served, and it is ready."""
    service = demanding(folder)
    client = flask_app(service).test_client()
    assert not service.repository.deployments
    assert client.get("/readyz").json["served"][:2] == ["iris000", "iris001"]
    answer = client.post("/models/iris077/predict", data=ROW)
    assert answer.json["prediction"] == [0]
    assert list(service.repository.deployments) == ["iris077"]
    assert "/models/iris077/predict" in service.routes.targets


def test_the_least_recently_used_model_goes_first(folder):
    """Models that do not all fit into memory make room for one another, and come back when asked for."""
    size = (folder / "iris001" / "1" / "model.onnx").stat().st_size
    service = demanding(folder, load_bytes=int(4.5 * (200_000 + 6 * size)))
    client = flask_app(service).test_client()
    loaded = []
    for number in (1, 2, 3, 4, 1, 5, 1, 6):
        assert client.post(f"/models/iris{number:03}/predict", data=ROW).status_code == 200
        loaded.append("".join(name[-1] for name in service.repository.deployments))
    assert loaded == ["1", "12", "123", "1234", "1234", "1345", "1345", "1456"]


def test_the_banner_counts_models_out_of_memory(folder):
    """A server that has loaded no model yet does not say that there is none."""
    lines = banner.text(demanding(folder).repository).splitlines()
    assert lines[-1] == "  110 models not in memory: the first request for each loads it"


@pytest.mark.long
def test_truth_of_a_model_that_was_let_go_of(folder, tmp_path_factory):
    """Answers of a canary are counted once, and their truth is taken, while the model is not in memory."""
    shutil.copytree(folder / "iris001" / "1", folder / "iris001" / "2")
    (folder / "iris001" / "serving.toml").write_text("[traffic]\n1 = 0.5\n2 = 0.5\n")
    flags = ("--load", "on demand", "--load-bytes", str(1 << 20))
    with serving(tmp_path_factory.mktemp("logs"), *flags, models=folder) as server:
        names = ["iris001"] * 20 + [f"iris{number:03}" for number in range(2, 6)]
        answers = [requests.post(f"{server.url}/models/{name}/predict", data=ROW) for name in names]
        reports = [{"id": answer.headers["Prediction-Id"], "truth": "setosa"} for answer in answers[:20]]
        address = f"{server.url}/models/iris001/truth"
        eventually(lambda: requests.post(address, json=reports).json()["repeated"] == 20)
        text = requests.get(f"{server.url}/metrics?model=iris001").text
    counts = re.findall(r'^unpickled_rows_total{model="iris001",version="\d"} (.*)$', text, re.MULTILINE)
    assert sum(map(float, counts)) == 20


def test_models_out_of_memory_are_listed(folder):
    """GET /models names a model that is not loaded, and shows its card where it is asked for alone."""
    client = flask_app(demanding(folder)).test_client()
    first = client.get("/models?limit=1").json["models"][0]
    assert (first["name"], first["ready"]) == ("iris000", False)
    assert first["reason"] == "it is not in memory: the first request for it loads it"
    [card] = client.get("/models?model=iris000").json["models"]
    assert card["ready"]
    assert client.get("/models?limit=1").json["models"] == [card]


def test_models_are_loaded_once_for_many_requests_at_once(folder):
    """Threads that ask for the same model at the same time share one load, and all are answered."""
    service = demanding(folder)
    clients = [flask_app(service).test_client() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda client: client.post("/models/iris050/predict", data=ROW), clients))
    assert {answer.status_code for answer in answers} == {200}
    served = service.repository.find("iris050")
    assert service.repository.find("iris050") is served


def test_a_version_that_arrives_for_a_model_out_of_memory(folder, models):
    """A model is loaded as its folder is at the first request, and a folder that arrives later is served."""
    service = demanding(folder)
    shutil.copytree(models.path / "iris" / "1", folder / "iris003" / "2")
    shutil.copytree(models.path / "iris", folder / "later")
    service.reloader.refresh()
    client = flask_app(service).test_client()
    assert client.post("/models/iris003/predict", data=ROW).headers["Model-Version"] == "2"
    assert client.post("/models/later/predict", data=ROW).status_code == 200


def ask(app, name):
    """The answer to a prediction."""
    return app.test_client().post(f"/models/{name}/predict", data=ROW)


def test_a_load_that_takes_long_leaves_threads_for_models_in_memory(folder):
    """Half of the threads wait for models that are not in memory; beyond that, a request is refused."""
    limits, listening = Limits(max_queue_ms=1), Listening(threads=2)
    service = demanding(folder, default_model="iris000", limits=limits, listening=listening)
    app = flask_app(service)
    with ThreadPoolExecutor(3) as pool, during(service.repository.held(None), pool):
        asks = [pool.submit(ask, app, name) for name in ("iris001", "iris002")]
        refused = next(as_completed(asks)).result()
        assert (refused.status_code, refused.json["code"]) == (503, "overloaded")
        assert refused.headers["Retry-After"] == "1"
        assert ask(app, "iris000").status_code == 200
        assert ask(app, "irsi").status_code == 404
    assert sorted(each.result().status_code for each in asks) == [200, 503]


def test_a_scan_is_no_load_that_takes_long(folder):
    """A request that comes while the folder is scanned waits for it, though another one waits as well."""
    limits, listening = Limits(max_queue_ms=600_000), Listening(threads=2)
    service = demanding(folder, limits=limits, listening=listening)
    app = flask_app(service)
    with ThreadPoolExecutor(3) as pool, during(service.repository.demand.alone(), pool):
        asks = [pool.submit(ask, app, name) for name in ("iris001", "iris002")]
        # As long as a request needs to be refused.
        wait(asks, 0.2)
    assert [each.result().status_code for each in asks] == [200, 200]


def test_a_request_waits_for_a_load_no_longer_than_it_may(folder):
    """The setting request_timeout bounds the time for which a request waits until its model is loaded."""
    service = demanding(folder, limits=Limits(request_timeout=0.01))
    app = flask_app(service)
    with ThreadPoolExecutor(1) as pool, during(service.repository.held(None), pool):
        answer = ask(app, "iris001")
        assert (answer.status_code, answer.json["code"]) == (504, "deadline_exceeded")
    assert service.repository.find("iris001").version == 1


@contextmanager
def during(turn, pool):
    """Another thread is in a block of ``turn``, as one that loads or scans is, until the end of this one."""
    begun, done = Event(), Event()

    def hold():
        with turn:
            begun.set()
            done.wait()

    pool.submit(hold)
    begun.wait()
    try:
        yield
    finally:
        done.set()


def asking(client, names):
    """The statuses of the answers to a prediction, an explanation and a card of each model."""
    asks = [(client.post, "predict", ROW), (client.post, "explain", ROW), (client.get, "", None)]
    return [
        ask(f"/models/{name}/{page}".rstrip("/"), data=body).status_code
        for name in names
        for ask, page, body in asks
    ]


def test_a_model_that_is_let_go_of_is_freed_at_once(folder):
    """Nothing waits for the garbage collector, which servers start rarely: loads would fill the memory."""
    service = demanding(folder, load_bytes=55 << 18)
    client, freed = flask_app(service).test_client(), []
    gc.disable()
    try:
        for number in range(80):
            assert client.post(f"/models/iris{number:03}/predict", data=ROW).status_code == 200
            freed.append(weakref.ref(service.repository.find(f"iris{number:03}").model))
        service.consumers.intake.drain()
        loaded = len(service.repository.deployments)
        assert 50 < loaded < 60
        assert sum(reference() is not None for reference in freed) == loaded
    finally:
        gc.enable()


def test_models_that_make_room_for_one_another_are_all_answered(folder):
    """A model that another request lets go of at once still answers the one that has loaded it."""
    service = demanding(folder, load_bytes=1 << 20)
    clients = [flask_app(service).test_client() for _ in range(8)]
    names = [[f"iris{(7 * ask + 13 * each) % 110:03}" for ask in range(5)] for each in range(8)]
    with ThreadPoolExecutor(8) as pool:
        statuses = [status for each in pool.map(asking, clients, names) for status in each]
    assert set(statuses) == {200}


def test_a_broken_model_leaves_the_server_ready(folder):
    """A request for a model whose file is broken learns why, and the server goes on serving the others."""
    (folder / "iris001" / "1" / "model.onnx").write_bytes(b"broken")
    service = demanding(folder, default_model="iris000", load_bytes=1 << 20)
    client = flask_app(service).test_client()
    answer = client.post("/models/iris001/predict", data=ROW)
    assert answer.status_code == 503
    assert "not a complete ONNX file" in answer.json["error"]
    for number in range(2, 8):
        assert client.post(f"/models/iris{number:03}/predict", data=ROW).status_code == 200
    assert client.get("/readyz").status_code == 200
    assert list(client.get("/readyz").json["refused"]) == ["iris001"]


def test_a_provider_that_is_required(folder):
    """In strict mode, a request for a model that its provider does not run learns that, too."""
    elsewhere = Provider(name="CoreMLExecutionProvider")
    runtime = Runtime(provider=(elsewhere, Provider(name="CPUExecutionProvider")), strict=True)
    client = flask_app(demanding(folder, runtime=runtime)).test_client()
    answer = client.post("/models/iris001/predict", data=ROW)
    assert answer.status_code == 503
    assert elsewhere.name in answer.json["error"]


def test_pages_about_models_out_of_memory_load_none(folder):
    """The index of versions names every model, and metrics of one model are no request for it."""
    service = demanding(folder)
    client = flask_app(service).test_client()
    index = client.post("/v2/repository/index").json
    assert [entry["name"] for entry in index] == service.repository.names
    assert client.get("/metrics?model=iris001").status_code == 200
    assert client.get("/metrics?model=irsi").status_code == 404
    assert not service.repository.deployments


def test_a_worker_that_replaces_another_has_its_default_model(folder):
    """The default model of the first worker stays, though further models have come."""
    config = Config(models=str(folder), load="on demand")
    repository = Repository(config, Beginning(names=frozenset(["iris001"]), default="iris001"))
    assert repository.default == "iris001"
    assert repository.find(None).name == "iris001"


def test_a_request_that_loads_a_model_asks_for_no_scan(folder, models):
    """Where folders are scanned after a signal alone, a new version waits for it, whatever is loaded."""
    service = demanding(folder, default_model="iris000", reload_seconds=0)
    client = flask_app(service).test_client()
    shutil.copytree(models.path / "iris" / "1", folder / "iris000" / "2")
    client.post("/models/iris001/predict", data=ROW)
    for _ in range(2):
        service.reloader.refresh()
    assert client.post("/predict", data=ROW).headers["Model-Version"] == "1"
    service.reloader.wake()
    for _ in range(2):
        service.reloader.refresh()
    assert client.post("/predict", data=ROW).headers["Model-Version"] == "2"


def children():
    """The processes that this one has started."""
    return {
        pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()
    }


def test_one_process_tries_all_models(folder):
    """Contents that are new to the server are tried elsewhere first, in a process that is started once."""
    for number in range(3):
        # A note of its own in the metadata gives each file another digest.
        with (folder / f"iris{number:03}" / "1" / "model.onnx").open("ab") as file:
            file.write(b"\x72\x09\x0a\x04note\x12\x01%d" % number)
    service, before, started = demanding(folder), children(), []
    client = flask_app(service).test_client()
    for number in range(3):
        assert client.post(f"/models/iris{number:03}/predict", data=ROW).status_code == 200
        service.reloader.refresh()
        started.append(children() - before)
    assert len(started[0]) == 1
    assert started == [started[0]] * 3
