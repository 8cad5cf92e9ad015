"""Servers of very many models: they start soon, cost little when nobody asks, and miss nothing."""

import io
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from unpickled.server.app import flask_app
from unpickled.server.config import Config
from unpickled.server.lifecycle.looks import MOST
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
