"""Socket activation: the server takes over a socket on which a service manager listens already."""

import json
import socket
import subprocess
import sys
import urllib.request

import pytest
from conftest import PATIENCE, ROOT, environment, eventually, started

# A shell that hands its descriptor over as systemd does, and becomes the server.
LAUNCH = 'export LISTEN_PID=$$ LISTEN_FDS={count}; exec "$@" 3<&{descriptor}'


def launch(listener, models, tmp_path, count=1):
    """The command of a server that is handed a socket over, and the options of its process."""
    script = LAUNCH.format(count=count, descriptor=listener.fileno())
    command = ["bash", "-c", script, "bash", sys.executable, "-m", "server", "--models", str(models)]
    environ = environment(PYTHONPATH=str(ROOT))
    return command, {"cwd": tmp_path, "env": environ, "pass_fds": [listener.fileno()]}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_socket_is_taken_over(models, tmp_path, workers):
    """A request that was sent before the server started is answered, and the banner names the address."""
    with socket.create_server(("127.0.0.1", 0)) as listener, (tmp_path / "log").open("wb") as log:
        port = listener.getsockname()[1]
        command, options = launch(listener, models.path, tmp_path)
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
            client.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            with started([*command, "--workers", str(workers)], stdout=log, stderr=log, **options):
                assert client.recv(100).startswith(b"HTTP/1.1 200 OK")
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/livez") as answer:
                    assert json.load(answer) == {"live": True}
                eventually(lambda: f"http://127.0.0.1:{port}" in (tmp_path / "log").read_text())


def test_a_unix_socket_stays(models, tmp_path):
    """The path of a Unix socket that was handed over is still there once the server has ended."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        command, options = launch(listener, models.path, tmp_path)
        with socket.socket(socket.AF_UNIX) as client, started(command, **options):
            client.settimeout(PATIENCE)
            client.connect(str(tmp_path / "socket"))
            client.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 200 OK")
    assert (tmp_path / "socket").is_socket()


@pytest.mark.parametrize(("count", "says"), [(2, "2 sockets"), (1, "no listening socket")])
def test_wrong_sockets(models, tmp_path, count, says):
    """Several sockets, or one that does not listen, end the start with a remedy."""
    with socket.socket() as listener:
        command, options = launch(listener, models.path, tmp_path, count)
        completed = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, **options)
    assert completed.returncode == 1
    assert says in completed.stderr
    assert "ListenStream" in completed.stderr
