"""The logs of a running server: none of them can make a request fail or wait."""

import http.client
import logging
import os
import socket
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from conftest import PATIENCE, eventually, serving
from handmade import NODES, embed, graph, store
from onnx import helper
from prometheus_client.parser import text_string_to_metric_families as parse

from unpickled.server.observe import log, repeats
from unpickled.server.observe.counters import Memory
from unpickled.server.observe.log import Log
from unpickled.server.observe.outlet import Outlet

GOOD, FAILING = b'{"features": [1]}', b'{"features": [9]}'
SERVER = (sys.executable, "-m", "server", "--port", "{port}", "--access-log")
# How a shell leaves stdout and stderr to the server, and how many of 640 lines cannot be written at least.
OUTPUTS = {
    "closed": ("<&- >&- 2>&-", 0),
    "full disk": (">/dev/full 2>&1", 640),
    "reader gone": ("> >(true) 2>&1; wait $!", 640),
    "reader stopped": ("> >(exec sleep 1000) 2>&1", 1),
}


@pytest.fixture
def brittle(tmp_path):
    """A folder with a model that fails for numbers from 5 on: they index beyond the end of a table."""
    nodes = [
        helper.make_node("Cast", ["X"], ["index"], to=7),
        helper.make_node("Gather", ["table", "index"], ["found"]),
        helper.make_node("Greater", ["found", "zero"], ["positive"]),
    ]
    store(tmp_path / "models", "brittle", embed(graph(nodes + NODES[1:], table=[1.0, 1.0, 1.0, 1.0, -1.0])))
    return tmp_path / "models"


def asked(port, bodies):
    """The statuses of predictions, one after another on one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    statuses = []
    for body in bodies:
        connection.request("POST", "/predict", body)
        with connection.getresponse() as answer:
            answer.read()
            statuses.append(answer.status)
    connection.close()
    return statuses


def figure(port, name, **labels):
    """The sum of the samples of a metric that have these labels."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request("GET", "/metrics")
    families = list(parse(connection.getresponse().read().decode()))
    connection.close()
    samples = [sample for family in families for sample in family.samples if sample.name == name]
    return sum(sample.value for sample in samples if sample.labels.items() >= labels.items())


@pytest.mark.parametrize("output", OUTPUTS)
def test_no_log_fails_a_request(brittle, tmp_path, output):
    """Whatever becomes of stdout and stderr, each request is answered as it should be, and counted."""
    redirection, least = OUTPUTS[output]
    program = ("bash", "-c", f'exec {redirection}; exec "$@"', "bash", *SERVER)
    with serving(tmp_path, models=brittle, program=program, wait=False) as server:
        eventually(server.listens)
        with ThreadPoolExecutor(32) as pool:
            answered = pool.map(partial(asked, server.port), [(GOOD, FAILING) * 10] * 32)
            statuses = Counter(status for each in answered for status in each)
        assert statuses == {200: 320, 500: 320}
        for status, count in statuses.items():
            counted = figure(server.port, "unpickled_requests_total", model="brittle", status=str(status))
            assert counted == count
        assert figure(server.port, "unpickled_log_lines_lost_total", log="server") >= 320 - repeats.MOST
        assert figure(server.port, "unpickled_log_lines_lost_total", log="access") >= least


def entry(message="no", error=None):
    info = (type(error), error, None) if error else None
    return logging.LogRecord("unpickled", logging.ERROR, __file__, 1, message, (), info)


def test_an_entry(pipe):
    """An entry is one line, with its severity and its name."""
    handler = Log(pipe[1])
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    handler.emit(entry("übel \udce4"))
    assert os.read(pipe[0], 4096).decode() == "ERROR unpickled: übel \\udce4\n"


def test_repeats_are_left_out(pipe):
    """Some of the entries from one line of code are written, the rest are counted; others go on."""
    handler, block = Log(pipe[1]), Memory(blocks=1).claim()
    handler.count_in(block)
    for _ in range(repeats.MOST + 7):
        handler.emit(entry())
    handler.emit(entry(error=ValueError("another")))
    written = os.read(pipe[0], 65536).decode().splitlines()
    assert written.count("no") == repeats.MOST + 1
    assert written[-1] == "ValueError: another"
    assert block.series((log.LOST, "server"), 1)[0] == 7


def test_repeats_are_told(pipe, monkeypatch):
    """The next entry of their kind says how many were left out."""
    handler, now = Log(pipe[1]), [100.0]
    monkeypatch.setattr(repeats, "monotonic", lambda: now[0])
    for _ in range(repeats.MOST + 7):
        handler.emit(entry())
    now[0] += 60
    handler.emit(entry())
    handler.emit(entry())
    assert os.read(pipe[0], 65536).decode().splitlines()[-2:] == [
        "no (7 more like this one were left out)",
        "no",
    ]


def test_an_entry_that_cannot_be_written():
    """An entry that cannot be formatted is counted; nobody sees an exception."""
    handler, block = Log(os.open("/dev/null", os.O_WRONLY)), Memory(blocks=1).claim()
    handler.emit(logging.LogRecord("unpickled", logging.ERROR, __file__, 1, "%d", ("x",), None))
    handler.count_in(block)
    assert block.series((log.LOST, "server"), 1)[0] == 1


def fill(outlet):
    for _ in range(100_000):
        outlet.write(b"x" * 99 + b"\n")


def test_an_outlet_that_is_full(pipe):
    """A pipe without room raises at once, and takes lines again once it has been read."""
    outlet = Outlet(pipe[1])
    with pytest.raises(BlockingIOError):
        fill(outlet)
    assert os.get_blocking(pipe[1])
    assert len(os.read(pipe[0], 1 << 20)) % 100 == 0
    outlet.write(b"again\n")
    assert os.read(pipe[0], 100) == b"again\n"


def test_a_line_that_was_cut(pipe):
    """After a long line of which a pipe took only a part, the next one begins a line of its own."""
    outlet = Outlet(pipe[1])
    with pytest.raises(BlockingIOError):
        outlet.write(b"x" * (1 << 20) + b"\n")
    os.read(pipe[0], 1 << 20)
    outlet.write(b"next\n")
    assert os.read(pipe[0], 100) == b"\nnext\n"


def test_an_outlet_that_is_a_socket():
    """A socket, such as that of a journal, does not make a line wait either."""
    ours, theirs = socket.socketpair()
    outlet = Outlet(theirs.fileno())
    with ours, theirs:
        outlet.write(b"hello\n")
        assert ours.recv(100) == b"hello\n"
        with pytest.raises(BlockingIOError):
            fill(outlet)


def test_an_outlet_that_was_closed(tmp_path):
    """The number of a descriptor that was closed may become another file's, which gets no line of a log."""
    ends = os.pipe()
    os.close(ends[1])
    outlet = Outlet(ends[1])
    with (tmp_path / "other").open("w") as other:
        assert other.fileno() == ends[1]
        with pytest.raises(OSError, match="Bad file descriptor"):
            outlet.write(b"secret\n")
    os.close(ends[0])
    assert (tmp_path / "other").read_text() == ""


def test_granian_logs_with_ours(models, tmp_path):
    """Each line of the server's log has its severity and the name of its writer."""
    with serving(tmp_path, "--log-level", "debug", models=models.path) as server:
        eventually(lambda: "_granian.serve" in server.printed())
        assert server.ask("/livez")[0] == 200
    assert "INFO _granian.serve: " in server.printed()
