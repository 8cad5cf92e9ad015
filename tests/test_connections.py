"""Connections that live longer than a request: silence between two, and the end of the server."""

import json
import threading
import time

import pytest
from conftest import PATIENCE, eventually, serving
from test_server import BODY, DEFAULT, exchange, head, read_answer, receive


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
        assert is_kept(server, 0.5)
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
    with serving(tmp_path, *DEFAULT, *flags, models=models.path) as server:
        answers: list[list[str]] = [[] for _ in range(8)]
        clients = [threading.Thread(target=ask_until_closed, args=(server, ends)) for ends in answers]
        for client in clients:
            client.start()
        eventually(lambda: all(len(ends) > 20 for ends in answers))
        server.process.terminate()
        for client in clients:
            client.join(PATIENCE)
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
