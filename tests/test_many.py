"""Servers of very many models: they start soon, cost little when nobody asks, and miss nothing."""

import io
import shutil

import pytest

from unpickled.server.config import Config
from unpickled.server.lifecycle.looks import MOST
from unpickled.server.serve.deferred import Deferred
from unpickled.server.service import Service

ROW = b'{"features": [5.1, 3.5, 1.4, 0.2]}'


@pytest.fixture
def folder(models, tmp_path):
    """As many models as are scanned in three turns."""
    for number in range(2 * MOST + 10):
        shutil.copytree(models.path / "iris", tmp_path / f"iris{number:03}")
    return tmp_path


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
