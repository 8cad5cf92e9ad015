"""Turns: single rows never wait for batches, models share alike, and a queue that stands is kept short."""

import http.client
import json
import math
import threading
import time
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import pairwise

import pytest
from conftest import FLOWER, eventually, serving
from handmade import lasting, slow, store

from unpickled.server import Config, create_app
from unpickled.server.errors import DeadlineExceeded, Overloaded
from unpickled.server.inference import standing
from unpickled.server.inference import turn as turns
from unpickled.server.inference.admission import Admission
from unpickled.server.inference.lane import Lane
from unpickled.server.inference.predictor import Predictor
from unpickled.server.inference.standing import Standing
from unpickled.server.inference.turn import PATIENCE, breathe, current
from unpickled.server.inference.work import Cost, Work
from unpickled.server.model.cost import Measured
from unpickled.server.model.session import load


class Gatekeeper:
    """An Admission of one processor, so with one turn in each lane, and the losses that it has counted."""

    def __init__(self, longest=1.0, most=50, departed=None) -> None:
        self.losses = Counter()
        self.admission = Admission(1, longest, most, self._count, departed)
        self.order = []

    def _count(self, model, loss) -> None:
        self.losses[model, loss] += 1

    def work(self, name="m", seconds=0.001, single=True, **more) -> Work:
        return Work(name, seconds, single, **more)

    def queue(self, name, model="", **work) -> threading.Thread:
        """A thread that takes a turn and notes its name, as a model's unless said; started once it waits."""
        waiting = self.admission.waiting

        def run() -> None:
            with self.admission.turn(self.work(model or name, **work)):
                self.order.append(name)

        thread = threading.Thread(target=run)
        thread.start()
        while self.admission.waiting == waiting:
            assert thread.is_alive()
            time.sleep(0.001)
        return thread


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """No queue stands until a test undoes this: on a busy machine, threads may start far apart."""
    monkeypatch.setattr(standing, "_INTERVAL", math.inf)
    return monkeypatch


def hold(keeper, single=True):
    turn = keeper.admission.turn(keeper.work(single=single))
    turn.resume()
    return turn


def end_later(keeper, held) -> None:
    """Give a turn up once another request has waited for it long enough for a look for its client."""

    def run() -> None:
        eventually(lambda: keeper.admission.waiting, 60)
        time.sleep(1.5 * PATIENCE)
        held.pause()

    threading.Thread(target=run).start()


def test_no_row_waits_for_a_batch():
    """A single row has its turn beside a batch that computes, and before one that came earlier."""
    keeper = Gatekeeper()
    held = [hold(keeper, single=False), hold(keeper)]
    threads = [keeper.queue("batch", single=False), keeper.queue("row")]
    held[1].pause()
    threads[1].join(60)
    assert keeper.order == ["row"]
    held[0].pause()
    threads[0].join(60)
    assert keeper.order == ["row", "batch"]


def test_short_batches_overtake(patient):
    """A batch goes before a longer one that came earlier, and batches of one length go as they came."""
    # However far apart the threads start, no batch has waited for so long that it goes first.
    patient.setattr(turns, "_SPAN", 1e6)
    patient.setattr(turns, "_FARTHEST", math.inf)
    keeper = Gatekeeper(longest=60)
    held = hold(keeper, single=False)
    lengths = {"long": 0.3, "short": 0.001, "long too": 0.3, "middle": 0.05}
    threads = [keeper.queue(name, "m", seconds=each, single=False) for name, each in lengths.items()]
    held.pause()
    [thread.join(60) for thread in threads]
    assert keeper.order == ["short", "middle", "long", "long too"]


def test_models_share_alike():
    """A model with a short queue has every other turn beside a model with a long one."""
    keeper = Gatekeeper()
    held = hold(keeper)
    threads = [keeper.queue("a") for _ in range(4)] + [keeper.queue("b") for _ in range(2)]
    held.pause()
    [thread.join(60) for thread in threads]
    assert keeper.order == ["a", "b", "a", "b", "a", "a"]


def test_a_burst_waits_and_an_overload_does_not(patient):
    """Work for up to max_queue_ms may wait in a burst; once the queue has stood for long, only little may."""
    keeper = Gatekeeper()
    held = hold(keeper)
    threads = [keeper.queue("m", seconds=0.01) for _ in range(20)]
    patient.undo()
    time.sleep(0.15)
    with pytest.raises(Overloaded, match=r"overloaded, and \d+ ms") as caught:
        keeper.admission.turn(keeper.work("m", seconds=0.01))
    assert caught.value.headers == {"Retry-After": "1"}
    assert keeper.losses == {("m", "shed"): 1}
    held.pause()
    [thread.join(60) for thread in threads]
    assert len(keeper.order) == 20


def test_an_overload_lasts(patient):
    """A queue that has stood does so until a while has passed in which often nobody waited."""
    patient.undo()
    queue = Standing(0.0)
    queue.note(True, 1.0)
    assert [queue.lasts(now) for now in (1.05, 1.1)] == [False, True]
    queue.note(False, 1.3)
    queue.note(True, 1.4)
    assert [queue.lasts(now) for now in (1.5, 1.6)] == [True, True]
    queue.note(False, 1.7)
    queue.note(True, 1.9)
    assert [queue.lasts(now) for now in (1.95, 2.1, 2.3)] == [True, False, True]


@pytest.mark.parametrize(("longest", "most"), [(0.025, 50), (1.0, 3)], ids=["by time", "by number"])
def test_the_queue_is_bounded(longest, most):
    """Requests are refused at once beyond a time of work, or a number of requests, that wait."""
    keeper = Gatekeeper(longest, most)
    held = hold(keeper)
    threads = [keeper.queue("m", seconds=0.009) for _ in range(3)]
    with pytest.raises(Overloaded):
        keeper.admission.turn(keeper.work("m", seconds=0.009))
    held.pause()
    [thread.join(60) for thread in threads]


def test_deadline_before_and_while_waiting():
    """A request whose time is too short is refused before it waits, or once its time is over."""
    keeper = Gatekeeper()
    with pytest.raises(DeadlineExceeded):
        keeper.admission.turn(keeper.work(seconds=5, deadline=time.perf_counter() + 1))
    held = hold(keeper)
    turn = keeper.admission.turn(keeper.work(deadline=time.perf_counter() + 60))
    turn.work = turn.work._replace(deadline=time.perf_counter() + 0.05)
    with pytest.raises(DeadlineExceeded, match="Request-Timeout"):
        turn.resume()
    assert keeper.admission.waiting == 0
    assert keeper.losses == {("m", "expired"): 2}
    held.pause()


def test_work_without_a_client_is_not_begun():
    """A request that has waited is refused if its client has gone meanwhile."""
    keeper = Gatekeeper(departed=lambda started, read, peer: read == 7.0)
    end_later(keeper, hold(keeper))
    turn = keeper.admission.turn(keeper.work(read=7.0))
    with pytest.raises(Overloaded, match="has gone"):
        turn.resume()
    assert keeper.losses == {("m", "abandoned"): 1}


def test_clients_are_looked_for_now_and_then():
    """A batch that has waited does not look for its client at each slice: a look takes milliseconds."""
    looks = []
    keeper = Gatekeeper(departed=lambda *request: looks.append(turn.looked))
    end_later(keeper, hold(keeper))
    turn = keeper.admission.turn(keeper.work(read=7.0))
    with turn:
        assert len(looks) == 1
        while len(looks) < 4:
            keeper.admission.check_time(turn)
    assert all(later - earlier >= PATIENCE for earlier, later in pairwise(looks))


def test_few_wait_to_be_alone():
    """One request may take very much memory, some wait until it ends, and further ones are refused."""
    keeper, single = Gatekeeper(longest=60, most=1), {"single": False}
    entered = threading.Event()

    def wait() -> None:
        with keeper.admission.turn(keeper.work(**single)) as turn:
            entered.set()
            turn.alone()
            keeper.order.append(turn.waited > 0.01)

    with keeper.admission.turn(keeper.work(**single)) as turn:
        turn.alone()
        turn.pause()
        thread = threading.Thread(target=wait)
        thread.start()
        assert entered.wait(60)
        # The place of the one that waits is taken.
        eventually(lambda: not keeper.admission._next._value, 60)
        time.sleep(0.05)
        with pytest.raises(Overloaded, match="much memory"), keeper.admission.turn(keeper.work()) as other:
            other.alone()
    thread.join(60)
    assert (keeper.order, keeper.losses) == ([True], {("m", "shed"): 1})


def test_lanes_share_the_processors():
    """Rows that compute all the time leave batches half of a processor, and so half of the queue."""
    lane = Lane(1)
    for hundredth in range(500):
        lane.note(0.008, hundredth / 100)
    assert lane.load(5.0) == pytest.approx(0.8, abs=0.02)
    assert lane.load(7.0) < 0.15


@pytest.mark.parametrize(("seconds", "order"), [(0.002, []), (0.12, ["other"])], ids=["soon", "later"])
def test_breathing(seconds, order):
    """A batch that has computed for a while lets one that waits go first, between two slices."""
    keeper = Gatekeeper()
    breathe()
    with keeper.admission.turn(keeper.work(seconds=0.2, single=False)) as batch:
        thread = keeper.queue("other", single=False)
        ended = time.thread_time() + seconds
        while time.thread_time() < ended:
            pass
        time.sleep(0.005)
        breathe()
        assert (keeper.order, current()) == (order, batch)
    thread.join(60)
    assert (keeper.order, current()) == (["other"], None)


def test_nothing_is_lost_between_threads():
    """After thousands of turns of many threads, with deadlines among them, no turn is left over."""
    keeper = Gatekeeper(longest=60, most=100)
    done = Counter()

    def run(number) -> None:
        for index in range(200):
            late = time.perf_counter() + 2e-4 if (number + index) % 5 == 0 else math.inf
            try:
                with keeper.admission.turn(keeper.work(f"m{number % 3}", 1e-5, index % 3 > 0, deadline=late)):
                    breathe()
                done[number] += 1
            except DeadlineExceeded:
                done[number] += 1

    threads = [threading.Thread(target=run, args=(number,)) for number in range(16)]
    [thread.start() for thread in threads]
    [thread.join(300) for thread in threads]
    assert sum(done.values()) == 16 * 200
    assert (keeper.admission.waiting, keeper.admission.load) == (0, (0, 0.0))


@pytest.fixture(scope="module")
def busy(tmp_path_factory):
    """A server of one worker with a model whose row takes milliseconds."""
    folder = tmp_path_factory.mktemp("busy")
    store(folder / "models", "slow", slow())
    with serving(folder, "--max-queue-ms", "100", models=folder / "models") as server:
        yield server


def ask(server, body, path="/models/slow/predict", **headers):
    """Status, document and headers of the answer to one request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json", **headers})
    with closing(connection), connection.getresponse() as answer:
        return answer.status, json.loads(answer.read()), answer.headers


def lost(server, reason):
    """The requests that the server says it has not run for a reason."""
    with urllib.request.urlopen(f"{server.url}/metrics") as answer:
        text = answer.read().decode()
    line = f'unpickled_requests_lost_total{{model="slow",reason="{reason}"}} '
    return sum(float(found.removeprefix(line)) for found in text.splitlines() if found.startswith(line))


def test_overload_is_told(busy):
    """Some of many requests at once are answered, all others refused with the time to ask again."""
    before, rows = lost(busy, "shed"), 20
    # Several rows each, so that they take far longer than clients take to send them, on any machine.
    with ThreadPoolExecutor(60) as pool:
        answers = list(pool.map(lambda _: ask(busy, {"features": [[1.0]] * rows}), range(180)))
    statuses = Counter(status for status, _, _ in answers)
    assert set(statuses) == {200, 503}
    assert all(document["prediction"] == [1] * rows for status, document, _ in answers if status == 200)
    assert all((document["code"], int(headers["Retry-After"]) > 0) == ("overloaded", True)
               for status, document, headers in answers if status == 503)  # fmt: skip
    assert lost(busy, "shed") - before == statuses[503]


@pytest.mark.parametrize("timeout", ["0.2", "0.001", "2.5e-1"])
def test_deadline_of_a_request(busy, timeout):
    """A request that cannot be answered within its Request-Timeout is refused, and not run."""
    before = lost(busy, "expired")
    status, document, _ = ask(busy, {"features": [1.0]}, **{"Request-Timeout": timeout})
    assert (status, document["code"]) == (504, "deadline_exceeded")
    assert lost(busy, "expired") - before == 1
    assert ask(busy, {"features": [1.0]}, **{"Request-Timeout": "60000"})[0] == 200


@pytest.mark.parametrize(
    ("setting", "header", "status"),
    [
        (None, "0.0001", 504),
        (None, "60000", 200),
        (None, "soon", 400),
        (1e-7, None, 504),
        (1e-7, "60000", 504),
        (60, None, 200),
        (60, "0.0001", 504),
    ],
)
def test_deadlines_of_brief_requests(models, setting, header, status):
    """A request that needs no turn has a deadline too: that of its client, or the server's if earlier."""
    more = {} if setting is None else {"request_timeout": setting}
    config = Config.of(models=str(models.path), default_model="iris", reload_seconds=0, **more)
    headers = {} if header is None else {"Request-Timeout": header}
    client = create_app(config).test_client()
    assert client.post("/predict", json={"features": FLOWER}, headers=headers).status_code == status
    lost = 'unpickled_requests_lost_total{model="iris",reason="expired"} 1.0'
    assert (lost in client.get("/metrics").text) == (status == 504)


def test_deadline_of_the_server(tmp_path):
    """With request_timeout a long request is refused, or ended, whatever its client would wait."""
    store(tmp_path / "models", "slow", slow())
    with serving(tmp_path, "--request-timeout", "5", models=tmp_path / "models") as server:
        body = {"features": [[1.0]] * 20_000}
        for headers in ({}, {"Request-Timeout": "60000"}):
            status, document, _ = ask(server, body, **headers)
            assert (status, document["code"]) == (504, "deadline_exceeded")
        assert ask(server, {"features": [1.0]})[0] == 200


@pytest.mark.parametrize("timeout", ["-1", "0", "1s", "", "nan", "inf", "1e999"])
def test_timeout_that_is_none(busy, timeout):
    """A Request-Timeout that is no time is refused."""
    status, document, _ = ask(busy, {"features": [1.0]}, **{"Request-Timeout": timeout})
    assert (status, document["code"]) == (400, "invalid_input")
    assert "Request-Timeout" in document["error"]


@pytest.mark.parametrize(("timeout", "status"), [(200, 504), (6e7, 200), (0, 200), (-1, 400), (True, 400)])
def test_timeout_of_the_open_inference_protocol(busy, timeout, status):
    """The parameter timeout, in microseconds, is a deadline too."""
    tensor = {"name": "input-0", "shape": [1, 1], "datatype": "FP64", "data": [1.0]}
    body = {"inputs": [tensor], "parameters": {"timeout": timeout}}
    assert ask(busy, body, "/v2/models/slow/infer")[0] == status


def test_single_row_beside_batches(busy):
    """A single row is answered while batches are still being run."""
    # The machine may be faster than it was when the batch was measured, or this process be late.
    assert any(is_answered_beside(busy, json.loads(lasting(busy, seconds))) for seconds in (1, 4, 16))


def is_answered_beside(server, batch) -> bool:
    """Whether a single row is answered before two batches are."""
    with ThreadPoolExecutor(2) as pool:
        batches = [pool.submit(ask, server, batch) for _ in range(2)]
        time.sleep(0.3)
        assert ask(server, {"features": [-1.0]})[1]["prediction"] == [0]
        sooner = not all(each.done() for each in batches)
        assert [each.result()[0] for each in batches] == [200, 200]
    return sooner


@pytest.mark.parametrize(("numbers", "longest"), [(0.4, 5758), (10.0, 1000), (100.0, 100), (1000.0, 10)])
def test_short_requests_with_long_answers(numbers, longest):
    """A short body takes a turn if its answer may be long, as that of a model of very many classes."""
    cost = Cost(Measured(single=5e-6, each=1e-7, size=8, numbers=numbers))
    assert cost.brief == pytest.approx(longest, abs=2)


def test_rows_of_many_features_are_brief():
    """A single row takes no turn, however many bytes its features have; one of a slow model does."""
    assert Cost(Measured(single=5e-6, each=1e-6, size=2000, numbers=0.01)).brief == 8100
    assert Cost(Measured(single=5e-3, each=1e-3, size=20, numbers=0.1)).brief == 0


def test_an_interruption_makes_no_model_slow(models):
    """A model whose first run at load was interrupted, as on a busy machine, does not pass for a slow one."""
    model = load((models.path / "iris" / "1" / "model.onnx").read_bytes())
    run_row, pauses = model.run_row, [0.2]
    model.run_row = lambda row: (pauses and time.sleep(pauses.pop())) or run_row(row)
    assert model.cost.single < 0.2
    assert not pauses


@pytest.mark.parametrize("name", ["forest", "iris", "people"])
def test_slices_change_nothing(models, name):
    """A batch that is run in slices has the labels and scores of the whole, bit by bit."""
    model = load((models.path / name / "1" / "model.onnx").read_bytes())
    rows = [model.signature.check_row(list(row), 0) for row in model.manifest.golden.rows] * 50
    whole = Predictor(model, 10_000).run(rows)
    sliced = Predictor(model, 10_000, slice_rows=64).run(rows)
    assert whole.labels == sliced.labels
    assert whole.scores.tobytes() == sliced.scores.tobytes()


def test_overdue_run_is_ended():
    """A run that lasts beyond the deadline is ended, and the thread runs the next one as ever."""
    keeper, model = Gatekeeper(), load(slow(500))
    # Seconds of work, on a fast machine too.
    feeds = model.signature.feeds([(1.0,)] * 400)
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.01):
            keeper.admission.end_overdue()

    watcher = threading.Thread(target=watch)
    watcher.start()
    turn = keeper.admission.turn(keeper.work())
    with turn:
        turn.work = turn.work._replace(deadline=time.perf_counter() + 0.1)
        with pytest.raises(DeadlineExceeded, match="longer than the request may"):
            model.run(feeds)
    stop.set()
    watcher.join(60)
    assert model.run(model.signature.feeds([(1.0,)] * 20))[0].tolist() == [1] * 20


@pytest.mark.long
def test_run_that_does_not_end(tmp_path):
    """A run that lasts longer than hang_timeout is ended, and the worker serves on."""
    # A slice of its batch takes half a minute; a sound worker may be silent for seconds on a busy machine.
    store(tmp_path / "models", "slow", slow(1000, 131_072))
    with serving(tmp_path, "--hang-timeout", "6", models=tmp_path / "models") as server:
        workers = server.workers()
        status, document, _ = ask(server, {"features": [[1.0]] * 200})
        assert (status, document["code"]) == (504, "deadline_exceeded")
        assert ask(server, {"features": [1.0]})[1]["prediction"] == [1]
        assert server.workers() == workers
