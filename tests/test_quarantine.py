"""A request that ends workers again and again is recognised, and refused."""

import http.client
import io
import json

import numpy as np
import pytest
from conftest import PATIENCE, eventually, serving
from handmade import NODES, embed, graph, store
from onnx import TensorProto, helper

from unpickled.server.message.environ import QUEUE_MS
from unpickled.server.process.place import is_crash
from unpickled.server.process.quarantine import Notes, Quarantine
from unpickled.server.serve.noted import Noted

KILLER, OTHER = b"k" * 16, b"o" * 16


def under_way(quarantine: Quarantine, *digests: bytes) -> Notes:
    """A worker at place 1 with these requests under way."""
    notes = Notes(quarantine, 1)
    assert notes.wanted() == quarantine.watched
    for digest in digests:
        notes.write(notes.enter(), digest)
    return notes


def test_nothing_is_noted_before_a_crash():
    """Requests are noted for some minutes after a crash, and not before."""
    quarantine = Quarantine(2, 4)
    assert not Notes(quarantine, 0).wanted()
    assert quarantine.crashed(1) == []
    assert Notes(quarantine, 0).wanted()


def test_a_request_at_two_crashes_is_refused():
    """A request that was under way at two crashes is refused by every worker; another one is not."""
    quarantine = Quarantine(2, 4)
    under_way(quarantine, KILLER, OTHER)
    assert quarantine.crashed(1) == []
    notes = under_way(quarantine, KILLER)
    assert quarantine.crashed(1) == [KILLER]
    fresh = Notes(quarantine, 0)
    assert [other.wanted() for other in (notes, fresh)] == [True, True]
    assert [other.refuses(KILLER) for other in (notes, fresh)] == [True, True]
    assert not fresh.refuses(OTHER)
    under_way(quarantine, OTHER)
    assert quarantine.crashed(1) == [OTHER]


def test_a_request_that_is_answered_is_harmless():
    """A request that many clients send is under way at every crash, and answered between them."""
    quarantine = Quarantine(2, 4)
    for _ in range(5):
        notes = under_way(quarantine, OTHER)
        quarantine.crashed(1)
        notes = under_way(quarantine)
        place = notes.enter()
        notes.write(place, OTHER)
        notes.leave(place, OTHER, harmless=True)
        assert not notes.refuses(OTHER)


def test_two_suspects_are_told_apart():
    """Where two requests were under way at both crashes, a third crash tells which one it was."""
    quarantine = Quarantine(2, 4)
    for _ in range(2):
        under_way(quarantine, KILLER, OTHER)
        assert quarantine.crashed(1) == []
    under_way(quarantine, KILLER)
    assert quarantine.crashed(1) == [KILLER]


def test_suspects_are_bounded():
    """However many requests were under way at crashes, those that are refused stay refused."""
    quarantine = Quarantine(2, 4)
    for _ in range(2):
        under_way(quarantine, KILLER)
        quarantine.crashed(1)
    for number in range(1000):
        under_way(quarantine, b"%016d" % number)
        quarantine.crashed(1)
    notes = under_way(quarantine)
    assert (notes.refuses(KILLER), len(quarantine.entries())) == (True, 256)


def test_layers_around_see_what_a_request_notes():
    """While requests are noted, what they note for the log reaches the layers around them."""
    environ = {"PATH_INFO": "/predict", "wsgi.input": io.BytesIO(b"{}")}

    def target(environ):
        environ[QUEUE_MS] = float(len(environ["wsgi.input"].read()))
        return "200 OK", (), b""

    assert Noted(target, under_way(Quarantine(2, 4)))(environ)[0] == "200 OK"
    assert environ[QUEUE_MS] == 2.0


@pytest.mark.parametrize(
    ("reason", "crash"), [("SIGSEGV", 1), ("SIGKILL", 1), ("hung", 1), ("status 1", 1), ("SIGTERM", 0)]
)
def test_crashes(reason, crash):
    """An end that somebody asked for is no crash."""
    assert is_crash(reason) == bool(crash)


def dividing() -> bytes:
    """A graph that ends its process where x is 4: the quotient of the least number and -1 is none."""
    nodes = [
        helper.make_node("Cast", ["X"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Sub", ["whole", "five"], ["less"]),
        helper.make_node("Div", ["least", "less"], ["quotient"]),
        helper.make_node("Cast", ["quotient"], ["number"], to=TensorProto.DOUBLE),
        helper.make_node("Mul", ["number", "zero"], ["nothing"]),
        helper.make_node("Add", ["high", "nothing"], ["higher"]),
        NODES[0],
        helper.make_node("Where", ["positive", "higher", "low"], ["probabilities"]),
        NODES[2],
    ]
    return embed(graph(nodes, five=np.array([[5]], np.int64), least=np.array([[-(2**63)]], np.int64)))


@pytest.mark.parametrize("workers", [1, 2])
def test_the_request_that_ends_workers(tmp_path, workers):
    """A request that ends workers is refused after a few crashes; other requests are answered then."""
    store(tmp_path / "models", "inverse", dividing())
    with serving(tmp_path, "--workers", str(workers), models=tmp_path / "models") as server:
        # A worker learns of a crash of another one at its next beat, so several may have to end.
        eventually(lambda: all(answer(server, 4) == (422, "quarantined") for _ in range(10)))
        eventually(lambda: all(answer(server, 3) == (200, "") for _ in range(10)))
        # The main process refuses the request before it logs that, and then the crash.
        eventually(lambda: "ended" in server.printed().partition("it is refused for an hour")[2])
        assert 3 <= server.printed().count("ended (SIGFPE): it is replaced") <= 5
        assert server.printed().count("it is refused for an hour") == 1


def answer(server, number: int) -> tuple[int, str]:
    """Status and code of the answer to a number; 0 where the worker ends in its place."""
    try:
        status, document = server.ask("/predict", b'{"x": %d}' % number)
    except (http.client.HTTPException, OSError):
        return 0, ""
    return status, document.get("code", "")


def test_the_line_that_ends_workers(tmp_path):
    """A line that ends workers is refused after a few crashes, and the lines beside it are answered."""
    store(tmp_path / "models", "inverse", dividing())
    with serving(tmp_path, models=tmp_path / "models") as server:
        eventually(lambda: codes(server, 3, 4, 3) == ["", "quarantined", ""])
        assert 3 <= server.printed().count("ended (SIGFPE): it is replaced") <= 5


def codes(server, *numbers: int) -> list[str]:
    """The code of the answer to each line of a stream; none where the worker ends in its place."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    try:
        lines = b"".join(b'{"x": %d}\n' % number for number in numbers)
        connection.request("POST", "/predict", lines, {"Content-Type": "application/x-ndjson"})
        return [json.loads(line).get("code", "") for line in connection.getresponse().read().splitlines()]
    except (http.client.HTTPException, OSError):
        return []
    finally:
        connection.close()
