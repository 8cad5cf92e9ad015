"""The admin port: the main process says how its workers are, whatever they do."""

import json
import os
import signal
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import PATIENCE, Serving, eventually, free_port, halt, serving
from prometheus_client.parser import text_string_to_metric_families as parse
from test_server import BODY, DEFAULT, is_answered, read_answer, sockets

from unpickled.server.lifecycle.deployment import Deployment
from unpickled.server.observe.counters import Memory
from unpickled.server.observe.outlines import outlines, pack, unpack


@dataclass(frozen=True)
class Admin:
    """A server with an admin port."""

    port: int
    server: Serving

    def ask(self, path: str, method: str = "GET") -> tuple[int, bytes]:
        """Status and body of an answer."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def send(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        """The answer to these very bytes."""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as connection:
            connection.sendall(request)
            with connection.makefile("rb") as stream:
                return read_answer(stream)

    def document(self, path: str) -> dict:
        """The JSON of an answer."""
        return json.loads(self.ask(path)[1])

    def states(self) -> list[str]:
        """The state of each worker."""
        return [worker["state"] for worker in self.document("/readyz")["workers"]]

    def first(self) -> int | None:
        """The process id of the first worker; None while it waits to be started."""
        return self.document("/readyz")["workers"][0]["pid"]

    def figures(self) -> dict[tuple[str, ...], float]:
        """Every sample of /metrics by its name and labels."""
        families = parse(self.ask("/metrics")[1].decode())
        samples = [sample for family in families for sample in family.samples]
        return {(sample.name, *sample.labels.values()): sample.value for sample in samples}


@contextmanager
def administered(folder: Path, models: Path, *flags: str) -> Iterator[Admin]:
    """A server with an admin port, ready or not."""
    port = free_port()
    with serving(folder, *DEFAULT, "--admin-port", str(port), *flags, models=models) as server:
        yield Admin(port, server)


@pytest.fixture(scope="module")
def admin(models, tmp_path_factory):
    """A server of two workers, for tests that do it no harm."""
    with administered(tmp_path_factory.mktemp("admin"), models.path, "--workers", "2") as admin:
        eventually(lambda: admin.states() == ["ready", "ready"])
        yield admin


def test_probes(admin):
    """A server whose workers serve lives and is ready; each worker has its process id."""
    assert (admin.ask("/livez")[0], admin.document("/livez")) == (200, {"live": True, "failing": []})
    readiness = admin.document("/readyz")
    assert (admin.ask("/readyz?verbose")[0], readiness["ready"], readiness["draining"]) == (200, True, False)
    assert [worker["pid"] for worker in readiness["workers"]] == admin.server.workers()
    assert readiness["workers"][1] | {"pid": 0} == {
        "worker": 2,
        "pid": 0,
        "state": "ready",
        "restarts": 0,
        "starts_in": None,
    }


def test_metrics_are_those_of_the_workers(admin):
    """/metrics has what the workers answer under that path, their models included."""
    assert admin.server.ask("/predict", BODY)[0] == 200
    figures = admin.figures()
    with urllib.request.urlopen(f"{admin.server.url}/metrics", timeout=PATIENCE) as answer:
        names = {family.name for family in parse(answer.read().decode())}
    assert {family.name for family in parse(admin.ask("/metrics")[1].decode())} == names
    assert figures["unpickled_model_traffic", "iris", "1"] == 1
    assert figures["unpickled_model_ready", "people"] == 1
    assert figures["unpickled_requests_total", "iris", "/predict", "200", "1"] >= 1
    assert (figures["unpickled_workers",], figures["unpickled_workers_waiting",]) == (2, 0)
    assert sum(figures["unpickled_worker_ready", str(block)] for block in range(2)) == 2


@pytest.mark.parametrize(
    ("request_line", "status", "code"),
    [
        (b"GET /predict HTTP/1.1", 404, "not_found"),
        (b"POST /readyz HTTP/1.1", 405, "method_not_allowed"),
        (b"GET http://127.0.0.1/readyz HTTP/1.1", 400, "bad_request"),
        (b"PRI * HTTP/2.0", 400, "bad_request"),
        (b"\x16\x03\x01", 400, "bad_request"),
        (b"GET /readyz", 400, "bad_request"),
        (b"GET /" + b"x" * 20_000, 431, "bad_request"),
    ],
    ids=["path", "method", "absolute", "http2", "tls", "http09", "long"],
)
def test_errors(admin, request_line, status, code):
    """A request that the admin port does not answer gets an error in JSON."""
    answer = admin.send(request_line + b"\r\nHost: localhost\r\n\r\n")
    assert (answer[0], json.loads(answer[2])["code"]) == (status, code)
    assert answer[1]["connection"] == "close"


def test_head(admin):
    """HEAD gets the length of the answer, and no body."""
    status, headers, body = admin.send(b"HEAD /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert (status, int(headers["content-length"]) > 0, body) == (200, True, b"")


def test_slow_clients_hold_nobody_up(admin):
    """Hundreds of clients that send nothing, or half a request, keep nobody from an answer."""
    with ExitStack() as stack:
        for turn in range(300):
            address = ("127.0.0.1", admin.port)
            client = stack.enter_context(socket.create_connection(address, PATIENCE))
            client.sendall(b"GET /rea"[: turn % 9])
        assert admin.ask("/readyz")[0] == 200


def test_workers_hold_nothing_of_it(admin):
    """A worker has inherited neither the listener of the admin port nor a connection of it."""
    rows = [row for pid in admin.server.workers() for row in sockets(pid)]
    assert {row[1].rpartition(":")[2] for row in rows if row[3] == "0A"} == {f"{admin.server.port:04X}"}
    assert not [row for row in rows if row[1].endswith(f":{admin.port:04X}")]


@pytest.mark.long
def test_workers_that_fail(models, tmp_path):
    """Probes say which workers hang or wait to be started, and metrics count what ended them."""
    # A third of it counts as silence: a machine that is busy may keep a sound worker silent for seconds.
    flags = ("--workers", "2", "--hang-timeout", "15")
    with administered(tmp_path, models.path, *flags) as admin:
        eventually(lambda: admin.states() == ["ready", "ready"])
        first, second = admin.server.workers()
        halt(first)
        eventually(lambda: admin.states()[0] == "hung")
        assert (admin.ask("/livez")[0], admin.document("/livez")["failing"]) == (200, [1])
        halt(second)
        eventually(lambda: admin.ask("/livez")[0] == 503 or admin.states()[0] != "hung")
        # The first one may be ready again before the second one counts as hung.
        eventually(lambda: admin.figures().get(("unpickled_worker_exits_total", "hung")) == 2)
        eventually(lambda: admin.states() == ["ready", "ready"])
        # The last pause is long enough to be seen.
        for _ in range(5):
            kill_first(admin)
        readiness = admin.document("/readyz")
        waiting = readiness["workers"][0]
        assert (waiting["state"], waiting["pid"], readiness["ready"]) == ("waiting", None, True)
        assert waiting["starts_in"] > 0
        eventually(lambda: is_answered(admin.server))


def kill_first(admin: Admin) -> None:
    """Kill the first worker once it runs, and wait until the main process has noticed."""
    eventually(admin.first)
    before = admin.first()
    os.kill(before, signal.SIGKILL)
    eventually(lambda: admin.first() != before)


def test_starting_and_draining(models, tmp_path):
    """A server lives but is not ready while it drains; it says so until its end."""
    with administered(tmp_path, models.path, "--drain-delay", "3600") as admin:
        eventually(lambda: admin.ask("/readyz")[0] == 200)
        admin.server.process.terminate()
        eventually(lambda: admin.states() == ["draining"])
        assert (admin.ask("/readyz")[0], admin.document("/readyz")["draining"]) == (503, True)
        assert admin.ask("/livez")[0] == 200
        admin.server.process.terminate()
        assert admin.server.process.wait(PATIENCE) == 0


def test_replacements_under_load_on_the_admin_port(models, tmp_path):
    """Workers are replaced while clients ask the admin port without a pause, and every answer is whole."""
    answers: list[int] = []
    finished = threading.Event()
    with administered(tmp_path, models.path, "--workers", "2") as admin:

        def ask() -> None:
            while not finished.is_set():
                answers.extend(admin.ask(path)[0] for path in ("/metrics", "/livez"))

        clients = [threading.Thread(target=ask) for _ in range(4)]
        for client in clients:
            client.start()
        for _ in range(3):
            kill_first(admin)
        eventually(lambda: admin.states() == ["ready", "ready"])
        finished.set()
        for client in clients:
            client.join(PATIENCE)
    assert set(answers) == {200}


def test_an_admin_port_that_is_taken(models, tmp_path):
    """A port that is taken, by this server itself too, is one line that names it and the option."""
    port = str(free_port())
    with serving(tmp_path, "--port", port, "--admin-port", port, models=models.path, wait=False) as server:
        assert server.process.wait(PATIENCE) == 1
        assert f"port {port} (Address already in use)" in server.printed()
        assert "or choose another --admin-host or --admin-port" in server.printed()


def test_what_workers_post():
    """The last notice that was posted whole is read, with names that are not UTF-8."""
    memory = Memory(blocks=1)
    assert memory.posted() == b""
    deployment = Deployment(name="k\udcff", refused={2: "broken"}, traffic={1: 1.0}, labels={"new": 1})
    memory.claim().post(pack(outlines([deployment])))
    (outline,) = unpack(memory.posted())
    assert (outline.name, outline.refused, outline.mistake) == ("k\udcff", {2: "broken"}, "")
    assert (outline.traffic, outline.labels) == ({1: 1.0}, {"new": 1})
    memory.post(b"x" * 5_000_000)
    assert unpack(memory.posted()) == [outline]
