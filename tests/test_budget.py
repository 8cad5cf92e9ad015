"""Large requests: the memory that they hold is bounded and given back, and what they answer is the same."""

import gzip
import http.client
import json
import threading
import time
from collections import Counter
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import FLOWER, FLOWERS, PATIENCE, PERSON, Serving, eventually, serving
from unpickled.server import machine
from unpickled.server.errors import MalformedJSON, Overloaded
from unpickled.server.inference.budget import Budget, default
from unpickled.server.inference.writing import written
from unpickled.server.message import strict
from unpickled.server.message.answer import OPTIONS, dumps

MIB = 1024 * 1024
MANY = 20_000


def test_shares_of_a_budget():
    """Requests hold bytes up to the total, one alone may hold more, and an answer is not refused."""
    refused = Counter()
    budget = Budget(100, lambda model: refused.update([model]))
    with budget.share("a") as first, budget.share("b") as second:
        first.take(60)
        with pytest.raises(Overloaded, match="large requests hold 60 bytes") as caught:
            second.take(41)
        second.become(300_000)
        assert (budget.held, refused, caught.value.headers) == (300_060, {"b": 1}, {"Retry-After": "1"})
    with budget.share("a") as alone:
        alone.take(90)
        alone.take(90)
    assert (budget.held, budget.ended.is_set()) == (0, True)


def test_the_default_is_half_of_the_memory():
    """Workers share half of the memory; each can take a few bodies of the greatest length."""
    assert default(1024 * MIB, 2, 16 * MIB) == 256 * MIB
    assert default(64 * MIB, 1, 16 * MIB) == 64 * MIB
    assert default(1024**4, 1, 16 * MIB) == 2048 * MIB


GROUPS = {
    "version 2": ("0::/\n", {"memory.max": "268435456", "cpu.max": "100000 100000"}),
    "version 2 of the host": (
        "0::/a/b\n",
        {"a/memory.max": "268435456", "a/b/memory.max": "max", "a/b/cpu.max": "50000 100000"},
    ),
    "version 1": (
        "4:memory:/a\n2:cpuacct,cpu:/a\n",
        {
            "memory/a/memory.limit_in_bytes": "268435456",
            "cpu/a/cpu.cfs_quota_us": "100000",
            "cpu/a/cpu.cfs_period_us": "100000",
        },
    ),
}


@pytest.mark.parametrize("group", sorted(GROUPS))
def test_limits_of_a_container(tmp_path, group):
    """The memory and the processors of a container are read, with and without a namespace of its own."""
    own, files = GROUPS[group]
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "own").write_text(own)
    assert machine.memory(tmp_path, tmp_path / "own") == 256 * MIB
    assert machine.processors(tmp_path, tmp_path / "own") == 1
    assert machine.memory(tmp_path / "none", tmp_path / "none") > 256 * MIB


def upload(server: Serving, length: int, begin: bytes = b"", *headers: tuple[str, str]):
    """A request that announces ``length`` bytes and has sent those of ``begin``."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    connection.putrequest("POST", "/predict")
    for name, value in (("Content-Type", "application/json"), ("Content-Length", str(length)), *headers):
        connection.putheader(name, value)
    connection.endheaders(begin)
    return connection


def holding(server: Serving, length: int) -> http.client.HTTPConnection:
    """An upload that holds so many bytes: the server lets its body come once it has room for it."""
    connection = upload(server, length, b"", ("Expect", "100-continue"))
    assert b" 100 Continue" in connection.sock.recv(1000)
    # By the kernel's times, which count milliseconds, the client has to have sent something after the server.
    time.sleep(0.1)
    connection.send(b"{")
    return connection


def answered(connection: http.client.HTTPConnection) -> tuple[int, dict[str, object], str | None]:
    with closing(connection), connection.getresponse() as answer:
        return answer.status, json.loads(answer.read()), answer.headers["Retry-After"]


def test_bodies_beyond_the_budget_are_refused(models, tmp_path):
    """While uploads hold the budget, large bodies get 503, compressed ones too; small ones are answered."""
    flags = ("--default-model", "iris", "--memory-budget", str(16 * MIB))
    large = json.dumps({"features": [FLOWER] * MANY}).encode()
    with serving(tmp_path, *flags, models=models.path) as server:
        held = holding(server, 16 * MIB - len(large))
        status, document, after = answered(upload(server, len(large) + 1, large + b" "))
        assert (status, document["code"], after) == (503, "overloaded", "1")
        small = gzip.compress(large + b" " * MIB)
        assert answered(upload(server, len(small), small, ("Content-Encoding", "gzip")))[0] == 503
        assert server.ask("/predict", json.dumps({"features": FLOWER}).encode())[0] == 200
        held.close()
        eventually(lambda: answered(upload(server, len(large) + 1, large + b" "))[0] == 200)


def test_stalled_uploads_make_room(models, tmp_path):
    """Uploads that stall lose the memory that they hold once another request is refused for want of it."""
    flags = ("--default-model", "iris", "--memory-budget", str(16 * MIB), "--body-timeout", "6")
    large = json.dumps({"features": [FLOWER] * MANY}).encode()
    with serving(tmp_path, *flags, models=models.path) as server, ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(closing(holding(server, 8 * MIB)))
        assert answered(upload(server, len(large), large))[0] == 503
        eventually(lambda: answered(upload(server, len(large), large))[0] == 200)
        eventually(lambda: "closed connections that were silent" in server.printed())


def rows(count: int) -> list[list[float]]:
    return np.random.default_rng(1).uniform(0.1, 8.0, (count, 4)).round(2).tolist()


FORMS = {
    "features": lambda rows: {"features": rows},
    "instances": lambda rows: {"instances": [dict(zip(FLOWERS, row, strict=True)) for row in rows]},
    "with a number as NaN": lambda rows: {"features": [*rows[:-1], [float("nan"), 1.0, 1.0, 1.0]]},
    "with two members": lambda rows: {"features": rows, "more": 1},
    "short rows": lambda rows: {"features": [*rows[:-1], [1.0, 2.0]]},
    "one row": lambda rows: {"features": [number for row in rows for number in row]},
    "a record": lambda rows: dict.fromkeys(FLOWERS, rows),
}


@pytest.mark.parametrize("indent", [None, 1], ids=["compact", "indented"])
@pytest.mark.parametrize("form", sorted(FORMS))
def test_long_bodies_are_answered_as_short_ones(client, form, indent):
    """A body that is read in slices has the answer, or the error, of each of its halves."""
    table = rows(MANY)
    text = json.dumps(FORMS[form](table), indent=indent)
    whole = client.post("/predict", data=text, content_type="application/json")
    short = client.post(
        "/predict", data=json.dumps(FORMS[form](table[-30:])), content_type="application/json"
    )
    assert whole.status_code == short.status_code
    if whole.status_code == 200:
        long, last = (
            answer.json.get("predictions") or answer.json["prediction"] for answer in (whole, short)
        )
        assert len(long) == MANY
        assert [str(item)[:20] for item in long[-30:]] == [str(item)[:20] for item in last]
    else:
        assert whole.json["code"] == short.json["code"]


@pytest.mark.parametrize("city", ["a]b", "],[", "}, {", '"', "\\", "ü", "😀", ":"])
def test_texts_with_brackets_are_not_cut(client, city):
    """A category may hold whatever separates rows in JSON."""
    row = [*PERSON.values()]
    body = {"features": [[*row[:2], city, row[3]]] * MANY}
    answer = client.post("/models/people/predict", json=body)
    alone = client.post("/models/people/predict", json={"features": body["features"][:2]})
    assert (answer.status_code, len(answer.json["prediction"])) == (200, MANY)
    assert answer.json["prediction"][-1] == alone.json["prediction"][-1]


LONG = {
    "rows": [[1.5, None, "a], ["]] * MANY,
    "nested": {"data": {"x": [{"a": [[{"b": 1}]] * 3}] * (MANY // 3)}, "y": []},
    "flat": [1.0, "x", True, None] * MANY,
    "texts": ["é\U0001f600\\", '"]'] * MANY,
    "deep": [[[[[[["x"] * MANY * 4]]]]]],
}


def outcome(parse, document) -> object:
    """The document as it is parsed, or the place of the error in it."""
    try:
        return parse(document)
    except json.JSONDecodeError as error:
        return error.pos
    except MalformedJSON as error:
        return error.details["position"]


@pytest.mark.parametrize("indent", [None, 1], ids=["compact", "indented"])
@pytest.mark.parametrize("name", sorted(LONG))
def test_long_documents_are_read_in_slices(name, indent):
    """The strict reader reads a long document to the same values, or the same error, as Python does."""
    text = json.dumps(LONG[name], indent=indent)
    assert strict.parse(text.encode()) == LONG[name]
    for place in (1, len(text) // 2, len(text) - 1):
        for wrong in ("]", ",", "[", "x", '"'):
            broken = text[:place] + wrong + text[place:]
            assert outcome(strict.parse, broken.encode()) == outcome(json.loads, broken)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"a": []},
        {"a": {"b": [{"c": 1.5}] * 9000}},
        {"n": np.arange(99_999.0).reshape(-1, 3), "l": [1] * 99},
    ],
    ids=["empty", "an empty list", "records", "numbers"],
)
def test_long_answers_are_written_in_slices(document):
    """A long answer has the bytes that it would have in one piece."""
    assert written(document, 10**6) == dumps(document, option=OPTIONS)


def resident(pid: int) -> float:
    """Megabytes of memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


ATTACKS = {
    "bodies of numbers": lambda: json.dumps({"features": [FLOWER] * 800_000}, separators=(",", ":")).encode(),
    "compressed bodies": lambda: gzip.compress(json.dumps({"features": [FLOWER] * 700_000}).encode()),
    "batches": lambda: json.dumps({"features": [FLOWER] * 100_000}).encode(),
    "batches with a gap": lambda: json.dumps({"features": [[*FLOWER[:3], None]] * 100_000}).encode(),
}


@pytest.mark.long
@pytest.mark.parametrize("attack", sorted(ATTACKS))
def test_memory_under_attack(models, tmp_path, attack):
    """64 large requests at once take a bounded memory, which is handed back; small ones are answered."""
    body = ATTACKS[attack]()
    encoded = [("Content-Encoding", "gzip")] if body.startswith(b"\x1f") else []
    statuses, peak, ended = Counter(), [0.0], threading.Event()
    with ExitStack() as stack:
        server = stack.enter_context(serving(tmp_path, "--default-model", "iris", models=models.path))
        [pid] = server.workers()
        before = resident(pid)

        def send() -> None:
            try:
                statuses[answered(upload(server, len(body), body, *encoded))[0]] += 1
            except OSError:
                statuses["closed"] += 1

        def watch() -> None:
            while not ended.wait(0.05):
                peak[0] = max(peak[0], resident(pid))

        threads = [threading.Thread(target=send) for _ in range(64)]
        watcher = threading.Thread(target=watch)
        [thread.start() for thread in (watcher, *threads)]
        while any(thread.is_alive() for thread in threads):
            assert server.ask("/predict", json.dumps({"features": FLOWER}).encode())[0] == 200
            time.sleep(0.01)
        ended.set()
        watcher.join()
        assert server.workers() == [pid]
        assert set(statuses) <= {200, 400, 413, 503}
        assert peak[0] < before + 1500
        eventually(lambda: resident(pid) < before + 200)
