"""Newline-delimited JSON: lines are answered as they come, in streams of any length."""

import contextlib
import gzip
import http.client
import io
import json
import random
import re
import shutil
import socket
import subprocess
import threading
import zlib
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path

import pytest
import requests
from conftest import FLOWER, FLOWERS, PATIENCE, Serving, eventually, serving, shelve
from prometheus_client.parser import text_string_to_metric_families

from unpickled.server import Config, create_app
from unpickled.server.config import Limits

KIND = {"Content-Type": "application/x-ndjson"}
LINE = json.dumps({"features": FLOWER}).encode()
RECORD = json.dumps(dict(zip(FLOWERS, FLOWER, strict=True))).encode()
DEFAULT = ("--default-model", "iris")


@pytest.fixture(scope="module")
def server(models, tmp_path_factory) -> Iterator[Serving]:
    """A server for every test that does it no harm."""
    with serving(tmp_path_factory.mktemp("stream"), *DEFAULT, models=models.path) as server:
        yield server


@pytest.fixture(scope="module")
def brief(models):
    """A client of an application whose lines have 100 bytes at most."""
    config = Config(models=str(models.path), default_model="iris", limits=Limits(max_body_bytes=100))
    return create_app(config).test_client()


class Typist:
    """A client that sends lines and reads answers when it likes."""

    def __init__(self, server: Serving) -> None:
        self.connection = server.connect()
        head = "POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
        self.connection.sendall(f"{head}Content-Type: {KIND['Content-Type']}\r\n\r\n".encode())
        self.received = b""

    def __enter__(self) -> "Typist":
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def send(self, data: bytes) -> None:
        self.connection.sendall(b"%x\r\n%s\r\n" % (len(data), data))

    def receive(self, end: bytes = b"}\n\r\n") -> bytes:
        """The bytes up to an end, with the head of the answer."""
        while end not in self.received:
            part = self.connection.recv(65536)
            if not part:
                raise ConnectionError(f"ended after {self.received!r}")
            self.received += part
        message, _, self.received = self.received.partition(end)
        return message + end

    def ask(self, line: bytes) -> dict:
        self.send(line + b"\n")
        return json.loads(self.receive().split(b"\r\n")[-2])

    def status(self) -> int:
        return int(self.receive(b"\r\n\r\n").split()[1])

    def end(self) -> bytes:
        """End the stream in order; the bytes before the end of the answer."""
        with contextlib.suppress(OSError):
            self.connection.sendall(b"0\r\n\r\n")
        return self.receive(b"0\r\n\r\n")


def post(client, data: bytes, path: str = "/predict", announced: bool = True, **headers: str) -> list:
    """The answers to the lines of a stream."""
    sent = KIND | {name.replace("_", "-"): value for name, value in headers.items()}
    # The environ of a body whose length is not announced.
    unannounced = {"wsgi.input": io.BytesIO(data), "wsgi.input_terminated": True, "CONTENT_LENGTH": ""}
    extra = {} if announced else unannounced
    answer = client.post(path, data=data, headers=sent, environ_overrides=extra)
    assert (answer.status_code, answer.mimetype) == (200, "application/x-ndjson")
    assert answer.data == b"" or answer.data.endswith(b"\n")
    return [json.loads(line) for line in answer.data.splitlines()]


def lines_of(*lines: bytes) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def codes(answers: list) -> list:
    return [(answer.get("code"), answer.get("line")) for answer in answers]


@pytest.mark.parametrize("path", ["/predict", "/models/iris/predict", "/models/iris/versions/1/predict"])
def test_each_line_is_a_request(client, path):
    """A line in any form of the native protocol is answered as it is alone."""
    batch = json.dumps({"features": [FLOWER, FLOWER]}).encode()
    several = json.dumps({"instances": [FLOWER, json.loads(RECORD)]}).encode()
    lines = [LINE, RECORD, batch, several]
    alone = [client.post("/predict", data=line).json for line in lines]
    for announced in (True, False):
        answers = post(client, lines_of(*lines), path, announced=announced)
        assert all(answer.pop("prediction_id") for answer in answers)
        assert answers == alone


def test_who_answers_is_said(client):
    """The headers name model and version, for each media type of the format."""
    for kind in (
        "application/x-ndjson",
        "application/jsonl",
        "application/jsonlines",
        "application/x-jsonlines",
        "Application/X-NDJSON; charset=utf-8",
    ):
        answer = client.post("/predict", data=LINE, headers={"Content-Type": kind})
        assert (answer.headers["Model-Name"], answer.headers["Model-Version"]) == ("iris", "1")
        assert answer.mimetype == "application/x-ndjson"
        assert json.loads(answer.data)["predicted_class"] == ["setosa"]


@pytest.mark.parametrize("announced", [True, False])
def test_wrong_lines(client, announced):
    """A wrong line is answered by an error with its number; blank lines count; the last needs no end."""
    body = lines_of(LINE, b"{", b"", b" \t", LINE + b"\r", b'{"features": [1, 2]}', b"\xff") + LINE
    answers = post(client, body, announced=announced)
    wrong = [("malformed_json", 2), ("invalid_input", 6), ("malformed_json", 7)]
    assert codes(answers) == [(None, None), wrong[0], (None, None), *wrong[1:], (None, None)]
    assert all("error" in answer for answer in answers if "code" in answer)


@pytest.mark.parametrize("body", [b"", b"\n", b"\n \r\n\n"])
def test_nothing(client, body):
    """A stream without lines has an answer without lines."""
    assert post(client, body) == post(client, body, announced=False) == []


@pytest.mark.parametrize("announced", [True, False])
def test_a_mark_at_the_beginning(client, announced):
    """A byte order mark is skipped at the beginning of a line, as each is a document."""
    marked = LINE.decode().encode("utf-8-sig")
    answers = post(client, lines_of(marked, LINE, marked), announced=announced)
    assert codes(answers) == [(None, None)] * 3


def test_many_blank_lines(client):
    """Each of many blank lines is counted, wherever the blocks of a stream begin."""
    blank = b"\n \r\n" * 100_000
    sent = lines_of(LINE) + blank + b" {\n" + blank + b"{"
    for body, headers in ((sent, {}), (gzip.compress(sent), {"Content_Encoding": "gzip"})):
        answers = post(client, body, **headers)
        wrong = [("malformed_json", 200_002), ("malformed_json", 400_003)]
        assert codes(answers) == [(None, None), *wrong]


@pytest.mark.parametrize("announced", [True, False])
def test_lines_that_are_too_long(brief, announced):
    """A line longer than the limit of a body is an error, and the lines after it are answered."""
    fits, exceeds = LINE.ljust(100), LINE.ljust(101)
    body = lines_of(fits, exceeds, LINE, b"x" * 300_000, LINE) + b"y" * 200_000
    answers = post(brief, body, announced=announced)
    good, long = (None, None), "body_too_large"
    assert codes(answers) == [good, (long, 2), good, (long, 4), good, (long, 6)]
    assert answers[1]["limit"] == 100


def test_lines_across_blocks(client):
    """Each answer is that of its own line, wherever the blocks of a stream begin."""
    rng = random.Random(3)
    rows = [[round(rng.uniform(0.1, 7), 2) for _ in FLOWER] for _ in range(600)]
    padded = [json.dumps({"features": row}).encode().ljust(rng.choice([40, 400, 70_000])) for row in rows]
    answers = post(client, lines_of(*padded))
    whole = client.post("/predict", json={"features": rows}).json
    assert [answer["prediction"][0] for answer in answers] == whole["prediction"]
    probabilities = [answer["probabilities"][0] for answer in answers]
    assert probabilities == [pytest.approx(row, abs=1e-12) for row in whole["probabilities"]]


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "identity"])
@pytest.mark.parametrize("announced", [True, False])
def test_encodings(client, encoding, announced):
    """A compressed stream is expanded as it comes."""
    body = lines_of(*[LINE, b"{"] * 2000)
    sent = {"gzip": gzip.compress, "deflate": zlib.compress, "identity": bytes}[encoding](body)
    answers = post(client, sent, announced=announced, Content_Encoding=encoding)
    assert codes(answers) == [(None, None) if n % 2 else ("malformed_json", n) for n in range(1, 4001)]


def test_files_that_were_compressed_in_parts(client):
    """Several gzip files in a row are one stream."""
    sent = gzip.compress(LINE[:9]) + gzip.compress(LINE[9:] + b"\n") + gzip.compress(LINE)
    assert codes(post(client, sent, Content_Encoding="gzip")) == [(None, None)] * 2


def test_encodings_that_are_wrong(client):
    """A damaged encoding is an error at the end of the stream; an unknown one is refused at once."""
    sent = gzip.compress(lines_of(*[LINE] * 3))
    for body in (sent[:-9], sent[:-8] + b"12345678", sent + b"more"):
        *_, last = post(client, body, Content_Encoding="gzip")
        assert (last["code"], "Content-Encoding" in last["error"]) == ("invalid_input", True)
    answer = client.post("/predict", data=LINE, headers={**KIND, "Content-Encoding": "br"})
    assert (answer.status_code, answer.json["code"]) == (415, "unsupported_encoding")


def test_bombs(brief):
    """A line that expands to 100 MB is an error, and is not kept in memory."""
    expand = zlib.compressobj(9)
    sent = b"".join(expand.compress(bytes(1_000_000)) for _ in range(100)) + expand.flush()
    assert codes(post(brief, sent, Content_Encoding="deflate")) == [("body_too_large", 1)]


def test_dialogue(server):
    """A client may wait for each answer, and may send another request after the stream."""
    with Typist(server) as typist:
        typist.send(LINE[:10])
        assert typist.ask(LINE[10:])["predicted_class"] == ["setosa"]
        assert typist.ask(b"?")["line"] == 2
        assert typist.ask(LINE)["predicted_class"] == ["setosa"]
        assert typist.end() == b"0\r\n\r\n"
        plain = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s"
        typist.connection.sendall(plain % (len(LINE), LINE))
        assert typist.status() == 200


def test_compressed_dialogue(server):
    """A client that compresses, and flushes each line, may wait for each answer."""
    with server.connect() as connection:
        head = f"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: {KIND['Content-Type']}\r\n"
        head += "Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head.encode())
        press = zlib.compressobj(wbits=31)
        for _ in range(3):
            data = press.compress(LINE + b"\n") + press.flush(zlib.Z_SYNC_FLUSH)
            connection.sendall(b"%x\r\n%s\r\n" % (len(data), data))
            received = b""
            while b"setosa" not in received:
                received += connection.recv(65536)


def test_requests_with_a_generator(server):
    """The library requests can stream a generator, and read line by line."""
    body = (line + b"\n" for line in [LINE, b"[]", LINE])
    answer = requests.post(f"{server.url}/predict", body, headers=KIND, stream=True, timeout=PATIENCE)
    answers = [json.loads(line) for line in answer.iter_lines()]
    assert codes(answers) == [(None, None), ("invalid_input", 2), (None, None)]


@pytest.mark.skipif(not shutil.which("curl"), reason="no curl")
@pytest.mark.parametrize("how", [["--data-binary", "@-"], ["-T", "-", "-X", "POST"]])
def test_curl(server, how):
    """curl sends files with or without a length, and gets the go-ahead that it waits for."""
    kind = ["-H", "Content-Type: application/x-ndjson", "-H", "Expect: 100-continue"]
    command = ["curl", "-sNv", *kind, "--expect100-timeout", str(PATIENCE), *how, f"{server.url}/predict"]
    completed = subprocess.run(command, input=lines_of(*[LINE] * 40_000), capture_output=True, check=True)
    assert completed.stdout.count(b"setosa") == completed.stdout.count(b"\n") == 40_000
    assert b"< HTTP/1.1 100 Continue" in completed.stderr


def test_memory(server):
    """100 MB in a stream do not make the worker grow, and its slot is freed."""
    (pid,) = server.workers()
    requests.post(f"{server.url}/predict", LINE, headers=KIND, timeout=PATIENCE)
    before = peak(pid)
    line = lines_of(LINE.ljust(100_000))
    length = {"Content-Length": str(1000 * len(line))}
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port)) as connection:
        connection.request("POST", "/predict", repeat(line, 1000), KIND | length)
        assert connection.getresponse().read().count(b"setosa") == 1000
    assert peak(pid) - before < 20
    eventually(lambda: in_flight(server) == 0)


def peak(pid: int) -> float:
    """The most memory that a process ever had, in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024


def in_flight(server: Serving) -> float:
    """The requests in flight; -1 where that is not told soon.

    Beside long streams granian may, by a race, start no thread for a request until the next one comes.
    """
    try:
        return figures(server)["unpickled_requests_in_flight"]
    except requests.Timeout:
        return -1.0


def figures(server: Serving, *names: str) -> dict[str, float]:
    """Name of a series, and the values of some of its labels -> sum."""
    text = requests.get(f"{server.url}/metrics", timeout=20).text
    sums: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = " ".join([sample.name, *(sample.labels.get(name, "") for name in names)]).strip()
            sums[key] = sums.get(key, 0.0) + sample.value
    return sums


def test_clients_that_go(server):
    """A client that leaves in the middle of a stream frees its slot, and nothing is logged."""
    # Fewer streams than one worker takes: those of clients that have gone may still be open.
    for turn in range(24):
        with Typist(server) as typist:
            typist.ask(LINE)
            typist.send(LINE[:20] if turn % 2 else lines_of(*[LINE] * 1000))
            if turn % 4 > 1:
                linger = b"\1\0\0\0" + bytes(4)
                typist.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    eventually(lambda: in_flight(server) == 0)
    assert "ERROR" not in server.printed()
    assert "Traceback" not in server.printed()


def test_bodies_that_end_early(server):
    """A stream shorter than announced ends with an error, and its cut line is not answered as whole."""
    head = f"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: {KIND['Content-Type']}\r\n"
    head += "Content-Length: 5000\r\n\r\n"
    with server.connect() as connection:
        connection.sendall(head.encode() + lines_of(LINE) + LINE)
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as stream:
            received = stream.read()
    assert b'"code":"incomplete_body"' in received
    assert received.count(b"setosa") <= 1


def test_clients_that_do_not_begin(server):
    """A stream that waits for its first byte is one request in flight."""
    eventually(lambda: in_flight(server) == 0)
    with server.connect() as connection:
        head = "POST /predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
        head += f"Expect: 100-continue\r\nContent-Type: {KIND['Content-Type']}\r\n\r\n"
        connection.sendall(head.encode())
        assert b"100 Continue" in connection.recv(1000)
        eventually(lambda: in_flight(server) == 1)


def test_places(models, tmp_path):
    """Streams take half of the threads; a further stream is refused with 503 and Retry-After."""
    with serving(tmp_path, *DEFAULT, "--threads", "4", models=models.path) as server:
        with Typist(server) as first, Typist(server) as second:
            assert first.ask(LINE)["prediction"] == second.ask(LINE)["prediction"] == [0]
            eventually(lambda: in_flight(server) == 2)
            refused = requests.post(f"{server.url}/predict", LINE, headers=KIND, timeout=PATIENCE)
            assert (refused.status_code, refused.json()["code"]) == (503, "busy")
            assert refused.headers["Retry-After"] == "1"
            assert refused.headers["Model-Name"] == "iris"
            assert server.ask("/predict", LINE)[0] == 200
        eventually(lambda: is_streamed(server))


def is_streamed(server: Serving) -> bool:
    answer = requests.post(f"{server.url}/predict", LINE, headers=KIND, timeout=PATIENCE)
    return answer.status_code == 200


@pytest.mark.long
def test_clients_that_stall(models, tmp_path):
    """A client that reads nothing loses its slot, a silent one when it is needed; the others keep theirs."""
    flags = (
        *DEFAULT,
        "--threads",
        "8",
        "--body-timeout",
        "6",
        "--send-timeout",
        "6",
        "--header-timeout",
        "99",
    )
    with (
        serving(tmp_path, *flags, models=models.path) as server,
        serving(tmp_path, *flags, "--threads", "2", models=models.path) as full,
        contextlib.ExitStack() as stack,
    ):
        stall(full, stack)
        (worker,) = full.workers()
        *silent, deaf, busy = (stack.enter_context(Typist(server)) for _ in range(4))
        idle = stack.enter_context(server.connect())
        assert [typist.ask(LINE)["prediction"] for typist in (*silent, busy, deaf)] == [[0]] * 4
        flood = threading.Thread(target=send_without_reading, args=(deaf,))
        flood.start()
        eventually(lambda: busy.ask(LINE) and "had not read" in server.printed())
        flood.join(PATIENCE)
        # Its place is free once its stream has ended, after its connection.
        eventually(lambda: busy.ask(LINE) and in_flight(server) == 3)
        third = stack.enter_context(Typist(server))
        third.ask(LINE)
        eventually(lambda: busy.ask(LINE) and third.ask(LINE) and is_streamed(server))
        assert sum(b"body_timeout" in typist.end() for typist in silent) == 1
        idle.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"200 OK" in idle.recv(1000)
        eventually(lambda: full.ask("/predict", LINE)[0] == 200)
        assert full.workers() == [worker]


def stall(server: Serving, stack: contextlib.ExitStack) -> None:
    """Hold both threads of a server, with a stream and with a body that does not come."""
    assert stack.enter_context(Typist(server)).ask(LINE)["prediction"] == [0]
    head = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{"
    stack.enter_context(server.connect()).sendall(head)


def send_without_reading(typist: Typist) -> None:
    """Send lines until the server closes the connection."""
    with contextlib.suppress(OSError):
        while True:
            typist.send(lines_of(*[LINE] * 1000))


def test_a_reload_in_the_middle(models, tmp_path):
    """A stream keeps the version that it began with; later requests get the new one."""
    home = shelve(models, tmp_path / "models" / "iris", "iris")
    with serving(tmp_path, "--reload-seconds", "0.1", models=home.parent) as server, Typist(server) as typist:
        before = typist.ask(LINE)
        shelve(models, home, "forest", first=2)
        eventually(lambda: server.ask("/models/iris")[1]["version"] == 2)
        after = typist.ask(LINE)
        assert before.pop("prediction_id") != after.pop("prediction_id")
        assert after == before != server.ask("/predict", LINE)[1]


def test_figures_of_two_workers(models, tmp_path):
    """Each line counts as a request; the access log has a line for each stream."""
    flags = (*DEFAULT, "--workers", "2", "--access-log")
    with serving(tmp_path, *flags, models=models.path) as server:
        total = 0
        for _ in range(8):
            answer = requests.post(
                f"{server.url}/predict", lines_of(*[LINE, b"{"] * 500), headers=KIND, timeout=PATIENCE
            )
            total += len(answer.content)
        counts = figures(server, "route", "status")
        assert counts["unpickled_requests_total /predict 200"] == 4000
        assert counts["unpickled_requests_total /predict 400"] == 4000
        assert figures(server, "class")["unpickled_predictions_total setosa"] == 4000
        eventually(lambda: server.printed().count('"path":"/predict"') == 8)
        logged = [json.loads(line) for line in server.printed().splitlines() if '"/predict"' in line]
        assert sum(line["bytes"] for line in logged) == total
