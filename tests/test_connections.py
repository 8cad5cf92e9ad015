"""Connections that live longer than a request: silence between two, and the end of the server."""

import contextlib
import http.client
import json
import struct
import threading
import time

import pytest
from conftest import PATIENCE, eventually, serving
from test_server import BODY, DEFAULT, exchange, head, read_answer, receive
from test_silence import PREFACE, metric


def is_kept(server, silence: float) -> bool:
    """Whether a connection answers a second request after so many seconds of silence."""
    with server.connect() as connection:
        connection.sendall(head() + BODY)
        assert receive(connection)[0] == 200
        time.sleep(silence)
        try:
            connection.sendall(head() + BODY)
            return receive(connection)[0] == 200
        except OSError:
            return False


def test_keep_alive(models, tmp_path):
    """A connection that is silent for keep_alive seconds is closed; one that is silent for less is kept."""
    with serving(tmp_path, *DEFAULT, "--keep-alive", "2", models=models.path) as server:
        # This process, too, may be kept waiting for longer than that.
        eventually(lambda: is_kept(server, 0.5), 60)
        with server.connect() as connection:
            connection.sendall(head() + BODY)
            assert receive(connection)[0] == 200
            assert connection.recv(1) == b""


@pytest.mark.long
def test_silence_of_a_balancer(models, tmp_path):
    """By default a connection outlives the 60 s after which common load balancers end it themselves."""
    with serving(tmp_path, *DEFAULT, models=models.path) as server:
        assert is_kept(server, 61)


@pytest.mark.parametrize("flags", [(), ("--workers", "2"), ("--no-fast-path",)])
def test_end_of_busy_connections(models, tmp_path, flags):
    """After SIGTERM each busy connection ends with an answer that says so: no request is lost."""
    # The drain lasts until all have been told: by default, a client that is late meets a closed connection.
    with serving(tmp_path, *DEFAULT, "--drain-delay", "3600", *flags, models=models.path) as server:
        answers: list[list[str]] = [[] for _ in range(8)]
        clients = [threading.Thread(target=ask_until_closed, args=(server, ends)) for ends in answers]
        for client in clients:
            client.start()
        eventually(lambda: all(len(ends) > 20 for ends in answers))
        server.process.terminate()
        for client in clients:
            client.join(PATIENCE)
        server.process.terminate()
        assert server.process.wait(PATIENCE) == 0
    assert [ends[-1] for ends in answers] == ["close"] * 8


def ask_until_closed(server, ends: list[str]) -> None:
    """Send requests on one connection, and note the Connection header of each answer, until one has it."""
    with server.connect() as connection, connection.makefile("rb") as stream:
        while "close" not in ends:
            connection.sendall(head() + BODY)
            try:
                ends.append(read_answer(stream)[1].get("connection", ""))
            except OSError:
                ends.append("lost")
                return


def test_streams_of_a_connection(models, tmp_path):
    """An HTTP/2 client is told how many requests it may send at once on its connection."""
    flags = (*DEFAULT, "--http2-streams", "7")
    with (
        serving(tmp_path, *flags, models=models.path) as server,
        server.connect() as connection,
        connection.makefile("rb") as stream,
    ):
        connection.sendall(PREFACE)
        length, kind = struct.unpack(">IB5x", b"\0" + stream.read(9))
        # https://www.rfc-editor.org/rfc/rfc9113#section-6.5.2
        settings = dict(struct.iter_unpack(">HI", stream.read(length)))
    assert (kind, settings[3]) == (4, 7)


def test_draining(models, tmp_path):
    """A server that drains is not ready, answers new connections once each, and ends at a second signal."""
    with serving(tmp_path, *DEFAULT, "--drain-delay", "3600", models=models.path) as server:
        assert (server.ask("/readyz")[0], server.ask("/readyz")[1]["draining"]) == (200, False)
        server.process.terminate()
        eventually(lambda: server.ask("/readyz")[0] == 503)
        assert server.ask("/readyz")[1] | {"served": []} == {
            "ready": False,
            "draining": True,
            "served": [],
            "refused": {},
            "mistakes": {},
        }
        assert [server.ask(path)[0] for path in ("/ping", "/v2/health/ready", "/livez")] == [503, 503, 200]
        for path, body in (("/predict", BODY), ("/predict", b"{"), ("/models/nobody/predict", BODY)):
            answer = exchange(server, head(len(body), path=path) + body)
            assert answer[1]["connection"] == "close"
            assert "prediction" in json.loads(answer[2]) or answer[0] >= 400
        server.process.terminate()
        assert server.process.wait(PATIENCE) == 0


@pytest.mark.parametrize(
    ("path", "pieces", "status"),
    [
        ("/predict", None, 413),
        ("/predict", 640, 413),
        ("/nowhere", None, 404),
        ("/models/no/predict", 64, 404),
    ],
)
def test_answers_to_long_bodies(models, tmp_path, path, pieces, status):
    """A client that sends 64 MB before it reads gets the refusal, and may use the connection again."""
    with serving(tmp_path, *DEFAULT, models=models.path) as server:
        piece = b" " * 100_000
        client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
        with contextlib.closing(client):
            for _ in range(2):
                client.request("POST", path, body=iter([piece] * pieces) if pieces else piece * 640)
                answer = client.getresponse()
                assert (answer.status, "error" in json.load(answer)) == (status, True)
            client.request("POST", "/predict", body=BODY)
            assert client.getresponse().status == 200


@pytest.mark.parametrize(
    ("path", "line", "status"),
    [
        ("/nowhere", "Accept: */*", 404),
        ("/models/no/predict", "Accept: */*", 404),
        ("/predict", "Request-Timeout: soon", 400),
    ],
    ids=["no path", "no model", "no time"],
)
def test_answers_before_short_bodies(models, tmp_path, path, line, status):
    """A body that comes behind its head, to a request that is refused by its head, costs no connection."""
    with serving(tmp_path, *DEFAULT, models=models.path) as server, server.connect() as client:
        for _ in range(3):
            client.sendall(head(len(BODY), line, path=path))
            # Clients send the body on its own; a busy machine takes its time.
            time.sleep(0.2)
            client.sendall(BODY)
            assert receive(client)[0] == status
        client.sendall(head(len(BODY)) + BODY)
        assert receive(client)[0] == 200


def test_announced_bodies_that_never_come(models, tmp_path):
    """Clients that announce a long body and send none are refused at once, and leave threads for others."""
    with serving(tmp_path, *DEFAULT, "--threads", "4", models=models.path) as server:
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(server.connect()) for _ in range(16)]
            for client in clients:
                client.sendall(head(2**40))
            assert [receive(client)[0] for client in clients] == [413] * 16
            assert server.ask("/predict", BODY)[0] == 200
        eventually(lambda: metric(server, "unpickled_requests_in_flight") == 0)
