"""Request ids: taken from the client, or made where somebody needs one."""

import json
import multiprocessing
import re

import pytest
from conftest import FLOWER, eventually, serving

from unpickled.server import Config
from unpickled.server.app import create_app
from unpickled.server.errors import InferenceFailed, NotReady, UnknownModel
from unpickled.server.message import requestid
from unpickled.server.message.answer import failure
from unpickled.server.message.environ import REQUEST_ID

BODY = json.dumps({"features": FLOWER}).encode()
MADE = re.compile("[0-9a-f]{16}-[0-9a-f]+")


@pytest.mark.parametrize("path", ["/predict", "/livez", "/nowhere"])
@pytest.mark.parametrize("fast_path", [True, False])
def test_an_id_comes_back(models, path, fast_path):
    """The id that a client chose is in every answer; without one, and without a log, there is none."""
    config = Config.of(models=str(models.path), default_model="iris", fast_path=fast_path)
    client = create_app(config).test_client()
    answer = client.post(path, data=BODY, headers={"X-Request-Id": "shop:7/a=b"})
    assert answer.headers.getlist("X-Request-Id") == ["shop:7/a=b"]
    assert "X-Request-Id" not in client.post(path, data=BODY).headers


@pytest.mark.parametrize("sent", ["", " ", 'a"b', "a b", "-a", "é", "a,b", "x" * 129, "a\tb", "<a>"])
def test_an_id_that_logs_cannot_hold(client, sent):
    """An id that is too long, or has other characters than letters, digits and a few signs, is replaced."""
    answer = client.post("/predict", data=BODY, headers={"X-Request-Id": sent})
    assert MADE.fullmatch(answer.headers["X-Request-Id"])
    assert answer.status_code == 200


@pytest.mark.parametrize("error", [NotReady("wait"), InferenceFailed("no"), ZeroDivisionError("no")])
def test_errors_of_the_server_have_an_id(error, caplog):
    """An answer of status 5xx has an id in its body and its header, the noted one where there is one."""
    _, headers, body = failure(error, {})
    assert MADE.fullmatch(dict(headers)["X-Request-Id"])
    assert json.loads(body)["request_id"] == dict(headers)["X-Request-Id"]
    _, headers, body = failure(error, {REQUEST_ID: "mine"})
    assert json.loads(body)["request_id"] == "mine"
    assert "X-Request-Id" not in dict(headers)
    assert [record.args[0] for record in caplog.records][1:] in ([], ["mine"])


def test_errors_of_the_client_have_none():
    """An answer of status 4xx explains itself."""
    _, headers, body = failure(UnknownModel("no"), {})
    assert "X-Request-Id" not in dict(headers)
    assert "request_id" not in json.loads(body)


def test_an_error_is_not_changed():
    """The same error can be the answer to many requests, each with an id of its own."""
    error = NotReady("wait")
    ids = {json.loads(failure(error, {})[2])["request_id"] for _ in range(3)}
    assert len(ids) == 3
    assert error.details == {}


def make(pipe):
    pipe.send([requestid.new() for _ in range(100)])


def test_ids_are_unique_in_all_processes():
    """Forked processes make other ids than their parent and each other."""
    made = [requestid.new() for _ in range(100)]
    context = multiprocessing.get_context("fork")
    for _ in range(3):
        ours, theirs = context.Pipe()
        process = context.Process(target=make, args=(theirs,))
        process.start()
        made += ours.recv()
        process.join()
    assert len(set(made)) == 400


def test_one_id_in_header_and_access_log(models, tmp_path):
    """Header and access log have the same id, whether the client or the server chose it."""
    with serving(tmp_path, "--access-log", "--default-model", "iris", models=models.path) as server:
        for _ in range(3):
            assert server.ask("/predict", BODY)[0] == 200
        eventually(lambda: server.printed().count('"/predict"') == 3)
    logged = [json.loads(line) for line in server.printed().splitlines() if '"/predict"' in line]
    assert len({line["request_id"] for line in logged}) == 3
    assert all(MADE.fullmatch(line["request_id"]) for line in logged)
