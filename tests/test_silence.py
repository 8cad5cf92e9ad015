"""Connections that send nothing, too little or too many: others are answered, and nobody is cut off."""

import _thread
import contextlib
import resource
import socket
import sys
import threading
import time
import urllib.request

import pytest
from conftest import PATIENCE, eventually, serving
from handmade import lasting, queueing
from test_server import BODY, DEFAULT, head, receive

from unpickled.server.process.running import Running

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
FEW = (*DEFAULT, "--header-timeout", "2")


@pytest.fixture(autouse=True)
def many_descriptors():
    """This process may hold as many connections as its hard limit lets it."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def opened(server, stack: contextlib.ExitStack, count: int, data: bytes = b"") -> list[socket.socket]:
    """So many connections, each of which has sent this data as soon as it was there."""
    connections = []
    for _ in range(count):
        connections.append(stack.enter_context(server.connect()))
        connections[-1].sendall(data)
    return connections


def ended(connection: socket.socket) -> bool:
    """Whether the server closes a connection, whatever it has sent before."""
    with contextlib.suppress(ConnectionError):
        while connection.recv(4096):
            pass
    return True


def metric(server, name: str, label: str = "") -> float:
    """The sum of a metric's values, of those with this label."""
    named = [line for line in scraped(server) if line.split("{")[0].split()[0] == name and label in line]
    return sum(float(line.split()[-1]) for line in named)


def scraped(server) -> list[str]:
    """The lines of /metrics, asked for again where they do not come soon.

    Beside long requests granian may, by a race, start no thread for a request until the next one comes.
    """
    for _ in range(10):
        with (
            contextlib.suppress(TimeoutError),
            urllib.request.urlopen(f"{server.url}/metrics", timeout=20) as answer,
        ):
            return answer.read().decode().splitlines()
    raise TimeoutError("no metrics came")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing", marks=pytest.mark.long),
        pytest.param(b"P", id="a byte", marks=pytest.mark.long),
        pytest.param(head()[:-9], id="half a head", marks=pytest.mark.long),
        pytest.param(PREFACE, id="HTTP/2"),
    ],
)
def test_silent_connections(models, tmp_path, data):
    """Clients that send no request keep nobody else out, and lose their connections after header_timeout."""
    # Long enough for all of them to be open, and counted, at once.
    flags = (*DEFAULT, "--header-timeout", "8")
    with serving(tmp_path, *flags, models=models.path) as server, contextlib.ExitStack() as stack:
        silent = opened(server, stack, 1100, data)
        assert [server.ask("/predict", BODY)[0] for _ in range(20)] == [200] * 20
        eventually(lambda: metric(server, "unpickled_connections") >= 1100, 60)
        assert all(ended(connection) for connection in silent)
        eventually(lambda: metric(server, "unpickled_connections") < 100)
        assert server.ask("/predict", BODY)[0] == 200


def test_clients_that_wait_are_kept(tmp_path):
    """A connection on which a request runs, queues or is uploaded outlives header_timeout."""
    with queueing(tmp_path, "--threads", "16", "--header-timeout", "3") as (server, stack):
        body = lasting(server, 2)
        (upload,) = opened(server, stack, 1, head(len(body) + 30))
        (half,) = opened(server, stack, 1, head()[:-9])
        waiting = [opened(server, stack, 1, head(len(body)) + body)[0] for _ in range(5)]
        for _ in range(30):
            time.sleep(0.2)
            upload.sendall(b" ")
        upload.sendall(body)
        assert [receive(connection)[0] for connection in (*waiting, upload)] == [200] * 6
        assert ended(half)


@pytest.mark.skipif(sys.platform != "linux", reason="waits are counted on Linux alone")
def test_a_free_thread_has_been_seen():
    """Beside a request that runs, one may queue, unless the server is known to have one more thread."""
    running = Running(threads=1000)
    with request(running):
        assert not proven(running)
        with request(running):
            assert not proven(running)
        # Its thread may take a moment to end.
        eventually(lambda: proven(running), 60)


@contextlib.contextmanager
def request(running: Running):
    """For as long as the block, a thread like those of the HTTP server, which Python has not started."""
    begun, ended = threading.Event(), threading.Event()
    _thread.start_new_thread(lambda: (begun.set(), ended.wait(PATIENCE)), ())
    begun.wait(PATIENCE)
    running.look(time.monotonic())
    yield
    ended.set()


def proven(running: Running) -> bool:
    """Whether one of several attempts proves that no request queues."""
    before = running.proof
    for _ in range(20):
        time.sleep(0.01)
        running.prove()
    return running.proof > before


@pytest.mark.long
@pytest.mark.parametrize("workers", ["1", "2"])
def test_many_clients_that_ask_now_and_then(models, tmp_path, workers):
    """1,300 clients keep their connections, and each of their requests is answered."""
    # Long enough for each to send its request, however late this process is.
    flags = (*DEFAULT, "--header-timeout", "6", "--workers", workers)
    with serving(tmp_path, *flags, models=models.path) as server, contextlib.ExitStack() as stack:
        clients = opened(server, stack, 1300, head() + BODY)
        assert {receive(client)[0] for client in clients} == {200}
        # Longer than header_timeout, which is for the first request alone.
        time.sleep(7)
        for client in clients:
            client.sendall(head() + BODY)
        assert {receive(client)[0] for client in clients} == {200}


def test_no_descriptors_are_left(models, tmp_path):
    """Connections never take the last descriptors: further clients wait, and the log and a metric tell."""
    program = ("prlimit", "--nofile=300:300", sys.executable, "-m", "server", "--port", "{port}")
    with (
        serving(tmp_path, *FEW, "--max-connections", "9000", models=models.path, program=program) as server,
        contextlib.ExitStack() as stack,
    ):
        assert "takes 150 connections, not the 9000 of max_connections" in server.printed()
        opened(server, stack, 400)
        eventually(lambda: "the most that max_connections lets it" in server.printed())
        (worker,) = server.workers()
        before = processor_seconds(worker)
        assert server.ask("/predict", BODY)[0] == 200
        assert processor_seconds(worker) - before < 2
        assert metric(server, "unpickled_connections_full_total") >= 1


def processor_seconds(pid: int) -> float:
    """Processor time that a process has taken."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100
