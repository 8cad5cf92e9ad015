"""The server as a process: sockets, faults, signals, and connections of its own."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import FLOWER, PATIENCE, ROOT, command_line, eventually, serving, shelve
from handmade import lasting, slow, store

BODY = json.dumps({"features": FLOWER}).encode()
DEFAULT = ("--default-model", "iris")


@pytest.fixture(scope="module")
def server(models, tmp_path_factory):
    """A server with default settings, for tests that do it no harm."""
    with serving(tmp_path_factory.mktemp("server"), *DEFAULT, models=models.path) as server:
        yield server


def head(length: int | None = len(BODY), *lines: str, path: str = "/predict", version: str = "1.1") -> bytes:
    """The head of a request."""
    announced = [] if length is None else [f"Content-Length: {length}"]
    return "\r\n".join(
        [f"POST {path} HTTP/{version}", "Host: localhost", *announced, *lines, "", ""]
    ).encode()


def chunked(*chunks: bytes, path: str = "/predict") -> bytes:
    """A request whose body has no length."""
    parts = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))
    return head(None, "Transfer-Encoding: chunked", path=path) + parts


def receive(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the next answer; ConnectionError where there is none."""
    with connection.makefile("rb") as stream:
        return read_answer(stream)


def read_answer(stream) -> tuple[int, dict[str, str], bytes]:
    """The same from a stream, on which more answers may follow."""
    first = stream.readline()
    if not first.endswith(b"\r\n"):
        raise ConnectionError("no answer")
    lines = iter(lambda: stream.readline().decode().strip(), "")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(first.split()[1]), headers, stream.read(int(headers.get("content-length", 0)))


def exchange(server, request: bytes, close: bool = False) -> tuple[int, dict[str, str], bytes]:
    """The answer to one request on a connection of its own."""
    with server.connect() as connection:
        connection.sendall(request)
        if close:
            connection.shutdown(socket.SHUT_WR)
        return receive(connection)


def established(pid: int, port: int) -> list[str]:
    """The remote addresses of a process's connections, which all belong to its listener."""
    rows = sockets(pid)
    foreign = [row[2] for row in rows if int(row[1].rpartition(":")[2], 16) != port]
    assert foreign == [], "the process has connections of its own"
    return [row[2] for row in rows if row[3] != "0A"]


def sockets(pid: int) -> list[list[str]]:
    """The rows of /proc/net about a process: local address [1], remote address [2], state [3], inode [9]."""
    links = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # closed in the meantime
            links.add(os.readlink(link))
    tables = [Path(f"/proc/{pid}/net/{kind}") for kind in ("tcp", "tcp6", "udp", "udp6")]
    rows = [line.split() for table in tables if table.exists() for line in table.read_text().splitlines()[1:]]
    return [row for row in rows if f"socket:[{row[9]}]" in links]


def test_a_request(server):
    """A prediction has status, media type, model, version and the class."""
    status, headers, body = exchange(server, head() + BODY)
    assert (status, headers["content-type"]) == (200, "application/json")
    assert (headers["model-name"], headers["model-version"]) == ("iris", "1")
    assert json.loads(body)["predicted_class"] == ["setosa"]


@pytest.mark.parametrize("cuts", [[], [1], [5, 17], list(range(1, len(BODY)))])
def test_chunked_bodies(server, cuts):
    """A body without a length is read, in one chunk or byte by byte."""
    chunks = [BODY[start:end] for start, end in zip([0, *cuts], [*cuts, len(BODY)], strict=True)]
    status, _, body = exchange(server, chunked(*chunks))
    assert (status, json.loads(body)["prediction"]) == (200, [0])


def test_chunked_bodies_are_bounded(models, tmp_path):
    """A chunked body is refused once it is longer than the limit, and the next request is answered."""
    with serving(tmp_path, *DEFAULT, "--max-body-bytes", "1000", models=models.path) as server:
        assert exchange(server, chunked(BODY, b" " * (1000 - len(BODY))))[0] == 200
        status, _, body = exchange(server, chunked(*[b" " * 100] * 11))
        assert (status, json.loads(body)["code"]) == (413, "body_too_large")
        assert server.ask("/predict", BODY)[0] == 200


def test_body_shorter_than_announced(server):
    """A body shorter than announced is refused, never taken for the whole."""
    status, _, body = exchange(server, head(len(BODY) + 70) + BODY, close=True)
    document = json.loads(body)
    assert (status, document["code"]) == (400, "incomplete_body")
    assert (document["received"], document["announced"]) == (len(BODY), len(BODY) + 70)


@pytest.mark.parametrize("extra", [(), ("Expect: 100-continue",)])
def test_body_over_the_limit_is_not_awaited(server, extra):
    """A body that is announced as too long is refused before any of it is sent."""
    for length in (16 * 1024 * 1024 + 1, 2**62):
        status, _, body = exchange(server, head(length, *extra))
        assert (status, json.loads(body)["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("length", ["-1", "abc", "1e3", "0x10", "9" * 40, "30\r\nContent-Length: 31", ""])
def test_lengths_that_are_none(server, length):
    """A malformed length is answered with 400, and the server goes on."""
    assert exchange(server, head(length) + BODY)[0] == 400
    assert server.ask("/predict", BODY)[0] == 200


def test_length_that_is_too_short(server):
    """Bytes after the announced length are no part of the body."""
    status, _, body = exchange(server, head(10) + BODY)
    assert (status, json.loads(body)["code"]) == (400, "malformed_json")
    assert exchange(server, head(len(BODY)) + BODY + b" " * 50)[0] == 200


def test_continue(server):
    """A client that waits for a go-ahead gets it."""
    with server.connect() as connection, connection.makefile("rb") as stream:
        connection.sendall(head(len(BODY), "Expect: 100-continue"))
        assert read_answer(stream)[0] == 100
        connection.sendall(BODY)
        assert read_answer(stream)[0] == 200


def test_pipelined_requests(server):
    """Requests that are sent without waiting are answered in their order."""
    rows = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]] * 10
    bodies = [json.dumps({"features": row}).encode() for row in rows]
    with server.connect() as connection, connection.makefile("rb") as stream:
        connection.sendall(b"".join(head(len(body)) + body for body in bodies))
        answers = [json.loads(read_answer(stream)[2])["prediction"] for _ in bodies]
    assert answers == [[0], [2]] * 10


def test_http_1_0(server):
    """A client of HTTP/1.0 gets its answer and the end of the connection."""
    with server.connect() as connection:
        connection.sendall(head(version="1.0") + BODY)
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert received.startswith(b"HTTP/1.0 200 OK")
    assert received.endswith(b"}")


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("sent", [["-d", BODY.decode()], ["-T", "-", "-X", "POST"]])
def test_http_2(server, sent):
    """HTTP/2 without TLS is answered, whether or not the body has a length."""
    assert over_http2(server, "/predict", BODY, *sent)["prediction"] == [0]


def over_http2(server, path: str, body: bytes, *sent: str):
    """The document that curl gets."""
    if (
        "HTTP2"
        not in subprocess.run(["curl", "--version"], capture_output=True, text=True, check=True).stdout
    ):
        pytest.skip("this curl speaks no HTTP/2")
    command = ["curl", "-sS", "--max-time", str(PATIENCE), "--http2-prior-knowledge", *sent]
    command += [f"{server.url}{path}"]
    # curl may call it an error that it was refused while it was sending, though it has the whole answer.
    return json.loads(subprocess.run(command, input=body, capture_output=True, check=False).stdout)


@pytest.mark.parametrize(
    "path", ["/pr%65dict", "/predict?a=1", "/predict?", "http://localhost/predict", "/models/iris/predict"]
)
def test_spellings_of_a_path(server, path):
    """Escapes, queries and absolute addresses lead to the same model."""
    assert exchange(server, head(path=path) + BODY)[0] == 200


@pytest.mark.parametrize(
    "path", ["/models//iris/predict", "/models/iris/../predict", "/%00", "/%ff%fe", "/" + "x" * 20_000]
)
def test_strange_paths(server, path):
    """A path that leads nowhere is a 404 in JSON."""
    status, headers, _ = exchange(server, head(path=path) + BODY)
    assert (status, headers["content-type"]) == (404, "application/json")


@pytest.mark.parametrize(
    "junk", [b"\x00" * 9, b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"PRI * HTTP/2.0\r\n\r\nXX"]
)
def test_what_is_not_http(server, junk):
    """Bytes that are not HTTP are refused or dropped, and other clients are answered."""
    with server.connect() as connection, contextlib.suppress(OSError):
        connection.sendall(junk)
        connection.shutdown(socket.SHUT_WR)
        assert b"200 OK" not in b"".join(iter(lambda: connection.recv(65536), b""))
    assert server.ask("/predict", BODY)[0] == 200


def test_clients_that_leave(server):
    """A connection that is dropped at any point of a request does no harm."""
    whole = head() + BODY
    for size in range(0, len(whole), 5):
        connection = server.connect()
        connection.sendall(whole[:size])
        connection.close()
    assert server.ask("/predict", BODY)[0] == 200


def test_a_large_batch(server, models):
    """A batch of some megabytes that arrives in parts is answered whole."""
    rows = models.rows["iris"].tolist() * 200
    body = json.dumps({"features": rows}).encode()
    with server.connect() as connection:
        connection.sendall(head(len(body)))
        for start in range(0, len(body), 50_000):
            connection.sendall(body[start : start + 50_000])
        status, _, received = receive(connection)
    assert (status, len(json.loads(received)["prediction"])) == (200, 30_000)


def test_stalled_bodies_stop_nobody(server):
    """63 clients that stall in the middle of their bodies leave a thread for the others."""
    stalled = [server.connect() for _ in range(63)]
    for connection in stalled:
        connection.sendall(head() + BODY[:-1])
    for _ in range(20):
        assert server.ask("/predict", BODY)[0] == 200
    for connection in stalled:
        connection.sendall(BODY[-1:])
    assert [receive(connection)[0] for connection in stalled] == [200] * 63
    for connection in stalled:
        connection.close()


@pytest.mark.long
def test_recovery_from_stalled_bodies(models, tmp_path):
    """Clients that hold every thread, silent or trickling, lose them after body_timeout."""
    flags = [*DEFAULT, "--threads", "4", "--body-timeout", "6"]
    finished = threading.Event()
    with (
        serving(tmp_path, *flags, models=models.path) as first,
        serving(tmp_path, *flags, models=models.path) as second,
        contextlib.ExitStack() as stack,
    ):
        silent, trickling = (
            [stack.enter_context(server.connect()) for _ in range(4)] for server in (first, second)
        )
        for connection in (*silent, *trickling):
            connection.sendall(head(10_000) + b" ")
        trickle = threading.Thread(target=drip, args=(trickling, finished))
        trickle.start()
        try:
            eventually(lambda: is_answered(first))
            eventually(lambda: is_answered(second))
        finally:
            finished.set()
            trickle.join()


@pytest.mark.long
def test_long_inference_beside_stalled_bodies(tmp_path):
    """An inference longer than body_timeout is answered, while other bodies are overdue."""
    store(tmp_path / "models", "slow", slow())
    finished = threading.Event()
    with serving(tmp_path, "--body-timeout", "6", models=tmp_path / "models") as server:
        body = lasting(server, 9)
        with server.connect() as long, server.connect() as silent, server.connect() as trickling:
            long.sendall(head(len(body)) + body)
            for connection in (silent, trickling):
                connection.sendall(head(10_000) + b" ")
            trickle = threading.Thread(target=drip, args=([trickling], finished))
            trickle.start()
            try:
                assert receive(long)[0] == 200
            finally:
                finished.set()
                trickle.join()


def is_answered(server) -> bool:
    """Whether a request is answered; False where its worker ends meanwhile."""
    try:
        return server.ask("/predict", BODY)[0] == 200
    except OSError:
        return False


def drip(connections: list[socket.socket], finished: threading.Event) -> None:
    """Send one byte on each connection now and then, until it closes."""
    while not finished.wait(0.5):
        for connection in connections:
            try:
                connection.send(b" ")
            except OSError:
                return


def test_killed_worker_is_replaced(models, tmp_path):
    """A killed worker is replaced, and the server itself goes on."""
    with serving(tmp_path, *DEFAULT, models=models.path) as server:
        (before,) = server.workers()
        os.kill(before, signal.SIGKILL)
        eventually(lambda: server.workers() not in ([], [before]) and server.listens())
        assert server.ask("/predict", BODY)[0] == 200
        assert server.process.poll() is None
    assert server.process.returncode == 0


def test_without_shared_memory(models, tmp_path):
    """The server starts, and replaces a worker, where /dev/shm cannot be written to."""
    program = mounted("mount -t tmpfs -o ro none /dev/shm")
    with serving(tmp_path, *DEFAULT, models=models.path, program=program) as server:
        (before,) = server.workers()
        os.kill(before, signal.SIGKILL)
        eventually(lambda: server.workers() not in ([], [before]) and server.listens())
        assert server.ask("/predict", BODY)[0] == 200
    assert server.printed().count("Unpickled serves") == 1


def mounted(command: str) -> tuple[str, ...]:
    """The server behind a command of mount that concerns nobody else; skips where that is forbidden."""
    if not shutil.which("unshare") or subprocess.run(["unshare", "-m", "true"], check=False).returncode:
        pytest.skip("only root may make a mount namespace")
    alone = f'{command} && exec "$@"'
    return ("unshare", "-m", "sh", "-c", alone, "sh", sys.executable, "-m", "server", "--port", "{port}")


def test_read_only_models(models, tmp_path):
    """Where models are mounted read-only, the banner says so, new versions come, and no line is an error."""
    home = tmp_path / "models"
    shelve(models, home / "iris", "iris")
    program = mounted(f"mount --bind '{home}' '{home}' && mount -o remount,bind,ro '{home}'")
    with serving(tmp_path, *DEFAULT, "--workers", "2", models=home, program=program) as server:
        eventually(lambda: both_serve(server))
        shelve(models, tmp_path / "aside", "iris", first=2)
        (tmp_path / "aside" / "2").rename(home / "iris" / "2")
        eventually(lambda: server.ask("/models/iris")[1]["version"] == 2)
    assert server.printed().count("is mounted read-only: the server keeps no history") == 1
    assert "ERROR" not in server.printed()
    assert not (home / "iris" / "history.jsonl").exists()


def test_two_workers(models, tmp_path):
    """Both of two workers answer."""
    with serving(tmp_path, *DEFAULT, "--workers", "2", models=models.path) as server:
        eventually(lambda: both_serve(server))
        first, second = server.workers()
        connections = [server.connect() for _ in range(60)]
        for connection in connections:
            connection.sendall(head() + BODY)
        assert {receive(connection)[0] for connection in connections} == {200}
        assert established(first, server.port)
        assert established(second, server.port)
        for connection in connections:
            connection.close()
    assert server.printed().count("Unpickled serves") == 1


def both_serve(server) -> bool:
    """Whether both of two workers listen."""
    return [serves(pid, server.port) for pid in server.workers()] == [True, True]


def serves(pid: int, port: int) -> bool:
    """Whether a process listens on a port."""
    return any(row[3] == "0A" and row[1].endswith(f":{port:04X}") for row in sockets(pid))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_end_under_load(models, tmp_path, number):
    """After SIGTERM, requests in flight are answered, slow bodies included; the server ends with status 0."""
    with serving(tmp_path, *DEFAULT, "--shutdown-timeout", "600", models=models.path) as server:
        slow = [server.connect() for _ in range(8)]
        for connection in slow:
            connection.sendall(head(len(BODY), "Expect: 100-continue"))
            assert receive(connection)[0] == 100
            connection.sendall(BODY[:10])
        statuses: list[list[int]] = [[] for _ in range(4)]
        load = [threading.Thread(target=ask_on, args=(server, answered)) for answered in statuses]
        for thread in load:
            thread.start()
        eventually(lambda: all(len(answered) > 20 for answered in statuses))
        server.process.send_signal(number)
        for thread in load:
            thread.join(PATIENCE)
        assert server.process.poll() is None
        for connection in slow:
            connection.sendall(BODY[10:])
        assert [receive(connection)[0] for connection in slow] == [200] * 8
        assert server.process.wait(PATIENCE) == 0
        for connection in slow:
            connection.close()
    assert {status for answered in statuses for status in answered} == {200}


def ask_on(server, statuses: list[int]) -> None:
    """Send requests on one connection until the server ends it, which it does between two answers only."""
    with server.connect() as connection, connection.makefile("rb") as stream:
        while True:
            try:
                connection.sendall(head() + BODY)
                status, headers, body = read_answer(stream)
            except OSError:
                return
            statuses.append(status if len(body) == int(headers["content-length"]) else 0)


def test_shutdown_is_bounded(models, tmp_path):
    """A body that never comes delays the end by shutdown_timeout."""
    with serving(tmp_path, *DEFAULT, "--shutdown-timeout", "1", models=models.path) as server:
        (worker,) = server.workers()
        with server.connect() as connection:
            connection.sendall(head(10_000, "Expect: 100-continue"))
            assert receive(connection)[0] == 100
            server.process.terminate()
            server.process.wait(PATIENCE)
        eventually(lambda: not command_line(worker))


def test_end_reaches_the_worker(models, tmp_path):
    """No thread but the one that waits for them can take the signals to a worker: none is ever lost."""
    with serving(tmp_path, *DEFAULT, models=models.path) as server:
        assert exchange(server, head() + BODY)[0] == 200
        (worker,) = server.workers()
        statuses = []
        for path in Path(f"/proc/{worker}/task").glob("*/status"):
            with contextlib.suppress(OSError):  # the thread that prints the banner ends
                statuses.append(path.read_text())
    blocked = [int(status.split("SigBlk:")[1].split()[0], 16) for status in statuses]
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
    open_to = [number for mask in blocked for number in numbers if not mask >> (number - 1) & 1]
    # A thread inside sigwait has its signals unblocked for as long.
    assert len(statuses) > 5
    assert sorted(open_to) in ([], sorted(numbers))


def test_impatient_end(models, tmp_path):
    """SIGTERM again and again to a worker, as by a terminal, leaves requests in flight to be answered."""
    with serving(tmp_path, *DEFAULT, "--shutdown-timeout", "600", models=models.path) as server:
        (worker,) = server.workers()
        with server.connect() as connection:
            connection.sendall(head(len(BODY), "Expect: 100-continue"))
            assert receive(connection)[0] == 100
            server.process.terminate()
            eventually(lambda: not server.listens())
            for _ in range(8):
                os.kill(worker, signal.SIGINT)
                time.sleep(0.05)
            connection.sendall(BODY)
            assert receive(connection)[0] == 200
        assert server.process.wait(PATIENCE) == 0


def test_end_while_starting(models, tmp_path):
    """SIGTERM ends a server that is still loading its models."""
    with serving(tmp_path, "--shutdown-timeout", "600", models=models.path, wait=False) as server:
        eventually(server.workers)
        server.process.terminate()
        server.process.wait(PATIENCE)
    assert "Traceback" not in server.printed()


@pytest.mark.parametrize(
    ("place", "sentence"),
    [("none/s.sock", "the folder {folder}/none does not exist: create it"), ("s" * 120, "path too long")],
)
def test_socket_that_cannot_be(models, tmp_path, place, sentence):
    """A Unix socket that cannot be made is one line that says why."""
    with serving(tmp_path, "--uds", str(tmp_path / place), models=models.path) as server:
        assert server.process.wait(PATIENCE) == 1
        assert server.printed().startswith(f"error: cannot listen on {tmp_path / place}")
        assert sentence.format(folder=tmp_path) in server.printed()


def test_unix_socket(models, tmp_path):
    """--uds serves on a Unix socket, also in place of one that a killed server left behind."""
    path = tmp_path / "unpickled.sock"
    for _ in range(2):
        with serving(tmp_path, *DEFAULT, models=models.path, uds=path) as server:
            assert exchange(server, head() + BODY)[0] == 200
            assert f"curl --unix-socket {path}" in server.printed()
            os.killpg(server.process.pid, signal.SIGKILL)
            server.process.wait()
            eventually(lambda: not server.listens())
        assert path.is_socket()


@pytest.mark.parametrize("mode", ["666", "0600"])
def test_mode_of_a_unix_socket(models, tmp_path, mode):
    """--uds-mode says who may connect to the socket: a proxy often runs as another user."""
    path = tmp_path / "unpickled.sock"
    with serving(tmp_path, *DEFAULT, "--uds-mode", mode, models=models.path, uds=path) as server:
        assert exchange(server, head() + BODY)[0] == 200
        assert path.stat().st_mode & 0o777 == int(mode, 8)


@pytest.mark.parametrize("by", ["another program", "the same"])
def test_port_taken(server, models, tmp_path, by):
    """If the port is taken, even by another Unpickled, the server ends with one line that names it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = server.port if by == "the same" else listener.getsockname()[1]
        with serving(tmp_path, *DEFAULT, models=models.path, port=port) as second:
            eventually(second.ended)
    assert second.process.returncode == 1
    (line,) = second.printed().strip().splitlines()
    assert line.startswith("error: ")
    assert str(port) in line


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("name", ["iris", "people", "forest"])
def test_the_line_to_try(models, tmp_path, name):
    """The curl command in the banner works unchanged."""
    with serving(tmp_path, "--default-model", name, models=models.path) as server:
        curl = re.search(r"^ *(curl .*)$", server.printed(), re.MULTILINE)[1]
        command = f"{curl} -sS --max-time {PATIENCE}"
        completed = subprocess.run(command, shell=True, capture_output=True, check=True)
    assert json.loads(completed.stdout)["prediction"][0] in models.pipelines[name].classes_.tolist()


def test_variables_are_no_headers(models, tmp_path, monkeypatch):
    """A variable of the server's environment with the name of a header is no header of any request."""
    for name, value in {"REQUEST_TIMEOUT": "0.0001", "ORIGIN": "https://a", "X_REQUEST_ID": "7"}.items():
        monkeypatch.setenv(f"HTTP_{name}", value)
    with serving(tmp_path, *DEFAULT, "--cors-origins", "https://a", models=models.path) as server:
        status, headers, _ = exchange(server, head() + BODY)
    assert status == 200
    assert not {"access-control-allow-origin", "x-request-id"} & headers.keys()


def test_the_banner(server, models):
    """The banner has model, version, features, classes, providers, workers and threads."""
    printed = server.printed()
    for words in (
        f"Unpickled serves {server.url}",
        "1 worker x 64 threads on",
        "iris version 1  (default)",
        "sepal_length, sepal_width, petal_length, petal_width",
        "setosa, versicolor, virginica",
        "requested CPUExecutionProvider; obtained CPUExecutionProvider (",
        "people version 1",
    ):
        assert words in printed
    assert "of the rows into" not in printed


def test_the_banner_says_that_rows_are_logged(models, tmp_path):
    """A server with a payload log has a line about it, as rows may be about people; another one has none."""
    folder = tmp_path / "log"
    with serving(tmp_path, "--log-share", "0.25", "--log-folder", str(folder), models=models.path) as server:
        assert f"\n  logs 25% of the rows into {folder}/\n" in server.printed()


def test_no_connections_of_its_own(server):
    """A worker holds its listener and its clients' connections, and no other socket of the network."""
    with server.connect() as connection:
        connection.sendall(head() + BODY)
        assert receive(connection)[0] == 200
        (worker,) = server.workers()
        assert established(worker, server.port)
        established(server.process.pid, server.port)


def test_nothing_heavy_is_imported(models):
    """Serving imports no scikit-learn, no ONNX converter and no library that unpickles models."""
    code = (
        "import sys; from unpickled import Config, create_app; import unpickled.server.process.workers\n"
        "app = create_app(Config(models=sys.argv[1], default_model='people'))\n"
        "row = {'age': None, 'income': 1, 'city': 'Bonn', 'plan': 'pro'}\n"
        "assert app.test_client().post('/predict', json=row).status_code == 200\n"
        "print(*sys.modules)"
    )
    command = [sys.executable, "-W", "error", "-c", code, str(models.path)]
    loaded = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    roots = {name.partition(".")[0] for name in loaded}
    assert "onnxruntime" in roots
    assert not roots & {
        "sklearn",
        "skl2onnx",
        "onnx",
        "joblib",
        "cloudpickle",
        "dill",
        "pandas",
        "scipy",
    }
    assert not any(name.startswith("unpickled.export") for name in loaded)


def test_another_wsgi_server(models, tmp_path):
    """The application under gunicorn answers predictions, errors and chunked bodies."""
    program = (
        sys.executable,
        "-m",
        "gunicorn",
        "unpickled.server:create_app()",
        "--threads",
        "4",
        "--bind",
        "127.0.0.1:{port}",
    )
    with serving(tmp_path, models=models.path, program=program) as server:
        status, document = server.ask("/models/iris/predict", BODY)
        assert (status, document["prediction"]) == (200, [0])
        assert server.ask("/models/iris/predict", b"{")[1]["code"] == "malformed_json"
        assert server.ask("/nope")[1]["code"] == "not_found"
        assert exchange(server, chunked(BODY[:5], BODY[5:], path="/models/iris/predict"))[0] == 200
        table = head(
            None, "Transfer-Encoding: chunked", "Content-Type: text/csv", path="/models/iris/predict"
        )
        table += b"3\r\na\n1\r\n0\r\n\r\n"
        assert exchange(server, table)[0] == 400
        request = head(len(BODY) + 1, path="/models/iris/predict") + BODY
        assert exchange(server, request, close=True)[0] == 400
