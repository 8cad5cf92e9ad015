"""Bodies without a length that break off, and answers to clients that are still sending."""

import contextlib
import gzip
import http.client
import io
import json
import socket
import struct
from functools import partial

import pyarrow as pa
import pytest
from conftest import FLOWER, FLOWERS, PATIENCE, serving
from test_server import BODY, DEFAULT, exchange, head
from test_stream import LINE, Typist

TABLE = f"{','.join(FLOWERS)}\n{','.join(map(str, FLOWER))}\n".encode()
ARROW = "application/vnd.apache.arrow.stream"
LINES = "application/x-ndjson"
# Bytes that may come in place of a chunk: its end, nothing, and two kinds of garbage.
WHOLE, CUT, NO_SIZE, NO_END = b"0\r\n\r\n", b"", b"zz\r\n", b"5\r\nab"
BROKEN = [CUT, NO_SIZE, NO_END]
TABLE_PATHS = ["/predict", "/models/iris/predict", "/models/iris/versions/1/predict", "/invocations"]


@pytest.fixture(scope="module")
def server(models, tmp_path_factory):
    """A server with default settings."""
    with serving(tmp_path_factory.mktemp("endings"), *DEFAULT, models=models.path) as server:
        yield server


def parts(path: str, kind: str, *chunks: bytes, end: bytes = WHOLE, more: tuple[str, ...] = ()) -> bytes:
    """A request in chunks, which end in ``end``."""
    lines = ("Transfer-Encoding: chunked", f"Content-Type: {kind}", *more)
    return head(None, *lines, path=path) + b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in chunks) + end


def answer(server, request: bytes) -> tuple[int, bytes]:
    """Status and body of the answer to a client that sends no more, if the request is not whole."""
    with server.connect() as connection:
        connection.sendall(request)
        if not request.endswith(WHOLE):
            connection.shutdown(socket.SHUT_WR)
        reply = http.client.HTTPResponse(connection, method="POST")
        reply.begin()
        return reply.status, reply.read()


def arrow() -> bytes:
    """Two record batches, which end in the mark of the stream's end."""
    table = pa.table({name: [value, value] for name, value in zip(FLOWERS, FLOWER, strict=True)})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=1)
    return sink.getvalue()


@pytest.mark.parametrize("end", [WHOLE, *BROKEN], ids=["whole", "cut", "no size", "no end"])
@pytest.mark.parametrize("path", TABLE_PATHS)
@pytest.mark.parametrize("kind", ["text/csv", "text/csv; header=present"])
def test_a_table_in_chunks_needs_its_length(server, kind, path, end):
    """CSV without a length is refused with the remedy, whole or not: its end cannot be told."""
    status, body = answer(server, parts(path, kind, TABLE, end=end))
    assert (status, json.loads(body)["code"]) == (411, "length_required")
    assert "send its length, or compress it" in json.loads(body)["error"]
    announced = head(len(TABLE), f"Content-Type: {kind}", path=path) + TABLE
    assert exchange(server, announced)[0] == 200


@pytest.mark.parametrize("kind", ["application/jsonlines", "application/x-ndjson"])
def test_json_lines_of_one_answer_need_their_length(server, kind):
    """The lines of SageMaker are answered together, so they need a length as a table does."""
    line = b'{"features":[5.1,3.5,1.4,0.2]}\n'
    assert answer(server, parts("/invocations", kind, line))[0] == 411
    assert exchange(server, head(len(line), f"Content-Type: {kind}", path="/invocations") + line)[0] == 200


@pytest.mark.parametrize("end", BROKEN, ids=["cut", "no size", "no end"])
@pytest.mark.parametrize(
    ("kind", "body", "more"),
    [
        ("text/csv", gzip.compress(TABLE), ("Content-Encoding: gzip",)),
        ("application/json", BODY, ()),
        (ARROW, arrow(), ()),
    ],
    ids=["gzip", "json", "arrow"],
)
@pytest.mark.parametrize("path", TABLE_PATHS)
def test_bodies_with_an_end_of_their_own(server, path, kind, body, more, end):
    """Compressed bodies, JSON and Arrow streams are read in chunks, and refused wherever they are cut."""
    assert answer(server, parts(path, kind, body[:20], body[20:], more=more))[0] == 200
    for size in range(1, len(body), 1 + len(body) // 40):
        assert answer(server, parts(path, kind, body[:size], end=end, more=more))[0] == 400


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("/score", {"data": [FLOWER]}),
        ("/v1/models/iris:predict", {"instances": [FLOWER]}),
        ("/invocations", {"dataframe_split": {"columns": FLOWERS, "data": [FLOWER]}}),
        (
            "/v2/models/iris/infer",
            {"inputs": [{"name": "numbers", "shape": [1, 4], "datatype": "FP64", "data": FLOWER}]},
        ),
    ],
    ids=["azure", "tensorflow", "mlflow", "v2"],
)
def test_documents_of_other_protocols(server, path, document):
    """A document in chunks is answered as a whole one, and refused where it breaks off."""
    body = json.dumps(document).encode()
    whole = answer(server, parts(path, "application/json", body))
    assert whole == exchange(server, head(len(body), path=path) + body)[::2]
    assert whole[0] == 200
    for end in BROKEN:
        assert answer(server, parts(path, "application/json", body[:-2], end=end))[0] == 400


@pytest.mark.parametrize("end", BROKEN, ids=["cut", "no size", "no end"])
def test_a_binary_tensor_in_chunks(server, end):
    """The shape of a tensor tells its length, and so where it is cut."""
    binary = struct.pack("<8d", *FLOWER, *FLOWER)
    tensor = {"name": "numbers", "shape": [2, 4], "datatype": "FP64", "parameters": {"binary_data_size": 64}}
    document = json.dumps({"inputs": [tensor]}).encode()
    more = (f"Inference-Header-Content-Length: {len(document)}",)
    send = partial(parts, "/v2/models/iris/infer", "application/octet-stream", document, more=more)
    assert answer(server, send(binary))[0] == 200
    assert answer(server, send(binary[:32], end=end))[0] == 400


def test_a_tensor_alone_needs_its_length(server):
    """A body without JSON may be cut behind any row."""
    path, kind, zero = (
        "/v2/models/iris/infer",
        "application/octet-stream",
        "Inference-Header-Content-Length: 0",
    )
    binary = struct.pack("<4d", *FLOWER)
    status, body = answer(server, parts(path, kind, binary, more=(zero,)))
    assert (status, json.loads(body)["code"]) == (411, "length_required")
    assert exchange(server, head(32, f"Content-Type: {kind}", zero, path=path) + binary)[0] == 200
    packed = parts(path, kind, gzip.compress(binary), more=(zero, "Content-Encoding: gzip"))
    assert answer(server, packed)[0] == 200


@pytest.mark.parametrize("end", [WHOLE, *BROKEN], ids=["whole", "cut", "no size", "no end"])
def test_a_last_line_without_its_end(server, end):
    """It may be the half of a line, so it gets an error in place of a prediction."""
    status, body = answer(server, parts("/predict", LINES, LINE + b"\n", LINE, end=end))
    first, last = (json.loads(line) for line in body.splitlines() if line.startswith(b"{"))
    assert (status, first["predicted_class"]) == (200, ["setosa"])
    assert (last["code"], last["line"]) == ("incomplete_body", 2)


@pytest.mark.parametrize("length", [1, 65535, 65536, 65537, 131072])
def test_lines_as_long_as_a_block(server, length):
    """The end of a line is seen at any length, and spaces at the end of a stream are no line."""
    line = b" " * (length - 1) + b"\n"
    _, body = answer(server, parts("/predict", LINES, line, b" " * length + LINE + b"\n  "))
    assert b'"prediction":[0]' in body
    assert b"error" not in body


@pytest.mark.parametrize("coding", ["gzip, chunked", "identity, chunked", "chunked, chunked"])
@pytest.mark.parametrize("kind", ["application/json", LINES])
def test_codings_that_nothing_undoes(server, kind, coding):
    """A body in any transfer coding beside chunks is refused."""
    request = parts("/predict", kind, BODY + b"\n").replace(b": chunked", f": {coding}".encode())
    status, body = answer(server, request)
    assert (status, "Transfer-Encoding is" in json.loads(body)["error"]) == (400, True)


REFUSALS = {
    "host": ("POST", "/predict", {"Host": "a b"}, 400),
    "unknown path": ("POST", "/nowhere", {}, 404),
    "unknown model": ("POST", "/models/no/predict", {}, 404),
    "method": ("PUT", "/predict", {}, 405),
    "no prediction": ("POST", "/livez", {}, 405),
    "length": ("POST", "/predict", {"Content-Type": "text/csv"}, 411),
    "size": ("POST", "/predict", {}, 413),
    "encoding of lines": ("POST", "/predict", {"Content-Encoding": "br", "Content-Type": LINES}, 415),
    "deadline": ("POST", "/predict", {"Request-Timeout": "soon"}, 400),
}


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "chunked"])
@pytest.mark.parametrize("name", sorted(REFUSALS))
def test_answers_to_clients_that_are_still_sending(server, name, announced):
    """A client that sends 64 MB before it reads gets each kind of refusal, and may go on."""
    method, path, headers, status = REFUSALS[name]
    if announced and name == "length":
        status = 413
    piece = b" " * 1_000_000
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    with contextlib.closing(connection) as client:
        client.request(method, path, piece * 64 if announced else iter([piece] * 64), headers)
        refusal = client.getresponse()
        assert (refusal.status, "error" in json.load(refusal)) == (status, True)
        client.request("POST", "/predict", BODY)
        assert client.getresponse().status == 200


def test_streams_that_find_no_place(models, tmp_path):
    """A client that sends a long stream learns that no place is free."""
    with (
        serving(tmp_path, *DEFAULT, "--threads", "4", models=models.path) as server,
        contextlib.ExitStack() as stack,
    ):
        for typist in [stack.enter_context(Typist(server)) for _ in range(2)]:
            assert typist.ask(LINE)["prediction"] == [0]
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
        with contextlib.closing(connection) as client:
            client.request("POST", "/predict", iter([b" " * 1_000_000] * 64), {"Content-Type": LINES})
            assert json.load(client.getresponse())["code"] == "busy"
