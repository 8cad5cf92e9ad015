"""Long answers, and clients that do not take them."""

import contextlib
import gzip
import http.client
import json
import socket
import struct
from pathlib import Path

import pytest
from conftest import FLOWER, PATIENCE, eventually, serving
from test_server import BODY, DEFAULT, head, receive
from test_silence import PREFACE, ended, metric


def zipped(rows: int) -> bytes:
    """A request of so many rows."""
    return gzip.compress(json.dumps({"features": [FLOWER] * rows}).encode())


ZIPPED = zipped(100_000)
REQUEST = head(len(ZIPPED), "Content-Encoding: gzip") + ZIPPED
FLAGS = (*DEFAULT, "--send-timeout", "3", "--max-queue-ms", "3600000")
# A window of no bytes for each stream: https://www.rfc-editor.org/rfc/rfc9113#section-6.5.2.
NO_WINDOW = PREFACE[:24] + struct.pack("!HBBBIHI", 0, 6, 4, 0, 0, 4, 0)


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """An HTTP/2 frame."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def literal(name: bytes, value: bytes) -> bytes:
    """A header that is not in the tables of HPACK."""
    return b"\0" + bytes((len(name),)) + name + bytes((len(value),)) + value


def over_http2(stream: int, content: bytes) -> bytes:
    """A POST to /predict, whose content is gzip."""
    fields = literal(b":path", b"/predict") + literal(b":authority", b"a")
    fields += literal(b"content-encoding", b"gzip") + literal(b"content-length", b"%d" % len(content))
    frames = frame(1, 4, stream, b"\x83\x86" + fields)
    pieces = [content[start : start + 16_384] for start in range(0, len(content), 16_384)]
    return frames + b"".join(frame(0, piece is pieces[-1], stream, piece) for piece in pieces)


def resident(server) -> int:
    """Bytes of memory that the workers hold."""
    pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in server.workers()]
    return sum(pages) * 4096


def test_a_long_answer_is_whole(models, tmp_path):
    """A long answer has its length and all its bytes, on a connection that stays; the log has its size."""
    flags = (*DEFAULT, "--max-queue-ms", "3600000", "--access-log")
    with serving(tmp_path, *flags, models=models.path) as server:
        client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
        with contextlib.closing(client):
            for _ in range(2):
                client.request("POST", "/predict", ZIPPED, {"Content-Encoding": "gzip"})
                answer = client.getresponse()
                content = answer.read()
                assert len(json.loads(content)["prediction"]) == 100_000
                assert int(answer.headers["Content-Length"]) == len(content) > 2_000_000
        eventually(lambda: server.printed().count(f'"bytes":{len(content)}') == 2)
        eventually(lambda: metric(server, "unpickled_requests_in_flight") == 0)


@pytest.mark.long
def test_clients_that_never_read(models, tmp_path):
    """20 clients that take nothing of a long answer lose their connections, and others are answered."""
    with serving(tmp_path, *FLAGS, models=models.path) as server, contextlib.ExitStack() as stack:
        deaf = [stack.enter_context(socket.socket()) for _ in range(20)]
        for connection in deaf:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", server.port))
            connection.sendall(REQUEST)
            assert connection.recv(12) == b"HTTP/1.1 200"
            assert server.ask("/predict", BODY)[0] == 200
        eventually(lambda: metric(server, "unpickled_requests_in_flight") == 0)
        eventually(lambda: "had not read" in server.printed())
        with server.connect() as connection:
            connection.sendall(REQUEST)
            assert receive(connection)[0] == 200


@pytest.mark.parametrize("streams", [1, pytest.param(150, marks=pytest.mark.long)])
def test_http2_clients_without_a_window(models, tmp_path, streams):
    """An HTTP/2 client that lets the server send nothing loses its connection, and others are answered."""
    with serving(tmp_path, *FLAGS, models=models.path) as server, server.connect() as connection:
        connection.sendall(NO_WINDOW)
        # All together are shorter than the window that the server has for them.
        content = zipped(20_000)
        for number in range(streams):
            connection.sendall(over_http2(2 * number + 1, content))
        assert [server.ask("/predict", BODY)[0] for _ in range(20)] == [200] * 20
        assert ended(connection)
        eventually(lambda: "had not read" in server.printed())
        eventually(lambda: metric(server, "unpickled_requests_in_flight") == 0)
        assert server.ask("/predict", BODY)[0] == 200
