"""The access log: one line of JSON per request; a log that cannot be written stops no request."""

import fcntl
import gzip
import json
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from conftest import FLOWER, PATIENCE, eventually, serving
from werkzeug.test import Client, create_environ

from unpickled.server import Config
from unpickled.server.app import flask_app
from unpickled.server.observe.counters import Memory
from unpickled.server.process.quarantine import Notes, Quarantine
from unpickled.server.serve.accesslog import AccessLog
from unpickled.server.serve.requestid import identified
from unpickled.server.service import Service

BODY = json.dumps({"features": FLOWER}).encode()


@pytest.fixture
def log(app, pipe):
    """A client of the application with an access log, and a function that reads its lines."""
    read, write = pipe
    return Client(AccessLog(identified(app.wsgi_app, always=True), block(), write)), lambda: lines(read)


def block():
    return Memory(blocks=1).claim()


def lines(descriptor, size=65536):
    return [json.loads(line) for line in os.read(descriptor, size).splitlines()]


def hello(environ, start_response):
    start_response("200 OK", [("Content-Length", "5")])
    return [b"hello"]


def ask(application, **environ):
    return application({**create_environ(), **environ}, lambda status, headers: None)


def test_a_reader_that_stops(pipe, caplog):
    """Requests do not wait for a reader that has stopped; one warning says that lines are lost."""
    application = AccessLog(hello, block(), pipe[1])
    contents = [ask(application) for _ in range(2000)]
    assert contents == [[b"hello"]] * 2000
    assert caplog.text.count("does not keep up") == 1
    assert len(os.read(pipe[0], 2**20).splitlines()) < 2000


def test_a_prediction(log):
    """A line has the request, the client, the version that answered, the time taken and the size."""
    client, read = log
    before = datetime.now(UTC)
    answer = client.post("/models/iris/predict", data=BODY, environ_base={"REMOTE_ADDR": "10.0.0.1"})
    (line,) = read()
    assert before <= datetime.fromisoformat(line.pop("time")) <= datetime.now(UTC)
    assert 0 < line.pop("duration_ms") < 1000 * PATIENCE
    assert line == {
        "method": "POST",
        "path": "/models/iris/predict",
        "status": 200,
        "bytes": len(answer.data),
        "worker": os.getpid(),
        "model": "iris",
        "version": 1,
        "remote": "10.0.0.1",
        "request_id": answer.headers["X-Request-Id"],
    }


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/livez", 200), ("HEAD", "/livez", 200), ("GET", "/nowhere", 404), ("POST", "/predict", 400)],
)
def test_other_answers(log, method, path, status):
    """Pages and errors are logged too; the query, which may hold rows, is left out."""
    client, read = log
    answer = client.open(f"{path}?features=5.1", method=method)
    (line,) = read()
    assert (line["method"], line["path"], line["status"]) == (method, path, status)
    assert line["bytes"] == len(answer.data)
    assert answer.status_code == status


@pytest.mark.parametrize("noting", [False, True], ids=["as ever", "after a crash"])
def test_a_wait_is_logged(models, pipe, noting):
    """A request that takes a turn has its wait in its line, whether it is answered or refused."""
    service = Service(Config.of(models=str(models.path), default_model="iris", reload_seconds=0))
    if noting:
        service.routes.note(Notes(Quarantine(workers=1, threads=4), slot=0))
    client = Client(AccessLog(flask_app(service).wsgi_app, block(), pipe[1]))
    for body in (gzip.compress(BODY), b"no gzip"):
        client.post("/predict", data=body, headers={"Content-Encoding": "gzip"})
    entries = lines(pipe[0])
    assert [entry["status"] for entry in entries] == [200, 400]
    assert all(entry["queue_ms"] >= 0 for entry in entries)


def test_the_answer_is_untouched(pipe):
    """The log hands on the application's own list, for which the server has a quick path."""
    content = [b"hello"]

    def application(environ, start_response):
        start_response("200 OK", [])
        return content

    assert ask(AccessLog(application, block(), pipe[1])) is content


@pytest.mark.parametrize(
    ("path", "logged_path"),
    [
        ("/Köln".encode().decode("latin-1"), "/Köln"),
        ("/\xff", "/\ufffd"),
        ('/"}\n{"status": 200', '/"}\n{"status": 200'),
        ("/" + "\x01" * 9000, "/" + "\x01" * 499),
        ("/" + "\xff" * 9000, "/" + "\ufffd" * 499),
    ],
)
def test_any_path_is_one_line(pipe, path, logged_path):
    """Any path fits into one line, and a line is short enough for a pipe to take it whole."""
    ask(AccessLog(hello, block(), pipe[1]), PATH_INFO=path)
    line = os.read(pipe[0], 65536)
    assert line.count(b"\n") == 1
    assert len(line) <= 4096
    assert json.loads(line)["path"] == logged_path


def test_many_threads(pipe):
    """Threads that log at the same time get the application's answers, and each writes its line."""
    application = AccessLog(hello, block(), pipe[1])
    fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, 1 << 20)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: ask(application), range(4000)))
    assert answers == [[b"hello"]] * 4000
    assert len(lines(pipe[0], 1 << 20)) == 4000


def test_headers_that_cannot_be_logged(pipe, caplog):
    """An answer that the log cannot describe reaches its client, and one warning says so."""

    def application(environ, start_response):
        start_response("200 OK", [("Model-Name", "iris"), ("Model-Version", "newest")])
        return [b"hello"]

    log = AccessLog(application, block(), pipe[1])
    assert [ask(log) for _ in range(3)] == [[b"hello"]] * 3
    assert caplog.text.count("requests go on without") == 1


def test_a_full_disk(caplog):
    """With a full disk, requests are answered, and one warning says that nothing is logged."""
    full = os.open("/dev/full", os.O_WRONLY)
    log = AccessLog(hello, block(), full)
    with caplog.at_level(logging.WARNING, "unpickled"):
        assert [ask(log) for _ in range(3)] == [[b"hello"]] * 3
    os.close(full)
    assert [record.message for record in caplog.records] == [
        "the access log cannot be written (No space left on device): requests go on without"
    ]


def test_a_closed_pipe(caplog):
    """With nobody left to read the log, requests are answered, and a warning says so."""
    read, write = os.pipe()
    os.close(read)
    with caplog.at_level(logging.WARNING, "unpickled"):
        assert ask(AccessLog(hello, block(), write)) == [b"hello"]
    os.close(write)
    assert "Broken pipe" in caplog.text


def test_an_application_that_fails(pipe):
    """An error of the application reaches the server and is logged with status 500."""

    def application(environ, start_response):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ask(AccessLog(application, block(), pipe[1]))
    assert lines(pipe[0])[0]["status"] == 500


def test_a_server_logs_on_stdout(models, tmp_path):
    """Each worker writes whole lines to stdout, beside the banner."""
    with serving(
        tmp_path, "--access-log", "--workers", "2", "--default-model", "iris", models=models.path
    ) as server:
        for _ in range(20):
            assert server.ask("/predict", BODY)[0] == 200
        eventually(lambda: server.printed().count('"/predict"') == 20)
        workers = server.workers()
    logged = [json.loads(line) for line in server.printed().splitlines() if '"/predict"' in line]
    assert {line["worker"] for line in logged} <= set(workers)
    assert {(line["model"], line["version"], line["status"]) for line in logged} == {("iris", 1, 200)}
