"""Connections that live longer than a request: silence between two, and the end of the server."""

import time

import pytest
from conftest import serving
from test_server import BODY, DEFAULT, head, receive


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
