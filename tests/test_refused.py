"""The bodies of requests that are refused: anybody can send them, so they take only a part of the threads."""

import contextlib
import json
import select
import shutil

import pytest
from conftest import FLOWER, eventually, serving
from test_server import BODY, DEFAULT, head, over_http2

from unpickled.server.errors import Busy
from unpickled.server.serve.slots import Slots


@pytest.mark.parametrize("length", [100, 10_000_000])
def test_strangers_leave_threads_for_others(models, tmp_path, length):
    """However many refused bodies do not come, short or long, others get their answers, long ones too."""
    flags = ("--threads", "8", "--body-timeout", "3600")
    many = json.dumps({"features": [FLOWER] * 10_000}).encode()
    with serving(tmp_path, *DEFAULT, *flags, models=models.path) as server, contextlib.ExitStack() as stack:
        strangers = [stack.enter_context(server.connect()) for _ in range(20)]
        for stranger in strangers:
            stranger.sendall(head(length, path="/nowhere") + b"x")
        # One of those with short bodies is waited for.
        eventually(lambda: len(select.select(strangers, [], [], 0)[0]) >= 19)
        assert server.ask("/predict", BODY)[0] == 200
        assert len(server.ask("/predict", many)[1]["prediction"]) == 10_000


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_refusals_over_http2(models, tmp_path):
    """A client that still sends a long body over HTTP/2 gets its refusal, and its worker goes on.

    It does so whether or not the body has a length; curl stops sending one that has none.
    """
    with serving(tmp_path, *DEFAULT, models=models.path) as server:
        before = server.workers()
        for sent in [["--data-binary", "@-"], ["-T", "-", "-X", "POST"]] * 3:
            assert any(refusal(server, 8_000_000, *sent) == "not_found" for _ in range(3))
        refusal(server, 40_000_000, "--data-binary", "@-")
        assert server.workers() == before


def refusal(server, length: int, *sent: str) -> str:
    """The code of the refusal that curl gets; none where curl was late by more than the server waits."""
    with contextlib.suppress(json.JSONDecodeError):
        return over_http2(server, "/nowhere", bytes(length), *sent)["code"]
    return ""


@pytest.mark.parametrize(("threads", "most"), [(64, 16), (8, 2), (2, 1)])
def test_slots_of_refused_bodies(threads, most):
    """A quarter of the threads is for refused bodies; streams and long answers find places beside them."""
    slots = Slots(threads)
    taken = [slots.enter_refusal({}) for _ in range(most + 1)]
    assert (taken.count(None), taken[-1]) == (1, None)
    assert len(slots.open()) == most
    slots.leave(taken[0])
    assert slots.enter({}) in slots.open()
    with pytest.raises(Busy):
        [slots.enter({}) for _ in range(threads)]
