"""Requests that are no HTTP, that hide another request, or whose JSON is wrong, over sockets."""

import contextlib
import http.client
import json
import re
import socket
import struct

import pytest
from conftest import FLOWERS, PATIENCE, serving
from malformed import CHUNKED, CODINGS, EITHER, FIRST_LINES, HEADERS, LENGTHS, NAMES, RIGHT, WRONG
from test_server import BODY, DEFAULT

LAST = b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
INNER = b"GET /inner HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKS = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)

PLACES = {
    "body": b"%s",
    "number": b'{"features":[5.1,3.5,1.4,%s]}',
    "row": b'{"instances":[[5.1,3.5,1.4,0.2],%s]}',
    "member": b'{"features":[5.1,3.5,1.4,0.2],"note":%s}',
    "record": json.dumps(dict.fromkeys(FLOWERS[:3], 1)).encode()[:-1] + b',"petal_width":%s}',
    "tensor": b'{"inputs":[{"name":"numbers","shape":[1,4],"datatype":"FP64","data":[1,1,1,%s]}]}',
}
PATHS = ["/predict", "/v2/models/iris/infer", "/v1/models/iris:predict", "/invocations", "/score"]


@pytest.fixture(scope="module")
def server(models, tmp_path_factory):
    """A server, whose log has to be without errors in the end."""
    flags = (*DEFAULT, "--access-log")
    with serving(tmp_path_factory.mktemp("wire"), *flags, models=models.path) as server:
        yield server
        assert server.ask("/predict", BODY)[0] == 200
        assert '"path":"/inner"' not in server.printed()
        assert not re.search("ERROR|Traceback|panicked", server.printed())


def statuses(server, request: bytes) -> list[int]:
    """The statuses of all answers on one connection, up to its end."""
    with server.connect() as connection:
        received = b""
        # The server may close a connection on which there was more to read.
        with contextlib.suppress(ConnectionError):
            connection.sendall(request)
            while part := connection.recv(65536):
                received += part
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", received)]


def answered(server, path: str, bodies: list[bytes]) -> list[int]:
    """The status of each body, on one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    found = []
    for body in bodies:
        connection.request("POST", path, body)
        reply = connection.getresponse()
        json.loads(reply.read())
        found.append(reply.status)
    connection.close()
    return found


@pytest.mark.parametrize("place", sorted(PLACES))
@pytest.mark.parametrize("path", PATHS)
def test_wrong_json(server, path, place):
    """A body that no parser may take is refused with 400, wherever it stands in a request."""
    found = answered(server, path, [PLACES[place] % wrong for wrong in WRONG])
    assert [(wrong[:40], status) for wrong, status in zip(WRONG, found, strict=True) if status != 400] == []


@pytest.mark.parametrize("place", sorted(PLACES))
@pytest.mark.parametrize("path", PATHS)
def test_json_that_parsers_may_take(server, path, place):
    """Whatever a parser may take or refuse is answered, or refused, and never fails."""
    bodies = [PLACES[place] % text.encode() for text in (*RIGHT, *EITHER)]
    assert set(answered(server, path, bodies)) <= {200, 400}


def test_right_json(server):
    """Each spelling of a number is taken."""
    for place in ("number", "record"):
        found = answered(server, "/predict", [PLACES[place] % text.encode() for text in RIGHT])
        assert found == [200] * len(RIGHT)
    assert len(WRONG) + len(RIGHT) + len(EITHER) > 200


def get(*lines: bytes, first: bytes = b"GET /livez HTTP/1.1", host: bytes = b"Host: a") -> bytes:
    """A request with these lines, and one that ends the connection."""
    return b"\r\n".join([first, host, *lines, b"", b""]) + LAST


@pytest.mark.parametrize("first", FIRST_LINES, ids=range(len(FIRST_LINES)))
def test_malformed_first_lines(server, first):
    """A first line that is none, or asks for nothing that there is, gets one refusal and nothing else."""
    status, *more = statuses(server, get(first=first))
    assert 400 <= status < 500
    assert more in ([], [200])


@pytest.mark.parametrize("lines", HEADERS, ids=range(len(HEADERS)))
@pytest.mark.parametrize("first", [b"GET /livez HTTP/1.1", b"POST /predict HTTP/1.1"])
def test_malformed_headers(server, first, lines):
    """A malformed header is refused wherever it stands."""
    for request in (get(lines, first=first), get(b"Host: a", first=first, host=lines)):
        status, *more = statuses(server, request)
        assert 400 <= status < 500
        assert more in ([], [200])


@pytest.mark.parametrize("size", [0, 1, 7, 20, 27, 36])
def test_requests_that_never_end(server, size):
    """Clients that leave in the middle of a head do no harm."""
    with server.connect() as connection:
        connection.sendall(get()[:size])
    assert statuses(server, get()) == [200, 200]


def check_unseen(server, fields: list[str], body: bytes) -> None:
    """Send a body that has another request inside, and one more request behind it."""
    head = "\r\n".join(["POST /predict HTTP/1.1", "Host: a", *fields, "", ""]).encode("latin-1")
    found = statuses(server, head + body + LAST)
    # The request inside would get a 404. The one behind is not seen where the connection ends before.
    assert len(found) <= 2, found
    assert set(found) <= {200, 400}, found


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("coding_first", [True, False])
def test_two_lengths(server, coding, coding_first):
    """Whichever of Content-Length and Transfer-Encoding counts, a request in the body is not seen."""
    for body in (b"0\r\n\r\n" + INNER, b"%x\r\n%s\r\n0\r\n\r\n" % (len(INNER), INNER)):
        for length in (len(body), len(body) - 7, len(INNER), 4, 0):
            fields = [f"Transfer-Encoding: {coding}", f"Content-Length: {length}"]
            check_unseen(server, fields if coding_first else fields[::-1], body)


@pytest.mark.parametrize("coding", CODINGS)
def test_codings(server, coding):
    """A request inside a chunk is not seen, however the coding is spelled."""
    check_unseen(server, [f"Transfer-Encoding: {coding}"], b"%x\r\n%s\r\n0\r\n\r\n" % (len(INNER), INNER))


@pytest.mark.parametrize("name", NAMES)
def test_names_of_the_coding(server, name):
    """A header that only looks like Transfer-Encoding changes nothing about the length."""
    body = b"0\r\n\r\n" + INNER
    for fields in ([f"{name}: chunked"], ["X: y", f"{name}: chunked", "X: y"]):
        check_unseen(server, [f"Content-Length: {len(body)}", *fields], body)
        check_unseen(server, [*fields, f"Content-Length: {len(body)}"], body)


@pytest.mark.parametrize("length", LENGTHS)
def test_spellings_of_a_length(server, length):
    """A length is a number in digits, or the request is refused with all that follows."""
    text = length.format(n=len(INNER), m=len(INNER) + 5)
    check_unseen(server, [f"Content-Length: {text}"], INNER if text != "0" else b"")


@pytest.mark.parametrize("chunks", CHUNKED, ids=range(len(CHUNKED)))
def test_spellings_of_chunks(server, chunks):
    """A request inside a chunk is not seen, however its size, extensions and trailers are written."""
    check_unseen(server, ["Transfer-Encoding: chunked"], chunks % (len(INNER), INNER))


@pytest.mark.parametrize("fields", [["Transfer-Encoding: chunked"], [f"Content-Length: {len(INNER)}"]])
def test_bodies_that_nobody_reads(server, fields):
    """A body that a page does not want is no request; neither is that of a refused one."""
    body = INNER if "Length" in fields[0] else b"%x\r\n%s\r\n0\r\n\r\n" % (len(INNER), INNER)
    for first in (
        "GET /livez",
        "HEAD /livez",
        "GET /models",
        "OPTIONS /predict",
        "PUT /predict",
        "DELETE /livez",
    ):
        head = "\r\n".join([f"{first} HTTP/1.1", "Host: a", *fields, "", ""]).encode()
        status, *more = statuses(server, head + body + LAST)
        assert status in {200, 405}
        assert more in ([], [200])


def test_no_coding_in_http_1_0(server):
    """HTTP/1.0 has no chunks: a request with them is refused, and nothing behind it is seen."""
    head = (
        b"POST /predict HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    assert statuses(server, head + CHUNKS + INNER) == [400]


def frame(kind: int, flags: int, stream: int, content: bytes = b"") -> bytes:
    """A frame of HTTP/2: https://www.rfc-editor.org/rfc/rfc9113#section-4.1."""
    return struct.pack(">I", len(content))[1:] + struct.pack(">BBI", kind, flags, stream) + content


def fields_of(*pairs: tuple[str, str]) -> bytes:
    """Header fields, written out: https://www.rfc-editor.org/rfc/rfc7541#section-6.2.2."""
    texts = [text.encode("latin-1") for pair in pairs for text in pair]
    lengths = [bytes([len(text)]) + text for text in texts]
    return b"".join(b"\0" + name + value for name, value in zip(lengths[::2], lengths[1::2], strict=True))


def http2(server, fields: bytes, *frames: bytes) -> tuple[set[int], bytes]:
    """The kinds of the frames that come about stream 1 or end the connection, and the body of the answer."""
    kinds, body = set(), b""
    with server.connect() as connection, connection.makefile("rb") as stream:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0) + frame(1, 4, 1, fields))
        connection.sendall(b"".join(frames))
        while head := stream.read(9):
            size, kind, flags, number = struct.unpack(">IBBI", b"\0" + head[:3] + head[3:])
            content = stream.read(size)
            if number == 1 or kind == 7:
                kinds.add(kind)
                body += content if kind == 0 else b""
            if kind in {3, 7} or (number == 1 and flags & 1 and kind < 2):
                break
    return kinds, body


REQUEST = ((":method", "POST"), (":scheme", "http"), (":path", "/predict"), (":authority", "a"))
# Kinds of frames: the body, the header, and the end of a stream or of a connection by an error.
DATA, HEADERS_FRAME, ENDED = 0, 1, {3, 7}


def test_http_2(server):
    """A body without a length is answered; one of another length than announced ends its stream."""
    whole = frame(0, 1, 1, BODY)
    assert b'"prediction":[0]' in http2(server, fields_of(*REQUEST), whole)[1]
    length = ("content-length", str(len(BODY)))
    assert b'"prediction":[0]' in http2(server, fields_of(*REQUEST, length), whole)[1]
    for wrong in ("5", str(len(BODY) + 5), "+34", "x"):
        kinds, body = http2(server, fields_of(*REQUEST, ("content-length", wrong)), whole)
        assert kinds & ENDED or b'"code"' in body
        assert b"prediction" not in body


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ((":authority", ""), b""),
        ((":authority", "a b"), b""),
        ((":path", "predict"), b""),
        ((":path", ""), b""),
        ((":path", "*"), b"bad_request"),
        ((":method", "CONNECT"), b""),
        (("transfer-encoding", "chunked"), b""),
        (("connection", "close"), b""),
        (("Content-Type", "application/json"), b""),
        (("a b", "c"), b""),
        (("a", "b\r\nc: d"), b""),
        (("host", "b,c"), b"bad_request"),
        (("content-type", "text/csv"), b"length_required"),
    ],
    ids=str,
)
def test_malformed_http_2(server, change, code):
    """A malformed request ends its stream, or gets a 400 or 411; it is never answered."""
    fields = dict(REQUEST) | dict([change])
    kinds, body = http2(server, fields_of(*fields.items()), frame(0, 1, 1, BODY))
    assert kinds & ENDED or json.loads(body)["code"] in {"bad_request", "length_required"}
    assert code in body


def test_lines_that_http_2_cuts(server):
    """A stream of lines that its client resets is no request any more; one that ends needs its line end."""
    kind = ("content-type", "application/x-ndjson")
    ended = http2(server, fields_of(*REQUEST, kind), frame(0, 1, 1, BODY + b"\n" + BODY))[1]
    assert (ended.count(b'"prediction":[0]'), b'"code":"incomplete_body","line":2' in ended) == (1, True)
    with server.connect() as connection:
        connection.sendall(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0) + frame(1, 4, 1, fields_of(*REQUEST))
        )
        connection.sendall(
            frame(0, 0, 1, BODY[:9]) + frame(3, 0, 1, struct.pack(">I", 8)) + frame(6, 0, 0, bytes(8))
        )
        assert connection.recv(1000)
    assert statuses(server, get()) == [200, 200]


def test_clients_that_close_their_half(server):
    """hyper may take a client that has closed its half of the connection for one that has left.

    Such a client gets its whole answer or none, and others get theirs.
    """
    with server.connect() as connection:
        connection.sendall(get().removesuffix(LAST))
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(1000), b""))
        assert answer == b"" or (answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b'{"live":true}'))
    assert statuses(server, get()) == [200, 200]
