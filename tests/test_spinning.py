"""Bodies that break off over HTTP/2: the HTTP server never ends the thread that reads one."""

import contextlib
import struct
import sys
import threading
import time

import pytest
from conftest import eventually, serving
from test_server import BODY, DEFAULT
from test_silence import PREFACE, metric
from test_unread import frame, literal

from unpickled.server.process.heartbeat import Heartbeat, State
from unpickled.server.process.place import Place
from unpickled.server.process.renewal import Renewal
from unpickled.server.process.spinning import Spinning

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs the clocks of threads")
# RST_STREAM with the reason CANCEL.
RESET = frame(3, 0, 1, struct.pack("!I", 8))


def half(path: bytes, *fields: bytes) -> bytes:
    """A request whose body does not come to its end."""
    named = literal(b":path", path) + literal(b":authority", b"a") + b"".join(fields)
    return PREFACE + frame(1, 4, 1, b"\x83\x86" + named) + frame(0, 0, 1, b"{" * 1000)


@pytest.mark.parametrize("path", [b"/predict", b"/nowhere"])
@pytest.mark.parametrize("end", [RESET, b""], ids=["reset", "closed"])
def test_a_body_of_known_length(models, tmp_path, path, end):
    """A request whose body breaks off leaves nothing behind, refused or not, and its worker goes on."""
    with serving(tmp_path, *DEFAULT, models=models.path) as server:
        before = server.workers()
        for _ in range(3):
            with server.connect() as connection:
                connection.sendall(half(path, literal(b"content-length", b"500000")))
                eventually(lambda: metric(server, "unpickled_requests_in_flight") == 1)
                connection.sendall(end)
            eventually(lambda: metric(server, "unpickled_requests_in_flight") == 0)
        assert server.ask("/predict", BODY)[0] == 200
        assert server.workers() == before


@pytest.mark.long
@pytest.mark.parametrize("end", [RESET, b""], ids=["reset", "closed"])
def test_bodies_that_break_off(models, tmp_path, end):
    """A worker that reads such a body, one without a length, is replaced, and finishes its requests."""
    with serving(tmp_path, *DEFAULT, models=models.path) as server:
        before = server.workers()
        with server.connect() as connection:
            connection.sendall(half(b"/predict"))
            eventually(lambda: metric(server, "unpickled_requests_in_flight") == 1)
            connection.sendall(end)
        statuses = set()
        while set(server.workers()) & set(before):
            # The kernel resets what has not been accepted when the worker closes its socket.
            with contextlib.suppress(OSError):
                statuses.add(server.ask("/predict", BODY)[0])
        # None, where the worker was replaced before the first of these requests.
        assert statuses <= {200}
        assert server.ask("/predict", BODY)[0] == 200
        assert "for bodies that broke off over HTTP/2" in server.printed()


def test_what_spins():
    """A thread that waits does not count, and neither does one that has just begun to compute."""
    spinning, done = Spinning(0), threading.Event()
    waiting = threading.Thread(target=done.wait)
    waiting.start()
    own = threading.get_ident()
    assert spinning.count([(own, 1.0), (waiting.ident, 1.0)], [("a", own)]) == 0
    end = time.thread_time() + 0.6
    while time.thread_time() < end:
        pass
    assert spinning.count([(own, 1.0), (waiting.ident, 1.0), (own, 2.0)], [("a", own), ("b", own)]) == 2
    done.set()
    waiting.join()


def test_a_worker_asks_for_another_one():
    """A worker that asks is renewed once; the next one at its place of memory has not asked."""
    heartbeat = Heartbeat(2)
    place = Place(0, 1, heartbeat, 30)
    heartbeat.beat(0, State.READY)
    heartbeat.wear(0)
    assert (heartbeat.worn(0), heartbeat.worn(1), place.worn) == (True, False, False)
    renewal = Renewal([place], lambda slot: None, heartbeat, 0.0, 1.0)
    renewal.add(place)
    renewal.add(place)
    assert renewal._waiting == [place]
    heartbeat.reset(0)
    assert not heartbeat.worn(0)
