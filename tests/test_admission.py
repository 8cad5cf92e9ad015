"""Turns: single rows go before batches, models share alike, and a queue that stands is kept short."""

import math
import threading
import time
from collections import Counter

import pytest

from unpickled.server.errors import DeadlineExceeded, Overloaded
from unpickled.server.inference.admission import Admission, breathe, current
from unpickled.server.inference.work import Work


class Gatekeeper:
    """An Admission with two turns on one processor, and the losses that it has counted."""

    def __init__(self, longest=1.0, most=50, departed=None) -> None:
        self.losses = Counter()
        self.admission = Admission(1, longest, most, self._count, departed)
        self.order = []

    def _count(self, model, loss) -> None:
        self.losses[model, loss] += 1

    def work(self, name="m", seconds=0.001, single=True, **more) -> Work:
        return Work(name, seconds, single, **more)

    def queue(self, name, **work) -> threading.Thread:
        """A thread that takes a turn and notes its name; started once it waits."""
        waiting = self.admission.waiting

        def run() -> None:
            with self.admission.turn(self.work(name, **work)):
                self.order.append(name)

        thread = threading.Thread(target=run)
        thread.start()
        while self.admission.waiting == waiting:
            time.sleep(0.001)
        return thread


def hold(keeper, single=True):
    turn = keeper.admission.turn(keeper.work(single=single))
    turn.resume()
    return turn


def test_single_rows_go_first():
    """A single row that comes after a batch has its turn before it, once both turns are held."""
    keeper = Gatekeeper()
    held = [hold(keeper, single=False), hold(keeper)]
    threads = [keeper.queue("batch", single=False), keeper.queue("row")]
    held[1].pause()
    threads[1].join(5)
    held[0].pause()
    threads[0].join(5)
    assert keeper.order == ["row", "batch"]


def test_rows_leave_batches_a_turn():
    """A batch that waits gets one of the turns, however many single rows wait."""
    keeper = Gatekeeper()
    held = [hold(keeper), hold(keeper)]
    threads = [keeper.queue("row"), keeper.queue("batch", single=False), keeper.queue("row")]
    held[0].pause()
    threads[1].join(5)
    assert keeper.order[0] == "batch"
    held[1].pause()
    [thread.join(5) for thread in threads]


def test_models_share_alike():
    """A model with a short queue has every other turn beside a model with a long one."""
    keeper = Gatekeeper()
    held = [hold(keeper), hold(keeper)]
    threads = [keeper.queue("a") for _ in range(4)] + [keeper.queue("b") for _ in range(2)]
    held[0].pause()
    [thread.join(5) for thread in threads]
    assert keeper.order == ["a", "b", "a", "b", "a", "a"]
    held[1].pause()


def test_a_burst_waits_and_an_overload_does_not():
    """Work for up to max_queue_ms may wait in a burst; once the queue has stood for long, only little may."""
    keeper = Gatekeeper()
    held = [hold(keeper), hold(keeper)]
    threads = [keeper.queue("m", seconds=0.01) for _ in range(20)]
    time.sleep(0.15)
    with pytest.raises(Overloaded, match="ms of work wait here") as caught:
        keeper.admission.turn(keeper.work("m", seconds=0.01))
    assert caught.value.headers == {"Retry-After": "1"}
    assert keeper.losses == {("m", "shed"): 1}
    [turn.pause() for turn in held]
    [thread.join(5) for thread in threads]
    assert len(keeper.order) == 20


@pytest.mark.parametrize(("longest", "most"), [(0.025, 50), (1.0, 3)], ids=["by time", "by number"])
def test_the_queue_is_bounded(longest, most):
    """Requests are refused at once beyond a time of work, or a number of requests, that wait."""
    keeper = Gatekeeper(longest, most)
    held = [hold(keeper), hold(keeper)]
    threads = [keeper.queue("m", seconds=0.009) for _ in range(3)]
    with pytest.raises(Overloaded):
        keeper.admission.turn(keeper.work("m", seconds=0.009))
    [turn.pause() for turn in held]
    [thread.join(5) for thread in threads]


def test_deadline_before_and_while_waiting():
    """A request whose time is too short is refused before it waits, or once its time is over."""
    keeper = Gatekeeper()
    with pytest.raises(DeadlineExceeded):
        keeper.admission.turn(keeper.work(seconds=5, deadline=time.perf_counter() + 1))
    held = [hold(keeper), hold(keeper)]
    turn = keeper.admission.turn(keeper.work(deadline=time.perf_counter() + 0.05))
    with pytest.raises(DeadlineExceeded, match="Request-Timeout"):
        turn.resume()
    assert keeper.admission.waiting == 0
    assert keeper.losses == {("m", "expired"): 2}
    [turn.pause() for turn in held]


def test_work_without_a_client_is_not_begun():
    """A request that has waited is refused if its client has gone meanwhile."""
    keeper = Gatekeeper(departed=lambda started, read, peer: read == 7.0)
    held = [hold(keeper), hold(keeper)]
    threading.Timer(0.15, held[0].pause).start()
    turn = keeper.admission.turn(keeper.work(read=7.0))
    with pytest.raises(Overloaded, match="has gone"):
        turn.resume()
    assert keeper.losses == {("m", "abandoned"): 1}
    held[1].pause()


def test_breathing():
    """Between two slices a batch lets single rows go first, and keeps its turn where nobody waits."""
    keeper = Gatekeeper()
    breathe()
    other = hold(keeper)
    with keeper.admission.turn(keeper.work(single=False)) as batch:
        thread = keeper.queue("row")
        time.sleep(0.005)
        breathe()
        thread.join(5)
        assert (keeper.order, current(), batch.waited > 0) == (["row"], batch, True)
    assert current() is None
    other.pause()


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
    [thread.join(30) for thread in threads]
    assert sum(done.values()) == 16 * 200
    assert (keeper.admission.waiting, keeper.admission.load) == (0, (0, 0.0))
