"""Numbers that processes share, counted by real processes that fork, spawn, die and are replaced."""

import gc
import multiprocessing
import os
import sys
import tempfile
import threading
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle
from multiprocessing.connection import Connection
from time import monotonic, perf_counter
from typing import Any

import pytest
from conftest import PATIENCE
from handmade import classes

from unpickled.server.inference.prediction import Prediction
from unpickled.server.observe.counters import Key, Memory
from unpickled.server.observe.tally import CLASS, PHASE, Tally

# Python 3.12 warns of forks beside threads, which other tests may have left.
pytestmark = pytest.mark.filterwarnings("ignore:This process.* is multi-threaded:DeprecationWarning")

TURNED = ("turned",)
BUSY = ("busy",)
SIZE = 500


def work(memory: Memory, pipe: Connection) -> None:
    """Count one, be busy, and so remain until told to end."""
    block = memory.claim()
    block.series(TURNED, 1)[0] += 1.0
    block.series(BUSY, 2, gauge=True)[1] += 1.0
    pipe.send(None)
    pipe.recv()


def turn(memory: Memory, pipe: Connection) -> None:
    """Make and end series without a pause, all of whose numbers are that of their key."""
    block = memory.claim()
    block.series(TURNED, 1)
    pipe.send(None)
    for number in cycle(range(40)):
        block.series(named(number), SIZE)[:] = memoryview(array("d", [number] * SIZE))
        block.forget(named((number + 35) % 40))
        if pipe.poll():
            return


def named(number: int) -> Key:
    return (str(number) * (number % 7 + 1),)


@contextmanager
def process(memory: Memory, job: Callable[..., None] = work, start: str = "fork") -> Iterator[Any]:
    """A process that has claimed a block; killed on the way out."""
    context = multiprocessing.get_context(start)
    ours, theirs = context.Pipe()
    child = context.Process(target=job, args=(memory, theirs))
    child.start()
    try:
        ours.recv()
        yield child
    finally:
        child.kill()
        child.join()
        ours.close()
        theirs.close()


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_processes_count_together(start):
    """Each writes to a block of its own; anyone reads the sum."""
    memory = Memory(blocks=3)
    with process(memory, start=start) as one, process(memory, start=start) as two:
        assert memory.workers() == {0: one.pid, 1: two.pid}
        assert memory.read() == {TURNED: [2.0], BUSY: [0.0, 2.0]}


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_killed_process(start):
    """What it counted stays, what it was busy with is over, and a successor counts on in its block."""
    memory = Memory(blocks=3)
    with process(memory, start=start):
        pass
    assert memory.workers() == {}
    assert memory.read() == {TURNED: [1.0]}
    with process(memory, start=start) as successor:
        assert memory.workers() == {0: successor.pid}
        assert memory.read() == {TURNED: [2.0], BUSY: [0.0, 1.0]}


def test_one_block_a_process():
    """A process has one, however often it asks; a fork of it gets another."""
    memory = Memory(blocks=2)
    block = memory.claim()
    assert memory.claim() is block
    assert memory.workers() == {0: os.getpid()}
    block.series(TURNED, 1)[0] = 5.0
    with process(memory) as child:
        assert memory.workers() == {0: os.getpid(), 1: child.pid}
        assert memory.read()[TURNED] == [6.0]


def test_more_processes_than_blocks(caplog):
    """Who finds no block counts for nobody, and that is said."""
    memory = Memory(blocks=1)
    with process(memory) as child:
        memory.claim().series(TURNED, 1)[0] += 1.0
        assert memory.read()[TURNED] == [1.0]
        assert memory.workers() == {0: child.pid}
    assert f"what process {os.getpid()} does is not counted" in caplog.text


def test_without_anonymous_memory(monkeypatch, tmp_path):
    """Where the system has no memfd a file does, and none is left behind."""
    monkeypatch.delattr(os, "memfd_create", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    memory = Memory(blocks=2)
    with process(memory) as child:
        assert memory.workers() == {0: child.pid}
    assert memory.read() == {TURNED: [1.0]}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_nothing_stays_open():
    """With the last reference to it, the memory is given back."""
    gc.collect()
    before = memories()
    for _ in range(3):
        Memory(blocks=1).claim().series(TURNED, 1)[0] += 1.0
    memory = Memory(blocks=1)
    assert memories() > before
    del memory
    gc.collect()
    assert memories() == before


def memories() -> int:
    """Descriptors of such files that this process has open; others come and go with its threads."""
    links = [os.path.realpath(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]
    return sum("memfd:counters" in link for link in links)


def test_gauges_of_the_dead_are_gone():
    """Whoever takes over a block starts with no gauges, and no zeros in their place."""
    memory = Memory(blocks=1)
    with process(memory):
        assert BUSY in memory.read()
    memory.claim()
    assert memory.read() == {TURNED: [1.0]}


def test_series_are_kept_apart():
    """A key has the same memory each time, and any text in it comes back."""
    memory = Memory(blocks=1)
    block = memory.claim()
    keys = [("a", "b"), ("a\0b",), ("", "a", "b"), ("Köln \udcff\n",), ("x" * 5000,)]
    for number, key in enumerate(keys):
        block.series(key, 2)[1] = float(number)
    assert block.series(keys[1], 2) is block.series(keys[1], 2)
    assert block.keys() == keys
    assert memory.read() == {key: [0.0, float(number)] for number, key in enumerate(keys)}
    with pytest.raises(ValueError, match="has 2 numbers, not 3"):
        block.series(keys[0], 3)


def test_full(caplog):
    """What does not fit is not counted, which is said once; the rest goes on."""
    memory = Memory(blocks=1, size=4096)
    block = memory.claim()
    block.series(TURNED, 1)[0] += 1.0
    for key in ("one",), ("two",):
        block.series(key, 500)[499] += 1.0
    block.series(BUSY, 2)[0] += 1.0
    assert memory.read() == {TURNED: [1.0], BUSY: [1.0, 0.0]}
    assert caplog.text.count("is full") == 1


def test_forgotten_memory_is_used_again(caplog):
    """Series may come and go for ever; a new one begins at zero."""
    memory = Memory(blocks=1, size=4096)
    block = memory.claim()
    for number in range(1000):
        series = block.series((str(number),), 20)
        assert series[0] == 0.0
        series[0] = 1.0
        block.forget((str(number),))
    assert memory.read() == {}
    assert not caplog.records


def test_forgotten_memory_that_is_held():
    """Who still counts in a forgotten series disturbs no other."""
    memory = Memory(blocks=1)
    block = memory.claim()
    held = block.series(("old",), 1)
    block.forget(("old",))
    new = block.series(("new",), 1)
    held[0] += 1.0
    assert memory.read() == {("new",): [0.0]}
    assert block.series(("new",), 1) is new


def test_forgotten_by_a_dead_process(caplog):
    """Its successor uses what it had freed."""
    memory = Memory(blocks=1, size=100 * SIZE)
    with process(memory, turn):
        pass
    block = memory.claim()
    block.series(("1",), SIZE)
    assert set(memory.read()) >= {("1",), TURNED}
    assert not caplog.records


def test_readers_see_series_whole():
    """While another process makes and ends series, none is seen with numbers of another."""
    memory = Memory(blocks=1)
    numbers = {named(number): float(number) for number in range(40)}
    seen = set()
    with process(memory, turn):
        reads, deadline = 0, monotonic() + PATIENCE
        while (reads := reads + 1) < 2000 or (seen != set(numbers) and monotonic() < deadline):
            found = memory.read()
            del found[TURNED]
            assert all(set(values) <= {0.0, numbers[key]} for key, values in found.items())
            seen |= set(found)
    assert seen == set(numbers)


def test_threads_lose_nothing():
    """Many threads count in one series without a lock."""
    memory = Memory(blocks=1)
    tally = Tally(memory.claim(), "iris", 1, "/predict", classes("no", "yes"))
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=answer, args=(tally, 50_000)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    (numbers,) = [found for (kind, *_), found in memory.read().items() if kind == "answered"]
    assert sum(numbers[:PHASE]) == 200_000
    assert numbers[PHASE : PHASE + 3] == [200_000.0, 400_000.0, 600_000.0]
    assert numbers[CLASS:] == [0.0, 200_000.0]


def answer(tally: Tally, times: int) -> None:
    started = float(int(perf_counter()))
    prediction = Prediction(b"", started + 3, started + 6, (), [1], ())
    for _ in range(times):
        tally.answered(started, started + 1, prediction)
