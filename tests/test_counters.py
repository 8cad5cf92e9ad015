"""Counters that processes share: real processes fork, spawn, die and are replaced."""

import gc
import multiprocessing
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic, perf_counter
from typing import Any

import pytest
from conftest import PATIENCE
from counting import BUSY, SIZE, TURNED, key_of, turn, work
from handmade import classes

from unpickled.server.errors import ConfigError
from unpickled.server.inference.prediction import Prediction
from unpickled.server.observe.counters import Memory
from unpickled.server.observe.tally import Answered, Tally

# Python 3.12 warns of forks in a process with threads, which other tests may have left.
pytestmark = pytest.mark.filterwarnings("ignore:This process.* is multi-threaded:DeprecationWarning")


@contextmanager
def process(memory: Memory, job: Callable[..., None] = work, start: str = "fork") -> Iterator[Any]:
    """A process that has claimed a block; it is killed at the end of the block."""
    context = multiprocessing.get_context(start)
    parent_end, child_end = context.Pipe()
    child = context.Process(target=job, args=(memory, child_end))
    child.start()
    # Held here too, it would leave this process waiting for a child that has died.
    child_end.close()
    try:
        parent_end.recv()
        yield child
    finally:
        child.kill()
        child.join()
        parent_end.close()


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_processes_count_together(start):
    """Each process writes to a block of its own; any process reads the sum."""
    memory = Memory(blocks=3)
    with process(memory, start=start) as first, process(memory, start=start) as second:
        assert memory.workers() == {0: first.pid, 1: second.pid}
        assert memory.read() == {TURNED: [2.0], BUSY: [0.0, 2.0]}


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_killed_process(start):
    """The counts of a killed process stay, its gauges end, and its successor counts on in its block."""
    memory = Memory(blocks=3)
    with process(memory, start=start):
        pass
    assert memory.workers() == {}
    assert memory.read() == {TURNED: [1.0]}
    with process(memory, start=start) as successor:
        assert memory.workers() == {0: successor.pid}
        assert memory.read() == {TURNED: [2.0], BUSY: [0.0, 1.0]}


def test_one_block_a_process():
    """A process has one block, however often it claims one; a fork of it gets another."""
    memory = Memory(blocks=2)
    block = memory.claim()
    assert memory.claim() is block
    assert memory.workers() == {0: os.getpid()}
    block.series(TURNED, 1)[0] = 5.0
    with process(memory) as child:
        assert memory.workers() == {0: os.getpid(), 1: child.pid}
        assert memory.read()[TURNED] == [6.0]


def test_more_processes_than_blocks(caplog):
    """A process without a block is not counted, and the log says so."""
    memory = Memory(blocks=1)
    with process(memory) as child:
        memory.claim().series(TURNED, 1)[0] += 1.0
        assert memory.read()[TURNED] == [1.0]
        assert memory.workers() == {0: child.pid}
    assert f"what process {os.getpid()} does is not counted" in caplog.text


def test_without_anonymous_memory(monkeypatch, tmp_path):
    """On a system without memfd, the memory is a file, and none is left behind."""
    monkeypatch.delattr(os, "memfd_create", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    memory = Memory(blocks=2)
    with process(memory) as child:
        assert memory.workers() == {0: child.pid}
    assert memory.read() == {TURNED: [1.0]}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_nothing_stays_open():
    """The memory is freed with the last reference to it."""
    others = memories()
    for _ in range(3):
        Memory(blocks=1).claim().series(TURNED, 1)[0] += 1.0
    memory = Memory(blocks=1)
    opened = memories() - others
    assert opened
    del memory
    gc.collect()
    assert not memories() & opened


def memories() -> set[int]:
    """The inodes of the shared counters of which this process has descriptors."""
    inodes = set()
    for name in os.listdir("/proc/self/fd"):
        # The descriptor of the list itself is closed by now; threads may close others meanwhile.
        with suppress(OSError):
            if "memfd:counters" in os.readlink(f"/proc/self/fd/{name}"):
                inodes.add(os.stat(f"/proc/self/fd/{name}").st_ino)
    return inodes


def test_gauges_of_the_dead_are_gone():
    """A process that takes over a block removes the gauges of its predecessor."""
    memory = Memory(blocks=1)
    with process(memory):
        assert BUSY in memory.read()
    memory.claim()
    assert memory.read() == {TURNED: [1.0]}


def test_series_are_kept_apart():
    """A key always has the same memory, and may hold any text."""
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
    """Series that do not fit are not counted; one warning says so, and the others go on."""
    memory = Memory(blocks=1, size=4096)
    block = memory.claim()
    block.series(TURNED, 1)[0] += 1.0
    for key in ("one",), ("two",):
        block.series(key, 500)[499] += 1.0
    block.series(BUSY, 2)[0] += 1.0
    assert memory.read() == {TURNED: [1.0], BUSY: [1.0, 0.0]}
    assert caplog.text.count("is full") == 1


def test_forgotten_memory_is_used_again(caplog):
    """The memory of a forgotten series is used again; a new series begins at zero."""
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
    """A process that still counts in a forgotten series disturbs no other series."""
    memory = Memory(blocks=1)
    block = memory.claim()
    old = block.series(("old",), 1)
    block.forget(("old",))
    new = block.series(("new",), 1)
    old[0] += 1.0
    assert memory.read() == {("new",): [0.0]}
    assert block.series(("new",), 1) is new


def test_forgotten_by_a_dead_process(caplog):
    """A successor uses the memory that its predecessor had freed."""
    memory = Memory(blocks=1, size=100 * SIZE)
    with process(memory, turn):
        pass
    block = memory.claim()
    block.series(("1",), SIZE)
    assert set(memory.read()) >= {("1",), TURNED}
    assert not caplog.records


def test_readers_see_series_whole():
    """No reader sees a series with numbers of another, while a process creates and forgets series."""
    memory = Memory(blocks=1)
    numbers = {key_of(number): float(number) for number in range(40)}
    keys = set()
    with process(memory, turn):
        reads, deadline = 0, monotonic() + PATIENCE
        while (reads := reads + 1) < 2000 or (keys != set(numbers) and monotonic() < deadline):
            counts = memory.read()
            del counts[TURNED]
            assert all(set(values) <= {0.0, numbers[key]} for key, values in counts.items())
            keys |= set(counts)
    assert keys == set(numbers)


def test_free_threaded_python_is_refused(monkeypatch):
    """The server does not start without the global interpreter lock: threads would lose counts."""
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
    with pytest.raises(ConfigError, match="PYTHON_GIL=1"):
        Memory(blocks=1)


def test_threads_lose_nothing():
    """Threads that count in one series without a lock lose no count."""
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
    (answered,) = [Answered.of(series) for (kind, *_), series in memory.read().items() if kind == "answered"]
    assert sum(answered.buckets) == 200_000
    assert answered.phases[:4] == [200_000.0, 0.0, 400_000.0, 600_000.0]
    assert answered.classes == [0.0, 200_000.0]


def answer(tally: Tally, times: int) -> None:
    started = float(int(perf_counter()))
    prediction = Prediction(b"", started + 3, started + 6, (), [1], ())
    for _ in range(times):
        tally.answered(started, started + 1, prediction)


def test_the_series_of_a_kind():
    """A process reads its own series of one kind by their keys; one that is forgotten is not among them."""
    block = Memory(blocks=1).claim()
    for key, value in ((("answered", "iris"), 2.0), (("last", "iris"), 3.0), (("answered", "people"), 4.0)):
        block.series(key, 1)[0] = value
    assert {key: [*numbers] for key, numbers in block.of_kind("answered")} == {
        ("answered", "iris"): [2.0],
        ("answered", "people"): [4.0],
    }
    block.forget(("answered", "iris"))
    block.series(("answered", "trees"), 1)
    assert [key[1] for key, _ in block.of_kind("answered")] == ["people", "trees"]
